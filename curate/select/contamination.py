"""Drop what a model will be tested on: samples that show a benchmark's picture or ask its question."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from curate.select.benchmarks import Measure, benchmark_key, benchmark_pictures, read_rows
from curate.select.contamination_hits import HITS, hits_path, read_hits, write_hits
from curate.select.contamination_pictures import PictureHit, PictureIndex
from curate.select.contamination_targets import Targets
from curate.select.contamination_text import QuestionIndex, QuestionMatches
from curate.select.contamination_words import excerpt, reason_for
from curate.select.policy_sections import ContaminationGate
from curate.select.pool import DROPPED, Pool, Rows, Stage

__all__ = ["contamination_stage", "hits_path", "read_hits"]

_SAMPLE_COLUMNS = ("id", "images", "turns", "file", "row", "privacy")
_TOLD = 50
"""Hits that the account shows."""
_SLICE_BYTES = 16 * 2**20
"""Text that is taken apart at a time: its words take some twenty times as much memory."""


@dataclass
class _Found:
    """What the shards so far have shown."""

    hits: list[pl.DataFrame] = field(default_factory=list)
    dropped: list[dict[str, Any]] = field(default_factory=list)
    generic: list[Rows] = field(default_factory=list)
    """Samples that ask a question that is no evidence on its own."""
    unconfirmed: int = 0


def contamination_stage(pool: Pool, gate: ContaminationGate, measure: Measure) -> Stage:
    """Drop samples of ``pool`` that a benchmark of ``gate`` contains, and keep the evidence of every hit.

    All samples of the corpus are compared, those too that are out already: another selection may keep them, and no
    export may hold a benchmark's picture.

    ``measure`` gives the perceptual hash of a PNG or JPEG file by the definition that the column ``image_phashes``
    follows, or None when the file cannot be read. Rules: contaminated_both (picture and question of one row),
    contaminated_image, contaminated_question. The hits are written to :func:`hits_path` in place of earlier ones with
    the same benchmarks, and the benchmarks' hashes beside them, to be used again.

    Raises UserError for benchmarks that cannot be used (nothing is written then) and for samples without signals.
    """
    loaded = [read_rows(one.name, one.path, one.format, one.split) for one in gate.benchmarks]
    folder = hits_path(pool.corpus).parent
    pictures = [benchmark_pictures(rows, measure, folder) for rows in loaded]
    targets = Targets.of(loaded, pictures)
    questions = QuestionIndex(targets.questions, gate.question_ngram, gate.question_share)
    everything = Pool.of(pool.corpus)
    near = PictureIndex.of(everything, targets.pictures, gate.image_distance)
    evidence = _Evidence(gate, targets, questions)
    found = _Found()
    facts = everything.facts(["image_phashes", "image_entropy"])
    for (rows, table), (_, measured) in zip(everything.samples(_SAMPLE_COLUMNS), facts, strict=True):
        images, unconfirmed = near.hits(pool.corpus, table["images"].to_pylist(), measured)
        found.unconfirmed += unconfirmed
        evidence.shard(rows, table, images, found)
    hits = pl.concat([pl.DataFrame(schema=HITS), *found.hits])
    keys = {rows.name: benchmark_key(rows) for rows in loaded}
    hits = hits.with_columns(benchmark_key=pl.col("benchmark").replace(keys))
    dropped = pl.DataFrame(found.dropped, schema=DROPPED)
    dropped = dropped.filter(pl.Series(pool.alive[dropped["row"].to_numpy()], dtype=pl.Boolean))
    kept = pool.alive.copy()
    kept[dropped["row"].to_numpy()] = False
    generic = np.concatenate([np.empty(0, np.int64), *found.generic])
    account = {
        "samples_compared": everything.count,
        "samples_dropped": dict(sorted(Counter(dropped["rule"].to_list()).items())),
        "samples_kept_with_generic_question": int(np.count_nonzero(kept[generic])),
        "pictures_unconfirmed": found.unconfirmed,
        "benchmarks": [
            {**targets.describe(number, questions.short), **_counts(hits, dropped, rows.name)}
            for number, rows in enumerate(loaded)
        ],
        "hits": len(hits),
        "first_hits": hits.head(_TOLD).to_dicts(),
    }
    return Stage(dropped, account, partial(write_hits, pool.corpus, hits, list(keys.values())))


def _counts(hits: pl.DataFrame, dropped: pl.DataFrame, benchmark: str) -> dict[str, Any]:
    own = hits.filter(pl.col("benchmark") == benchmark)
    return {
        "hits": {
            "image": own.filter(pl.col("kind") == "image").height,
            "question": own.filter(pl.col("kind") == "question").height,
            "both": own.filter(pl.col("both") & (pl.col("kind") == "image")).height,
        },
        "samples_hit": own["id"].n_unique(),
        "samples_dropped": dropped.filter(pl.col("related").str.starts_with(f"{benchmark}:")).height,
    }


@dataclass
class _Evidence:
    """What a sample's hits mean."""

    gate: ContaminationGate
    targets: Targets
    index: QuestionIndex

    def __post_init__(self) -> None:
        generic = self.index.short | self.targets.common
        self._telling = ~generic if self.gate.short_questions == "keep" else np.ones(generic.size, bool)
        """Questions that are evidence on their own."""

    def shard(self, rows: Rows, table: pa.Table, images: dict[int, list[PictureHit]], found: _Found) -> None:
        """Add to ``found`` what the samples of one shard show; ``images`` has the picture hits by sample."""
        texts = _texts(table)
        matches = _in_slices(self.index, texts)
        telling = self._telling[matches.question]
        shows = np.zeros(len(rows), bool)
        shows[list(images)] = True
        asked: dict[int, dict[int, float]] = {}
        kept = telling | shows[matches.text]
        columns = (matches.text[kept].tolist(), matches.question[kept].tolist(), matches.share[kept].tolist())
        for sample, question, share in zip(*columns, strict=True):
            asked.setdefault(sample, {})[question] = share
        hits: list[dict[str, Any]] = []
        concerned = sorted(images.keys() | asked.keys())
        said = texts.filter(pl.col("sample").is_in(concerned)).group_by("sample").agg(pl.col("text").str.join(" "))
        text = dict(said.iter_rows())
        for sample, entry in zip(concerned, table.take(pa.array(concerned, pa.int64())).to_pylist(), strict=True):
            place = {"id": entry["id"], "origin": f"{entry['file']}:{entry['row']}"}
            own, rule = self._sample(
                text.get(sample, ""), entry["images"], images.get(sample, []), asked.get(sample, {})
            )
            if entry["privacy"] == "identified":  # evidence goes into accounts and reports
                own = [hit | {"sample_text": None, "picture": None} for hit in own]
            hits += [place | hit for hit in own]
            if rule is not None:
                found.dropped.append({"row": int(rows[sample]), **rule})
        found.generic.append(rows[np.unique(matches.text[~telling])])
        if hits:
            found.hits.append(pl.DataFrame(hits, schema=HITS))

    def _sample(
        self, text: str, pictures: list[dict[str, Any]], images: list[PictureHit], asked: dict[int, float]
    ) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
        """The hits of one sample as rows of the hits table, and the rule that drops it."""
        shown_rows = {row for hit in images for row in self.targets.rows_of_picture(hit.picture)}
        both_rows = {
            row for row in shown_rows if any(question in asked for question in self.targets.row_questions[row])
        }
        hits = [*self._image_hits(images, both_rows, pictures), *self._question_hits(asked, both_rows, shown_rows)]
        gate = self.gate.drop
        decisive = []
        for hit in hits:
            hit["sample_text"] = excerpt(text, hit["benchmark_text"])
            alone = hit.pop("telling") and hit["kind"] in gate
            if alone or (hit["both"] and {"both", hit["kind"]} & set(gate)):
                decisive.append(hit)
        if not decisive:
            return hits, None
        first = min(decisive, key=lambda hit: (not hit["both"], hit["kind"] != "image"))
        rule = "both" if first["both"] else first["kind"]
        related = f"{first['benchmark']}:{first['benchmark_row']}"
        return hits, {"rule": f"contaminated_{rule}", "reason": reason_for(first), "related": related}

    def _image_hits(
        self, images: list[PictureHit], both_rows: set[int], pictures: list[dict[str, Any]]
    ) -> Iterator[dict[str, Any]]:
        """Of each picture and benchmark the best hit: both halves of a row first, then the most alike."""
        best: dict[tuple[int, int], tuple[tuple[Any, ...], PictureHit, int, bool, int]] = {}
        for hit in images:
            rows = self.targets.rows_of_picture(hit.picture)
            shared = [row for row in rows if row in both_rows]
            row, benchmark = (shared or rows)[0], self.targets.benchmark_of_picture(hit.picture)
            rank = (not shared, hit.how == "unconfirmed", -(hit.similarity or 0.0), hit.distance, row)
            entry = (rank, hit, row, bool(shared), len(rows))
            key = (hit.position, benchmark)
            best[key] = min(best.get(key, entry), entry, key=lambda one: one[0])
        for (position, _), (_, hit, row, both, count) in sorted(best.items()):
            yield {
                **self.targets.describe_row(row),
                "kind": "image",
                "how": hit.how,
                "both": both,
                "telling": True,
                "distance": hit.distance,
                "similarity": hit.similarity,
                "rows": count,
                "picture_sha256": pictures[position]["sha256"],
                "picture": pictures[position]["path"],
                "benchmark_picture": self.targets.place_of_picture(hit.picture),
            }

    def _question_hits(
        self, asked: dict[int, float], both_rows: set[int], shown_rows: set[int]
    ) -> Iterator[dict[str, Any]]:
        """Questions that are evidence on their own, or together with a picture of their row."""
        for question, share in asked.items():
            rows = self.targets.rows_of_question(question)
            shared = [row for row in rows if row in both_rows] if shown_rows else []
            if not shared and not self._telling[question]:
                continue
            yield {
                **self.targets.describe_row((shared or rows)[0]),
                "benchmark_text": excerpt(self.targets.questions[question], None),
                "kind": "question",
                "how": "whole" if self.index.short[question] else "ngrams",
                "both": bool(shared),
                "telling": bool(self._telling[question]),
                "share": share,
                "rows": len(rows),
            }


def _texts(table: pa.Table) -> pl.DataFrame:
    """What the samples of a table ask or tell, a row for each turn of a user or document: sample (position), text."""
    samples = pl.DataFrame(pl.from_arrow(table.select(["turns"]))).with_row_index("sample")
    turns = samples.explode("turns").drop_nulls("turns").unnest("turns")
    turns = turns.filter(pl.col("role").is_in(["user", "document"]))
    texts = pl.col("parts").list.eval(pl.element().struct.field("text")).list.drop_nulls().list.join(" ")
    return turns.select("sample", text=texts)


def _in_slices(index: QuestionIndex, texts: pl.DataFrame) -> QuestionMatches:
    """The matches of many texts, some at a time so that memory stays bounded; a sample's turns stay together."""
    if not index.count or not texts.height:
        return QuestionMatches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    samples = texts["sample"].to_numpy().astype(np.int64)
    reached = np.cumsum(texts["text"].str.len_bytes().to_numpy().astype(np.int64)) // _SLICE_BYTES
    cut = np.flatnonzero(reached[1:] != reached[:-1]) + 1
    # A cut moves back to the first turn of its sample.
    borders = np.unique([0, *np.searchsorted(samples, samples[cut]), samples.size])
    parts = [
        index.matches(texts["text"][int(start) : int(end)], samples[start:end]) for start, end in pairwise(borders)
    ]
    return QuestionMatches(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
