"""Queries by how often a model answers them rightly: too hard and too easy ones teach a policy nothing.

InfiMed2 (arXiv 2609.34798) prefers 3 to 5 right answers of 8, few saturated and no unsolved ones; MedVLThinker keeps
what is neither always nor never solved; PMC-VQA drops what a text-only model answers without the picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from curate.corpus import UserError
from curate.rollouts.tables import RunInfo, find_run, read_rollouts, read_run
from curate.select.draws import draws
from curate.select.policy_sections import Band, Difficulty
from curate.select.pool import DROPPED, Pool, Rows, Stage

_COLUMNS: Final = ("rollout_status", "rollout_reason", "rollout_k", "rollout_correct")


@dataclass(frozen=True)
class _Run:
    """A rollout run that a policy goes by."""

    name: str
    info: RunInfo


def difficulty_stage(pool: Pool, options: Difficulty, seed: int) -> Stage:
    """Drop queries by their rollouts; samples of other kinds pass.

    Rules, in this order: ``no_rollouts``, ``answered_without_image``, ``difficulty`` (in no band),
    ``difficulty_share`` (left out of a band of which only a share is kept; chosen by id and ``seed``, so that a smaller
    share is part of a larger one). Raises UserError for bands that cannot be, for a run that is not there or not the
    only one, and for numbers of right answers that the run cannot have.
    """
    run = _run(pool, options.run, text_only=False)
    if options.k is not None and options.k != run.info.k:
        raise UserError(
            f"difficulty: the bands are written for {options.k} answers a query, and the rollout run {run.name!r} has "
            f"{run.info.k}; name one made with: curate rollout --name {run.name}-{options.k} --k {options.k}"
        )
    _check_bands(options.bands, run)
    blind = None
    if options.max_text_only_correct is not None:
        blind = _run(pool, options.text_only_run, text_only=True)
        if options.max_text_only_correct >= blind.info.k:
            raise UserError(
                f"max_text_only_correct is {options.max_text_only_correct}, and the run {blind.name!r} has "
                f"{blind.info.k} answers a query: nothing would be dropped"
            )
    frames = [_decide(frame, options, run, blind) for frame in _queries(pool, run, blind)]
    queries = pl.concat(frames) if frames else _decide(_no_queries(blind), options, run, blind)
    queries = _downsample(queries, options.bands, run, seed)
    dropped = queries.filter(pl.col("rule").is_not_null())
    columns = [pl.col(name) if name in queries.columns else pl.lit(None).alias(name) for name in DROPPED]
    stage = dropped.select(columns).cast(pl.Schema(DROPPED))
    return Stage(stage, _account(queries, options, run, blind))


def _run(pool: Pool, name: str | None, *, text_only: bool) -> _Run:
    found = find_run(pool.corpus, name, text_only=text_only)
    return _Run(found, read_run(pool.corpus, found))


def _check_bands(bands: list[Band], run: _Run) -> None:
    for band in bands:
        low, high = band.correct
        if low > high:
            raise UserError(f"difficulty: a band goes from {low} to {high}; the smaller number comes first")
        if high > run.info.k:
            raise UserError(
                f"difficulty: a band reaches to {high} right answers, and the rollout run {run.name!r} has "
                f"{run.info.k} answers a query; change the band, or run: curate rollout --name {run.name} --k {high}"
            )


def _queries(pool: Pool, run: _Run, blind: _Run | None) -> Iterator[pl.DataFrame]:
    """The queries that are still in, shard by shard, with what the runs found."""
    starts = np.asarray(pool.starts)
    for rows, table in pool.samples(["id", "kind", "source"]):
        shard = pool.shards[int(np.searchsorted(starts, rows[0], side="right")) - 1]
        frame = pl.DataFrame(pl.from_arrow(table)).with_columns(row=_column(rows)).filter(pl.col("kind") == "query")
        if not len(frame):
            continue
        found = read_rollouts(pool.corpus, run.name, shard, frame["id"], _COLUMNS).drop("id")
        frame = frame.select("row", "id", "source").hstack(found)
        if blind is not None:
            seen = read_rollouts(pool.corpus, blind.name, shard, frame["id"], _COLUMNS).drop("id")
            frame = frame.hstack(seen.rename({name: f"blind_{name}" for name in seen.columns}))
        yield frame


def _no_queries(blind: _Run | None) -> pl.DataFrame:
    kinds = {
        "rollout_status": pl.String,
        "rollout_reason": pl.String,
        "rollout_k": pl.Int32,
        "rollout_correct": pl.Int32,
    }
    schema: dict[str, Any] = {"row": pl.Int64, "id": pl.String, "source": pl.String, **kinds}
    return pl.DataFrame(schema=schema | ({f"blind_{name}": kind for name, kind in kinds.items()} if blind else {}))


def _decide(frame: pl.DataFrame, options: Difficulty, run: _Run, blind: _Run | None) -> pl.DataFrame:
    """Rows with ``correct`` (null without a full set of answers), ``band``, ``rule`` and ``reason``."""
    correct = _full("", run)
    frame = frame.with_columns(correct=correct, band=_band_of(options.bands, correct))
    rules: list[tuple[str, pl.Expr, pl.Expr]] = []
    if options.unrolled == "drop":
        rules.append(("no_rollouts", pl.col("correct").is_null(), _missing("", run)))
    if blind is not None:
        seen = _full("blind_", blind)
        needs_none = pl.col("blind_rollout_reason") == "no_image"
        if options.unrolled == "drop":
            rules.append(("no_rollouts", seen.is_null() & ~needs_none.fill_null(False), _missing("blind_", blind)))
        rules.append(
            (
                "answered_without_image",
                seen > options.max_text_only_correct,
                pl.format(
                    f"answered rightly in {{}} of {blind.info.k} rollouts without the picture; the policy allows "
                    f"{options.max_text_only_correct}",
                    seen,
                ),
            )
        )
    rules.append(
        (
            "difficulty",
            pl.col("correct").is_not_null() & pl.col("band").is_null(),
            pl.format(
                f"answered rightly in {{}} of {run.info.k} rollouts; the policy keeps {_spelled(options.bands)}",
                pl.col("correct"),
            ),
        )
    )
    hits = [hit.fill_null(False) for _, hit, _ in rules]
    return frame.with_columns(
        rule=pl.coalesce([pl.when(hit).then(pl.lit(name)) for hit, (name, _, _) in zip(hits, rules, strict=True)]),
        reason=pl.coalesce([pl.when(hit).then(reason) for hit, (_, _, reason) in zip(hits, rules, strict=True)]),
    ).select("row", "id", "source", "correct", "band", "rule", "reason")


def _full(prefix: str, run: _Run) -> pl.Expr:
    """The number of right answers; null unless the query has all answers of the run, which may be raising its k."""
    complete = (pl.col(f"{prefix}rollout_status") == "scored") & (pl.col(f"{prefix}rollout_k") == run.info.k)
    return pl.when(complete).then(pl.col(f"{prefix}rollout_correct"))


def _missing(prefix: str, run: _Run) -> pl.Expr:
    status, there = pl.col(f"{prefix}rollout_status"), pl.col(f"{prefix}rollout_k")
    why = pl.coalesce(pl.col(f"{prefix}rollout_reason"), pl.format("{} answers", there), pl.lit("no answers"))
    known = pl.format(f"the rollout run {run.name!r} has not all {run.info.k} answers to it ({{}}: {{}})", status, why)
    return pl.when(status.is_null()).then(pl.lit(f"the rollout run {run.name!r} does not know it")).otherwise(known)


def _band_of(bands: list[Band], correct: pl.Expr) -> pl.Expr:
    """The number of the first band that a count lies in."""
    inside = [
        pl.when(correct.is_between(band.correct[0], band.correct[1])).then(pl.lit(n, pl.Int32))
        for n, band in enumerate(bands)
    ]
    return pl.coalesce(inside)


def _downsample(queries: pl.DataFrame, bands: list[Band], run: _Run, seed: int) -> pl.DataFrame:
    """Leave out of each band what exceeds its share: of n queries, round(keep * n) with the smallest hashes stay."""
    if all(band.keep == 1 for band in bands):
        return queries
    chance = pl.Series("chance", draws(queries["id"].to_list(), seed, "difficulty"))
    queries = queries.with_columns(chance)
    left = pl.col("rule").is_null() & pl.col("band").is_not_null()
    rank = pl.col("chance").rank("ordinal").over("band", left) - 1
    size = pl.len().over("band", left)
    keep = pl.col("band").replace_strict({n: band.keep for n, band in enumerate(bands)}, return_dtype=pl.Float64)
    out = left & (rank >= (keep * size).round())
    reasons = {
        n: f"rollouts; the policy keeps {band.keep:.3g} of the queries with {_range(band)}"
        for n, band in enumerate(bands)
    }
    reason = pl.format(
        f"answered rightly in {{}} of {run.info.k} {{}}",
        pl.col("correct"),
        pl.col("band").replace_strict(reasons, return_dtype=pl.String),
    )
    return queries.with_columns(
        rule=pl.when(out).then(pl.lit("difficulty_share")).otherwise("rule"),
        reason=pl.when(out).then(reason).otherwise("reason"),
    ).drop("chance")


def _account(queries: pl.DataFrame, options: Difficulty, run: _Run, blind: _Run | None) -> dict[str, Any]:
    """Histograms of right answers before and after, over all and by source, and what became of each band."""
    before: dict[str, Counter[int]] = {}
    after: dict[str, Counter[int]] = {}
    kept = pl.col("rule").is_null()
    counted = queries.filter(pl.col("correct").is_not_null()).group_by("source", "correct")
    for source, correct, number, stayed in counted.agg(pl.len(), kept.sum().alias("kept")).iter_rows():
        before.setdefault(source, Counter())[correct] += number
        after.setdefault(source, Counter())[correct] += stayed
    bands = dict(queries.group_by("band").agg(pl.len(), kept.sum().alias("kept")).rows_by_key("band", unique=True))
    return {
        "run": run.name,
        "model": run.info.model,
        "k": run.info.k,
        "text_only_run": None if blind is None else blind.name,
        "queries": len(queries),
        "kept": int(queries["rule"].null_count()),
        "dropped": dict(queries["rule"].drop_nulls().value_counts(sort=True).iter_rows()),
        "without_rollouts": int(queries["correct"].null_count()),
        "correct": {
            "before": _histogram(sum(before.values(), Counter()), run),
            "after": _histogram(sum(after.values(), Counter()), run),
        },
        "by_source": {
            source: {"before": _histogram(before[source], run), "after": _histogram(after[source], run)}
            for source in sorted(before)
        },
        "bands": [
            {
                "correct": list(band.correct),
                "keep": band.keep,
                "queries": bands.get(number, (0, 0))[0],
                "kept": bands.get(number, (0, 0))[1],
            }
            for number, band in enumerate(options.bands)
        ],
    }


def _histogram(counts: Counter[int], run: _Run) -> dict[str, int]:
    return {str(correct): counts[correct] for correct in range(run.info.k + 1)}


def _spelled(bands: list[Band]) -> str:
    ranges = [_range(band) for band in bands]
    return ranges[0] if len(ranges) == 1 else f"{', '.join(ranges[:-1])} or {ranges[-1]}"


def _range(band: Band) -> str:
    low, high = band.correct
    return f"{low}" if low == high else f"{low} to {high}"


def _column(rows: Rows) -> pl.Series:
    return pl.Series("row", rows, dtype=pl.Int64)
