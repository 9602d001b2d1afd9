"""Two corpora side by side: which samples each has, and what is known of them differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq

from curate.accounts.lookup import first_line
from curate.accounts.sides import Side, collect, in_part
from curate.corpus import Corpus, UserError

Row = dict[str, Any]

PART_ROWS: Final = 250_000
"""Samples of the larger corpus that are compared at a time."""
_OWN: Final = ("source", "license", "privacy", "file", "row")
"""What may differ between samples of the same content, and so of the same id."""
_NOT_COMPARED: Final = frozenset({"id", "signals_key", "judge_key"})
"""Keys say what a row was made from; they differ whenever anything does."""
_FREE: Final = frozenset({"file", "judge_rationale", "judge_reason", "judge_rubric", "image_problem"})
"""Texts of which hardly two are the same: how they changed is not counted."""
_MOST_HOW: Final = 10
_PLACE: Final = pl.format("{}:{}", "file", "row")


def diff_corpora(a: Side, b: Side, *, limit: int = 3) -> Row:
    """What changed from corpus ``a`` to corpus ``b``, as JSON values.

    ``only_a`` and ``only_b`` are samples that the other lacks. Of those in both, ``changed`` has for each column of
    samples, signals and verdicts in how many it differs, and the first ``limit`` of them with both values. Raises
    UserError for a corpus without samples, or with a table that cannot be read.
    """
    left, right = _Tables(_corpus(a)), _Tables(_corpus(b))
    parts = max(1, -(-max(left.rows, right.rows) // PART_ROWS))
    counts, sources = Counter[str](), Counter[tuple[str, str]]()
    columns = {table: _compared(left.columns(table), right.columns(table)) for table in ("samples", *_TABLES)}
    changed: dict[tuple[str, str], Row] = {}
    examples: dict[str, list[Row]] = {"only_a": [], "only_b": []}
    for number in range(parts):
        own, other = (tables.part("samples", [*_OWN], number, parts) for tables in (left, right))
        for name, frame in (
            ("only_a", own.join(other, on="id", how="anti")),
            ("only_b", other.join(own, on="id", how="anti")),
        ):
            counts[name] += len(frame)
            sources.update({(source, name): n for source, n in frame["source"].value_counts().iter_rows()})
            found = frame.head(limit - len(examples[name])).select("id", place=_PLACE, source="source")
            examples[name] += found.to_dicts()
        both = own.join(other, on="id", how="inner", suffix="_b")
        counts["both"] += len(both)
        places = both.select("id", "source", place=_PLACE)
        different = [_differing(changed, "samples", both, list(_OWN), places, limit)]
        for table in _TABLES:
            facts = [tables.part(table, columns[table], number, parts) for tables in (left, right)]
            rows = [places.select("id").join(frame, on="id", how="left", maintain_order="left") for frame in facts]
            joined = rows[0].hstack(rows[1].drop("id").rename(lambda name: f"{name}_b"))
            different.append(_differing(changed, table, joined, columns[table], places, limit))
        any_changed = places.filter(pl.Series([any(flags) for flags in zip(*different, strict=True)], dtype=pl.Boolean))
        counts["changed"] += len(any_changed)
        sources.update({(source, "changed"): n for source, n in any_changed["source"].value_counts().iter_rows()})
    return {
        "a": {"name": a.name, "kind": a.kind, "path": str(a.path), "samples": left.rows},
        "b": {"name": b.name, "kind": b.kind, "path": str(b.path), "samples": right.rows},
        **{name: counts[name] for name in ("only_a", "only_b", "both", "changed")},
        "examples": examples,
        "columns": [
            entry | {"how": dict(entry["how"].most_common(_MOST_HOW))}
            for entry in sorted(changed.values(), key=lambda entry: -entry["samples"])
        ],
        "columns_only_a": _missing(left, right),
        "columns_only_b": _missing(right, left),
        "by_source": [
            {"source": source, **{name: sources[source, name] for name in ("only_a", "only_b", "changed")}}
            for source in sorted({source for source, _ in sources})
        ],
    }


def _corpus(side: Side) -> Corpus:
    if side.corpus is None or not side.corpus.shards():
        raise UserError(f"{side.path} holds no samples; fill it with: curate ingest RAW -o {side.path}")
    return side.corpus


_TABLES: Final = ("signals", "verdicts")


class _Tables:
    """The samples of a corpus and the tables of facts about them, in parts by a hash of the id."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.rows = sum(pq.read_metadata(shard).num_rows for shard in corpus.shards())
        self._schemas = {table: self._schema(table) for table in ("samples", *_TABLES)}

    def columns(self, table: str) -> dict[str, pl.DataType]:
        """What can be compared of a table; nothing of one that is not there."""
        return self._schemas[table]

    def part(self, table: str, columns: Sequence[str], number: int, parts: int) -> pl.DataFrame:
        """One part of a table, a row an id; of several verdicts on one sample one with a score."""
        frames = [
            collect(pl.scan_parquet(path).select("id", *columns).filter(in_part(number, parts)), path)
            for path in self._paths(table)
            if columns or table == "samples"
        ]
        if not frames:
            return pl.DataFrame(schema={"id": pl.String, **dict.fromkeys(columns, pl.Null)})
        frame = pl.concat(frames, how="vertical_relaxed")
        if table == "verdicts" and "judge_score" in columns:
            frame = frame.sort(pl.col("judge_score").is_null(), maintain_order=True)
        return frame if table == "samples" else frame.unique("id", keep="first", maintain_order=True)

    def _paths(self, table: str) -> list[Path]:
        return sorted((self._corpus.path / table).glob("part-*.parquet"))

    def _schema(self, table: str) -> dict[str, pl.DataType]:
        """The columns that all shards of a table have."""
        schemas = []
        for path in self._paths(table):
            try:
                schemas.append(dict(pl.read_parquet_schema(path)))
            except (pl.exceptions.PolarsError, OSError) as error:
                raise UserError(f"{path} cannot be read: {first_line(error)}") from None
        common = set.intersection(*map(set, schemas)) if schemas else set()
        return {name: kind for name, kind in (schemas[-1] if schemas else {}).items() if name in common - _NOT_COMPARED}


def _compared(a: dict[str, pl.DataType], b: dict[str, pl.DataType]) -> list[str]:
    """The columns that both sides have and whose values can be compared."""
    return [
        name
        for name, kind in a.items()
        if name in b and (kind == b[name] or (kind.is_numeric() and b[name].is_numeric()))
    ]


def _missing(one: _Tables, other: _Tables) -> list[str]:
    return [name for table in _TABLES for name in one.columns(table) if name not in other.columns(table)]


def _differing(
    changed: dict[tuple[str, str], Row],
    table: str,
    joined: pl.DataFrame,
    columns: list[str],
    places: pl.DataFrame,
    limit: int,
) -> pl.Series:
    """Count where the columns of both sides differ; for every row whether any does."""
    differs = joined.select(pl.col(name).ne_missing(pl.col(f"{name}_b")).alias(name) for name in columns)
    for name in columns:
        count = int(differs[name].sum())
        if not count:
            continue
        entry = changed.setdefault(
            (table, name), {"table": table, "column": name, "samples": 0, "how": Counter(), "examples": []}
        )
        entry["samples"] += count
        rows = joined.select(a=name, b=f"{name}_b").hstack(places).filter(differs[name])
        entry["how"].update(_how(name, rows))
        room = limit - len(entry["examples"])
        entry["examples"] += rows.head(room).select("id", "place", "a", "b").to_dicts()
    if not columns:
        return pl.repeat(value=False, n=len(joined), eager=True)
    return differs.select(any=pl.any_horizontal(columns))["any"]


def _how(name: str, rows: pl.DataFrame) -> dict[str, int]:
    """How the values of a column changed: from which to which, or, for numbers, whether they grew."""
    kind = rows["a"].dtype
    if name == "row" or name in _FREE or kind.is_nested():
        return {}
    if kind.is_numeric():
        grew = pl.when(pl.col("b") > pl.col("a")).then(pl.lit("higher")).otherwise(pl.lit("lower"))
        gone = pl.when(pl.col("b").is_null()).then(pl.lit("gone")).otherwise(grew)
        said: pl.Expr = pl.when(pl.col("a").is_null()).then(pl.lit("new")).otherwise(gone)
    else:
        before, after = (pl.col(side).cast(pl.String).fill_null("nothing") for side in ("a", "b"))
        said = pl.format("{} -> {}", before, after)
    return dict(rows.select(said.alias("how"))["how"].value_counts().iter_rows())
