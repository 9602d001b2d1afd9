"""One sample's whole story: where it came from, what is known about it, what was decided, where it went."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from curate.accounts.decided import decisions_about, pointing_to
from curate.accounts.exported import exports_of
from curate.accounts.find import merged_into
from curate.accounts.fired import fired_rules
from curate.accounts.lookup import first_line, is_file, is_folder, places, rows_where, samples_by_id
from curate.corpus import Corpus, Image, Sample, UserError

Row = dict[str, Any]

_ID: Final = re.compile(r"[0-9a-f]{64}")
_NEIGHBOURS: Final = 20
"""Duplicates that are told with their pictures; all are counted."""


def tell(corpus: Corpus, sample_id: str, *, derived: Sequence[Corpus] = ()) -> Row:
    """Everything that a corpus knows about a sample, as JSON values.

    ``derived`` are corpora in which samples made from this one are looked for. A table that cannot be read takes
    nothing else away: what is wrong with it stands under ``problems``. Raises UserError when the corpus has no such
    sample.
    """
    sample = samples_by_id(corpus, [sample_id]).get(sample_id)
    if sample is None:
        raise UserError(f"{corpus.path} has no sample {sample_id}; name the corpus it is in with --corpus")
    problems: list[str] = []

    def rows(look_up: Callable[[], list[Row]]) -> list[Row]:
        try:
            return look_up()
        except UserError as error:
            problems.append(str(error))
            return []

    def row(look_up: Callable[[], Row | None]) -> Row | None:
        try:
            return look_up()
        except UserError as error:
            problems.append(str(error))
            return None

    facts = _Facts(corpus, sample_id)
    signals = row(facts.signals)
    verdict = row(facts.verdict)
    decisions = rows(lambda: decisions_about(corpus, sample_id, problems))
    story: Row = {
        "id": sample.id,
        "corpus": str(corpus.path),
        "origin": _origin(corpus, sample),
        "source": sample.source,
        "license": sample.license,
        "kind": sample.kind,
        "privacy": sample.privacy,
        "query_type": sample.query_type,
        "turns": _turns(sample),
        "answer": list(sample.answer),
        "choices": [{"label": label, "text": text} for label, text in sample.choices],
        "meta": sample.meta,
        "pictures": [picture(corpus, image) for image in sample.images],
        "merged": rows(lambda: [asdict(entry) for entry in merged_into(corpus, sample_id)]),
        "signals": signals,
        "fired": rows(lambda: fired_rules(corpus, sample, signals, verdict, problems)),
        "verdict": verdict,
        "decisions": decisions,
        "duplicates": row(lambda: _duplicates(corpus, sample_id, decisions, problems)) or {},
        "contamination": rows(lambda: [hit | _decided_for(hit, decisions) for hit in facts.contamination()]),
        "rollouts": row(facts.rollouts) or {},
        "exports": [asdict(entry) for entry in exports_of(corpus, sample_id)],
        "parent": row(lambda: _parent(corpus, sample, derived)),
        "children": rows(lambda: _children([corpus, *derived], sample_id)),
        "problems": problems,
    }
    return story


class _Facts:
    """The rows about a sample in the fact tables of a corpus."""

    def __init__(self, corpus: Corpus, sample_id: str) -> None:
        self._folder, self._id = corpus.path, sample_id

    def signals(self) -> Row | None:
        return next(iter(self._rows("signals/part-*.parquet")), None)

    def verdict(self) -> Row | None:
        """Of several verdicts, which an ingest that moved samples may leave, one with a score."""
        rows = self._rows("verdicts/part-*.parquet")
        return min(rows, key=lambda row: row.get("judge_score") is None, default=None)

    def contamination(self) -> list[Row]:
        return self._rows("contamination/hits.parquet")

    def rollouts(self) -> Row:
        folders = sorted(path for path in (self._folder / "rollouts").glob("*") if path.is_dir())
        found = {folder.name: self._rows(f"rollouts/{folder.name}/part-*.parquet") for folder in folders}
        return {name: rows[0] for name, rows in found.items() if rows}

    def _rows(self, pattern: str) -> list[Row]:
        rows = rows_where(sorted(self._folder.glob(pattern)), "id", [self._id])
        return [{name: _json(value) for name, value in row.items() if name != "id"} for row in rows]


def _decided_for(hit: Row, decisions: list[Row]) -> Row:
    """Which selections dropped the sample for a hit's benchmark, by their rule and what it points to."""
    names: dict[str, list[str]] = {"dropped_in": [], "kept_in": []}
    for row in decisions:
        if row["kept"]:
            names["kept_in"].append(row["selection"])
        elif str(row["rule"]).startswith("contaminated") and str(row["related"]).startswith(f"{hit.get('benchmark')}:"):
            names["dropped_in"].append(row["selection"])
    return names


def _json(value: Any) -> Any:
    """A value of a table as JSON can say it; bytes and dates become text."""
    if isinstance(value, dict):
        return {str(name): _json(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_json(part) for part in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _origin(corpus: Corpus, sample: Sample) -> Row:
    file, row = sample.origin.file, sample.origin.row
    there = [str(Path(root) / file) for root in corpus.info.roots if _exists(Path(root) / file)]
    return {"file": file, "row": row, "place": f"{file}:{row}", "path": there[0] if there else None}


def _exists(path: Path) -> bool:
    return is_file(path) or is_folder(path)


def _turns(sample: Sample) -> list[Row]:
    """What is said, with each picture as ``[picture 1]`` in its place."""
    return [
        {
            "role": turn.role,
            "text": "".join(part if isinstance(part, str) else f"[picture {part + 1}] " for part in turn.parts),
        }
        for turn in sample.turns
    ]


def picture(corpus: Corpus, image: Image) -> Row:
    """A picture of a sample: its file, its size in pixels and bytes, and whether the file is what was ingested."""
    state = "there"
    try:
        path = str(corpus.image_path(image))
        corpus.image_bytes(image)
    except IndexError:
        path, state = image.path or "", "missing: the corpus does not know the folder it lay in"
    except (UserError, OSError):
        state = "changed since it was ingested" if is_file(Path(path)) else "missing"
    return {
        "path": path,
        "width": image.width,
        "height": image.height,
        "bytes": image.size,
        "format": image.format,
        "sha256": image.sha256,
        "stored": image.stored,
        "named": image.name,
        "state": state,
    }


def _duplicates(corpus: Corpus, sample_id: str, decisions: list[Row], problems: list[str]) -> Row:
    """The samples that are kept in place of this one, and those in whose place this one is kept."""
    kept_instead = [
        {"selection": row["selection"], "rule": row["rule"], "id": row["related"]}
        for row in decisions
        if row["related"] and _ID.fullmatch(row["related"])  # else it points to a benchmark
    ]
    stands_for = pointing_to(corpus, sample_id, problems)
    shown = dict.fromkeys(entry["id"] for entry in kept_instead + stands_for)
    samples = samples_by_id(corpus, list(shown)[:_NEIGHBOURS])
    for entry in kept_instead + stands_for:
        if (sample := samples.get(entry["id"])) is not None:
            entry["place"] = f"{sample.origin.file}:{sample.origin.row}"
            entry["pictures"] = [_path(corpus, image) for image in sample.images]
            entry["text"] = " ".join(sample.texts())[:200]
    return {"kept_instead": kept_instead, "stands_for": stands_for}


def _path(corpus: Corpus, image: Image) -> str:
    try:
        return str(corpus.image_path(image))
    except IndexError:
        return image.path or ""


def _parent(corpus: Corpus, sample: Sample, others: Sequence[Corpus]) -> Row | None:
    """The sample that this one was made from, looked for where the corpus says that it was made."""
    parent_id = sample.meta.get("parent")
    if not isinstance(parent_id, str):
        return None
    entry: Row = {"id": parent_id, "derived": sample.meta.get("derived"), "corpus": None, "place": None}
    for candidate in [corpus, *others, *_made_from(corpus)]:
        found = places(candidate, [parent_id])
        if found:
            return entry | {"corpus": str(candidate.path), "place": found[parent_id]}
    return entry


def _made_from(corpus: Corpus) -> Iterable[Corpus]:
    """The corpora that a corpus was derived from, as the steps that derived it (``curate convert``) name them."""
    values = [step.parameters.get("corpus") for step in corpus.info.steps if step.name == "convert"]
    named = dict.fromkeys(value for value in values if isinstance(value, str) and value)
    for path in map(Path, named):
        for form in (path, corpus.path.parent / path):
            if form != corpus.path and is_file(form / "corpus.json"):
                try:
                    yield Corpus.open(form)
                except (UserError, OSError):
                    continue
                break


def _children(corpora: Sequence[Corpus], sample_id: str) -> list[Row]:
    """The samples of other corpora, or of its own, that were made from a sample."""
    found: list[Row] = []
    for corpus in corpora:
        for shard in corpus.shards():
            table = pl.scan_parquet(shard).filter(pl.col("meta").str.contains(sample_id, literal=True))
            try:
                rows = table.select("id", "kind", "file", "row", "meta").collect().to_dicts()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise UserError(f"{shard} cannot be read: {first_line(error)}") from None
            for row in rows:
                meta = orjson.loads(row["meta"])
                if meta.get("parent") == sample_id:
                    place = f"{row['file']}:{row['row']}"
                    derived = meta.get("derived")
                    entry = {"id": row["id"], "kind": row["kind"], "place": place, "derived": derived}
                    found.append({"corpus": str(corpus.path), **entry})
    return found
