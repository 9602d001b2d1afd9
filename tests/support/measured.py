"""Corpora with facts, built by hand: samples, stored pictures, signals and verdicts written straight to disk."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image as Picture

from curate.corpus import (
    Corpus,
    CorpusInfo,
    Image,
    Origin,
    Part,
    Sample,
    Turn,
    shard_fingerprint,
    stored_image_path,
    to_table,
    write_shard,
)

Row = dict[str, Any]


def make_corpus(path: Path, samples: Sequence[Sample], *, per_shard: int = 8192) -> Corpus:
    """A corpus that holds ``samples`` in order and nothing else."""
    corpus = Corpus(path, CorpusInfo(complete=True))
    corpus.save()
    for number, start in enumerate(range(0, len(samples), per_shard)):
        part = samples[start : start + per_shard]
        ids = hashlib.sha256("".join(sample.id for sample in part).encode()).hexdigest()
        write_shard(path / "samples" / f"part-{number:05}.parquet", to_table(part), ids)
    return corpus


def stored(corpus: Path, data: bytes) -> Image:
    """The picture ``data`` (PNG or JPEG), put into the image store of the corpus at ``corpus``."""
    with Picture.open(io.BytesIO(data)) as picture:
        image_format = picture.format.lower()
        width, height = picture.size
    sha256 = hashlib.sha256(data).hexdigest()
    place = stored_image_path(corpus, sha256, image_format)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return Image(sha256, image_format, width, height, len(data), True, -1, None, 0, None)


def caption(text: str, *images: Image, row: int = 1, **fields: Any) -> Sample:
    """An image-caption sample."""
    return _sample("image_caption", images, [Turn("document", (*range(len(images)), text))], row, fields)


def document(*parts: str | Image, row: int = 1, **fields: Any) -> Sample:
    """An interleaved document."""
    images = tuple(part for part in parts if isinstance(part, Image))
    places = iter(range(len(images)))
    placed: list[Part] = [part if isinstance(part, str) else next(places) for part in parts]
    return _sample("interleaved", images, [Turn("document", tuple(placed))], row, fields)


def conversation(*messages: str, images: Sequence[Image] = (), system: str | None = None, **fields: Any) -> Sample:
    """A conversation, user first; the images come before the first message."""
    first: list[Part] = [*range(len(images)), messages[0]]
    turns = [Turn("system", (system,))] if system is not None else []
    turns.append(Turn("user", tuple(first)))
    turns += [Turn("user" if n % 2 else "assistant", (text,)) for n, text in enumerate(messages[1:])]
    return _sample("conversation", tuple(images), turns, fields.pop("row", 1), fields)


def query(text: str, *answers: str, images: Sequence[Image] = (), system: str | None = None, **fields: Any) -> Sample:
    """A query with its images before the text; ``exact`` unless ``query_type`` says otherwise."""
    turns = [Turn("system", (system,))] if system is not None else []
    turns.append(Turn("user", (*range(len(images)), text)))
    fields = {"query_type": "exact", "answer": answers, **fields}
    return _sample("query", tuple(images), turns, fields.pop("row", 1), fields)


def _sample(kind: Any, images: tuple[Image, ...], turns: list[Turn], row: int, fields: Row) -> Sample:
    fields = {"source": "made", "license": None, **fields}
    return Sample(kind=kind, images=images, turns=tuple(turns), origin=Origin("made.jsonl", row), **fields)


GOOD_SIGNALS: Row = {
    "image_count": 1,
    "image_readable": True,
    "image_problem": None,
    "image_extension_ok": True,
    "image_min_side": 128,
    "image_max_side": 128,
    "image_aspect": 1.0,
    "image_entropy": 6.5,
    "image_sharpness": 100.0,
    "image_bits": 8,
    "image_phashes": [1],
    "image_phashes_mirrored": [2],
    "image_phashes_trimmed": [1],
    "image_content_boxes": [[0.0, 0.0, 1.0, 1.0]],
    "image_phashes_cropped": [[1] * 16],
    "text_chars": 80,
    "text_words": 12,
    "text_language": "en",
    "text_language_confidence": 0.99,
    "text_repetition": 0.0,
    "text_letters": 0.8,
    "text_cut_off": False,
    "text_boilerplate": False,
    "text_missing_images": 0,
    "pair_unplaced_images": 0,
    "pair_modality_conflict": None,
    "pair_body_part_conflict": None,
    "modality": None,
    "body_part": None,
}
"""Signals of a sample that no default rule drops."""

SIGNALS: dict[str, Any] = {
    "id": pl.String,
    "image_count": pl.Int32,
    "image_readable": pl.Boolean,
    "image_problem": pl.String,
    "image_extension_ok": pl.Boolean,
    "image_min_side": pl.Int32,
    "image_max_side": pl.Int32,
    "image_aspect": pl.Float64,
    "image_entropy": pl.Float64,
    "image_sharpness": pl.Float64,
    "image_bits": pl.Int32,
    "image_phashes": pl.List(pl.UInt64),
    "image_phashes_mirrored": pl.List(pl.UInt64),
    "image_phashes_trimmed": pl.List(pl.UInt64),
    "image_content_boxes": pl.List(pl.List(pl.Float32)),
    "image_phashes_cropped": pl.List(pl.List(pl.UInt64)),
    "text_chars": pl.Int32,
    "text_words": pl.Int32,
    "text_language": pl.String,
    "text_language_confidence": pl.Float64,
    "text_repetition": pl.Float64,
    "text_letters": pl.Float64,
    "text_cut_off": pl.Boolean,
    "text_boilerplate": pl.Boolean,
    "text_missing_images": pl.Int32,
    "pair_unplaced_images": pl.Int32,
    "pair_modality_conflict": pl.Boolean,
    "pair_body_part_conflict": pl.Boolean,
    "modality": pl.String,
    "body_part": pl.String,
}

GOOD_VERDICT: Row = {
    "judge_status": "scored",
    "judge_reason": None,
    "judge_score": 4.2,
    "judge_verdict": "accept",
    "judge_medical_correctness": 4,
    "judge_fluency": 5,
    "judge_relevance": 4,
    "judge_completeness": 4,
    "judge_practicality": 4,
    "judge_defects": [],
    "judge_rationale": "Sound.",
    "judge_model": "m",
    "judge_rubric": "r",
    "judge_key": "k",
}

NO_SCORE: Row = dict.fromkeys(GOOD_VERDICT, None) | {"judge_model": "m", "judge_rubric": "r", "judge_defects": []}
"""A verdict row without a score; set ``judge_status``."""

VERDICTS: dict[str, Any] = {
    "id": pl.String,
    "judge_status": pl.String,
    "judge_reason": pl.String,
    "judge_score": pl.Float64,
    "judge_verdict": pl.String,
    **{
        f"judge_{name}": pl.Int8
        for name in ("medical_correctness", "fluency", "relevance", "completeness", "practicality")
    },
    "judge_defects": pl.List(pl.String),
    "judge_rationale": pl.String,
    "judge_model": pl.String,
    "judge_rubric": pl.String,
    "judge_key": pl.String,
}


def write_signals(corpus: Corpus, changes: Mapping[str, Row] | None = None) -> None:
    """Signals for every sample: good ones, with ``changes`` for the samples of the given ids."""
    _write(corpus, "signals", SIGNALS, lambda sample: GOOD_SIGNALS | (changes or {}).get(sample.id, {}))


def write_verdicts(corpus: Corpus, rows: Mapping[str, Row] | None = None, *, others: Row = GOOD_VERDICT) -> None:
    """Verdicts for every sample: ``others``, with the given ``rows`` laid over for the samples of these ids."""
    _write(corpus, "verdicts", VERDICTS, lambda sample: others | (rows or {}).get(sample.id, {}))


def _write(corpus: Corpus, facts: Any, schema: dict[str, Any], row: Any) -> None:
    for shard in corpus.shards():
        rows = [{"id": sample.id, **row(sample)} for sample in corpus.samples(shard)]
        table = pl.DataFrame(rows, schema=schema).to_arrow()
        write_shard(corpus.facts_shard(facts, shard), table, f"{facts} of {shard_fingerprint(shard)}")
