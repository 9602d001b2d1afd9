"""Two selections side by side: what came in, what went out, and because of which rule.

Samples are compared in parts by a hash of their id, so that memory is bounded by a part and not by the selections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any, Final

import polars as pl

from curate.accounts.lookup import rows_where
from curate.accounts.settings import differing
from curate.accounts.sides import KEPT, Keyed, Side, collect, in_part
from curate.corpus import Corpus

Row = dict[str, Any]

ABSENT: Final = "not there"
"""Label of a sample that one side says nothing about."""
PART_ROWS: Final = 500_000
"""Samples of the larger side in a part."""
_NO_SOURCE: Final = "unknown (its corpus is not at hand)"


def diff_selections(a: Side, b: Side, *, limit: int = 3) -> Row:
    """What changed from selection or export ``a`` to ``b``, as JSON values.

    ``changes`` has an entry for each pair of labels (kept, a rule, not there; train and val between two exports) with
    the number of samples and the first ``limit`` of them. ``samples`` is the sum of ``same`` and of all changes.
    """
    with Keyed(a) as left, Keyed(b) as right:
        return _compared(left, right, a, b, limit)


def _compared(left: Keyed, right: Keyed, a: Side, b: Side, limit: int) -> Row:
    parts = max(1, -(-max(left.rows, right.rows) // PART_ROWS))
    totals, pairs, sources = Counter[str](), Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    firsts: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for number in range(parts):
        joined = _joined(left.part(number, parts), right.part(number, parts), splits=a.kind == b.kind == "export")
        _count_totals(totals, joined)
        changed = joined.filter((pl.col("from") != pl.col("to")) | (pl.col("copies_a") != pl.col("copies_b")))
        if not len(changed):
            continue
        for old, new, count, ids, order in _grouped(changed, limit).iter_rows():
            pairs[old, new] += count
            merged = sorted([*firsts.get((old, new), []), *zip(order, ids, strict=True)])
            firsts[old, new] = merged[:limit]
        _count_sources(sources, changed, a, b, number, parts)
    shown = {sample_id for entries in firsts.values() for _, sample_id in entries}
    told = _Told(a, b, shown)
    return {
        "a": _side(a, left.samples),
        "b": _side(b, right.samples),
        "samples": totals["samples"],
        "same": totals["samples"] - pairs.total(),
        **{name: totals[name] for name in ("came_in", "went_out", "more_copies", "fewer_copies", "only_a", "only_b")},
        "kept": {"a": totals["kept_a"], "b": totals["kept_b"]},
        "rows": {"a": totals["rows_a"], "b": totals["rows_b"]},
        "changes": [
            {"from": old, "to": new, "samples": count, "examples": [told.example(i) for _, i in firsts[old, new]]}
            for (old, new), count in sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        "by_source": _by_source(sources),
        "settings": differing(a.settings, b.settings) if a.kind == b.kind else [],
        "settings_known": {"a": bool(a.settings), "b": bool(b.settings)},
    }


def _side(side: Side, samples: int) -> Row:
    corpus = None if side.corpus is None else str(side.corpus.path)
    return {
        "name": side.name,
        "kind": side.kind,
        "path": str(side.path),
        "corpus": corpus,
        "samples": samples,
        "version": side.version,
    }


def _joined(a: pl.DataFrame, b: pl.DataFrame, *, splits: bool) -> pl.DataFrame:
    """The samples of both sides: labels ``from`` and ``to``, copies, and where they stand."""
    joined = a.join(b, on="id", how="full", coalesce=True, suffix="_b")

    def label(name: str, kept: str) -> pl.Expr:
        # Training and validation are told apart only where both sides have them.
        own = pl.col(name) if splits else pl.when(pl.col(kept)).then(pl.lit(KEPT)).otherwise(pl.col(name))
        return pl.when(pl.col(kept).is_null()).then(pl.lit(ABSENT)).otherwise(own)

    return joined.select(
        "id",
        label("label", "kept").alias("from"),
        label("label_b", "kept_b").alias("to"),
        kept_a=pl.col("kept").fill_null(value=False),
        kept_b=pl.col("kept_b").fill_null(value=False),
        copies_a=pl.col("copies").fill_null(0),
        copies_b=pl.col("copies_b").fill_null(0),
        position=pl.coalesce("position", "position_b"),
    )


_BOTH: Final = pl.col("kept_a") & pl.col("kept_b")
_COUNTED: Final[dict[str, pl.Expr]] = {
    "came_in": ~pl.col("kept_a") & pl.col("kept_b"),
    "went_out": pl.col("kept_a") & ~pl.col("kept_b"),
    "more_copies": _BOTH & (pl.col("copies_b") > pl.col("copies_a")),
    "fewer_copies": _BOTH & (pl.col("copies_b") < pl.col("copies_a")),
}


def _count_totals(totals: Counter[str], joined: pl.DataFrame) -> None:
    counted = {
        **_COUNTED,
        "only_a": pl.col("to") == ABSENT,
        "only_b": pl.col("from") == ABSENT,
        "kept_a": pl.col("kept_a"),
        "kept_b": pl.col("kept_b"),
        "rows_a": pl.col("copies_a").cast(pl.Int64),
        "rows_b": pl.col("copies_b").cast(pl.Int64),
    }
    totals.update(joined.select(samples=pl.len(), **{n: e.sum() for n, e in counted.items()}).row(0, named=True))


def _grouped(changed: pl.DataFrame, limit: int) -> pl.DataFrame:
    """For each pair of labels how many samples there are, and the first of them."""
    first = pl.col("id", "position").sort_by("position", "id").head(limit)
    return changed.group_by("from", "to").agg(pl.len(), first)


def _count_sources(
    sources: Counter[tuple[str, str]], changed: pl.DataFrame, a: Side, b: Side, number: int, parts: int
) -> None:
    known = changed.select("id", *(counted.alias(name) for name, counted in _COUNTED.items()))
    known = known.with_columns(source=pl.lit(None, pl.String))
    for corpus in _corpora(b, a):
        table = pl.scan_parquet(corpus.shards()).select("id", "source").filter(in_part(number, parts))
        found = known.join(collect(table, corpus.path), on="id", how="left", suffix="_found")
        known = found.with_columns(source=pl.coalesce("source", "source_found")).drop("source_found")
    other = ~pl.any_horizontal(*_COUNTED)
    counts = known.group_by(pl.col("source").fill_null(_NO_SOURCE)).agg(
        pl.col(*_COUNTED).sum(), other.sum().alias("other")
    )
    for row in counts.iter_rows(named=True):
        source = row.pop("source")
        sources.update({(source, name): count for name, count in row.items()})


def _by_source(counts: Counter[tuple[str, str]]) -> list[Row]:
    names = (*_COUNTED, "other")
    rows = [
        {"source": source, **{name: counts[source, name] for name in names}}
        for source in dict.fromkeys(source for source, _ in counts)
    ]
    return sorted(rows, key=lambda row: (-sum(row[name] for name in names), row["source"]))


def _corpora(*sides: Side) -> list[Corpus]:
    """The corpora of the sides that have samples, each once."""
    named = {side.corpus.path.resolve(): side.corpus for side in sides if side.corpus is not None}
    return [corpus for corpus in named.values() if corpus.shards()]


class _Told:
    """What is shown of examples: where they came from, and the reasons that both sides give."""

    def __init__(self, a: Side, b: Side, ids: Collection[str]) -> None:
        self._place: dict[str, str] = {}
        for corpus in _corpora(a, b):
            for row in rows_where(corpus.shards(), "id", ids, ["id", "file", "row"]) if ids else []:
                self._place[row["id"]] = f"{row['file']}:{row['row']}"
        self._reason = [self._reasons(side, ids) for side in (a, b)]

    def _reasons(self, side: Side, ids: Collection[str]) -> Row:
        if side.kind != "selection" or not ids:
            return {}
        rows = rows_where([side.path], "id", ids, ["id", "reason"])
        return {row["id"]: row.get("reason") for row in rows}

    def example(self, sample_id: str) -> Row:
        before, after = (reasons.get(sample_id) for reasons in self._reason)
        return {"id": sample_id, "place": self._place.get(sample_id), "reason_a": before, "reason_b": after}
