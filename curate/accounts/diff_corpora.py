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
    samples, signals and verdicts in how many it differs, and the first ``limit`` of them with both values. Where only
    some shards have a column, the samples of the others have no value in it. ``columns_not_compared`` are those whose
    types do not go together, with the types of both. Raises UserError for a corpus without samples, or with a table
    that cannot be read.
    """
    left, right = _Tables(_corpus(a)), _Tables(_corpus(b))
    parts = max(1, -(-max(left.rows, right.rows) // PART_ROWS))
    counts, sources = Counter[str](), Counter[tuple[str, str]]()
    columns = {table: _compared(left.columns(table), right.columns(table)) for table in _TABLES}
    changed: dict[tuple[str, str], Row] = {}
    examples: dict[str, list[Row]] = {"only_a": [], "only_b": []}
    for number in range(parts):
        own, other = (tables.part("samples", [*_OWN], number, parts) for tables in (left, right))
        for name, frame in (
            ("only_a", own.join(other, on="id", how="anti", maintain_order="left")),
            ("only_b", other.join(own, on="id", how="anti", maintain_order="left")),
        ):
            counts[name] += len(frame)
            sources.update({(source, name): n for source, n in frame["source"].value_counts().iter_rows()})
            found = frame.head(limit - len(examples[name])).select("id", place=_PLACE, source="source")
            examples[name] += found.to_dicts()
        both = own.join(other, on="id", how="inner", suffix="_b", maintain_order="left")
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
            entry | {"how": dict(sorted(entry["how"].items(), key=lambda how: (-how[1], how[0]))[:_MOST_HOW])}
            for entry in sorted(
                changed.values(), key=lambda entry: (-entry["samples"], entry["table"], entry["column"])
            )
        ],
        "columns_not_compared": [
            {"table": table, "column": name, "a": types, "b": right.types(table)[name]}
            for table in _TABLES
            for name, types in left.types(table).items()
            if name in right.types(table) and name not in columns[table]
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
        self._found = {table: self._types(table) for table in _TABLES}

    def columns(self, table: str) -> dict[str, pl.DataType | None]:
        """The columns that any shard of a table has, with the type that all their values can be read as, if any."""
        return {name: _together(found) for name, found in self._found[table].items()}

    def types(self, table: str) -> dict[str, str]:
        """For each column the types that shards have it in, as text."""
        return {name: " or ".join(sorted(map(str, found))) for name, found in self._found[table].items()}

    def part(self, table: str, columns: Sequence[str], number: int, parts: int) -> pl.DataFrame:
        """One part of a table, a row an id; of several verdicts on one sample one with a score."""
        frames = [
            collect(self._scan(table, path, columns).filter(in_part(number, parts)), path)
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

    def _scan(self, table: str, path: Path, columns: Sequence[str]) -> pl.LazyFrame:
        """Columns of a shard, each in the type of its column; null throughout where the shard lacks it."""
        shard = pl.scan_parquet(path)
        if table == "samples":
            return shard.select("id", *columns)
        there = shard.collect_schema().names()
        kinds = self.columns(table)
        return shard.select(
            "id",
            *(
                (pl.col(name) if name in there else pl.lit(None)).cast(kinds[name] or pl.Null()).alias(name)
                for name in columns
            ),
        )

    def _types(self, table: str) -> dict[str, list[pl.DataType]]:
        """Every column of a table with the types that its shards have it in."""
        found: dict[str, list[pl.DataType]] = {}
        for path in self._paths(table):
            try:
                schema = pl.read_parquet_schema(path)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise UserError(f"{path} cannot be read: {first_line(error)}") from None
            for name, kind in schema.items():
                types = found.setdefault(name, []) if name not in _NOT_COMPARED else []
                if kind not in types:
                    types.append(kind)
        return found


def _together(types: Sequence[pl.DataType]) -> pl.DataType | None:
    """A type that values of all these types can be compared in; None when there is none."""
    known: list[pl.DataType] = []
    for kind in types:
        if kind != pl.Null and kind not in known:
            known.append(kind)
    known = known or [pl.Null()]
    if len(known) == 1:
        return known[0]
    if all(kind.is_integer() for kind in known):
        return pl.Int128()
    if all(kind.is_numeric() for kind in known):
        return pl.Float64()
    if all(isinstance(kind, pl.String | pl.Categorical | pl.Enum) for kind in known):
        return pl.String()
    inner = [kind.inner for kind in known if isinstance(kind, pl.List)]
    if len(inner) < len(known):
        return None
    within = _together([kind if isinstance(kind, pl.DataType) else kind() for kind in inner])
    return None if within is None else pl.List(within)


def _compared(a: dict[str, pl.DataType | None], b: dict[str, pl.DataType | None]) -> list[str]:
    """The columns that both sides have and whose values can be compared."""
    pairs = {name: (kind, b[name]) for name, kind in a.items() if name in b}
    return [
        name
        for name, (one, other) in pairs.items()
        if one is not None and other is not None and _together([one, other]) is not None
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
    joined = _in_one_type(joined, columns)
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


def _in_one_type(joined: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """The columns of both sides in types that can be compared."""
    kinds = {name: _together([joined.schema[name], joined.schema[f"{name}_b"]]) for name in columns}
    casts = [pl.col(side).cast(kind) for name, kind in kinds.items() if kind for side in (name, f"{name}_b")]
    return joined.with_columns(casts)


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
