"""Apply rules to the facts, shard by shard, and write the decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from curate.corpus import Corpus, UserError, atomic_file
from curate.engine import map_in_order
from curate.select.decisions import SCHEMA, Decisions
from curate.select.facts import fact_columns, first_line, read_facts, verdict_shards
from curate.select.rules import Rule, default_rules

_STORED: dict[str, Any] = {"compression": "zstd", "use_dictionary": ["rule", "reason"], "write_statistics": False}
"""How decisions are written: no two ids are the same, and nobody looks for ranges of them."""


def select_samples(
    corpus: Corpus,
    *,
    min_score: float = 3.0,
    where: str | None = None,
    require_verdict: bool = False,
    ignore: Sequence[str] = (),
    declared: Collection[str] = (),
    name: str = "default",
) -> Decisions:
    """Decide for every sample whether it is kept, by :func:`default_rules`, and write ``decisions/<name>.parquet``.

    A sample that was never judged, or could not be, is kept and counted in ``Decisions.unjudged``, unless
    ``require_verdict``; rules named in ``ignore`` do not apply, and DICOM files of the sources in ``declared`` count as
    de-identified. Raises UserError when ``where`` or ``ignore`` cannot be used, ``where`` fails on some sample, or the
    samples are not measured.
    """
    rules = default_rules(
        fact_columns(corpus),
        min_score=min_score,
        where=where,
        require_verdict=require_verdict,
        ignore=ignore,
        declared=declared,
    )
    needed = {column for rule in rules for part in (rule.violated, rule.reason) for column in part.meta.root_names()}
    needed |= {"judge_status", "judge_score"}
    rule, reason = _first_violated(rules)

    def decide(shard: Path) -> pl.DataFrame:
        facts = read_facts(corpus, shard, needed)
        try:
            return facts.with_columns(rule=rule, reason=reason).with_columns(kept=pl.col("rule").is_null())
        except pl.exceptions.PolarsError as error:
            if where is None:
                raise
            raise UserError(f"--where {where!r} fails on a sample in {shard}: {first_line(error)}") from None

    total, dropped, unjudged = 0, Counter[str](), Counter[str]()
    judged = bool(verdict_shards(corpus))
    path = corpus.path / "decisions" / f"{name}.parquet"
    with atomic_file(path) as file, pq.ParquetWriter(file, SCHEMA, **_STORED) as writer:
        # In threads: Polars and Arrow leave Python's lock, and processes would take longer to start than this takes.
        decided = map_in_order(lambda: decide, corpus.shards(), size=lambda _: 0, patience=float("inf"))
        for facts in decided:
            # One row group a shard, whatever its length: Decisions.kept_rows counts on it.
            writer.write_table(facts.select(SCHEMA.names).to_arrow().cast(SCHEMA), row_group_size=max(1, len(facts)))
            total += len(facts)
            dropped.update(_counts(facts["rule"].drop_nulls()))
            if judged:
                unscored = facts.filter(pl.col("kept") & pl.col("judge_score").is_null())
                unjudged.update(_counts(unscored["judge_status"].fill_null("not_asked")))
    return Decisions(
        path=path,
        total=total,
        kept=total - dropped.total(),
        dropped={rule.name: dropped[rule.name] for rule in rules if dropped[rule.name]},
        judged=judged,
        unjudged=dict(sorted(unjudged.items())),
    )


def _counts(values: pl.Series) -> dict[str, int]:
    return dict(values.value_counts().iter_rows())


def _first_violated(rules: Sequence[Rule]) -> tuple[pl.Expr, pl.Expr]:
    """Name and reason of the first rule each sample violates, null where it violates none."""
    violated = [rule.violated.fill_null(value=False) for rule in rules]
    names = [pl.when(hit).then(pl.lit(rule.name)) for hit, rule in zip(violated, rules, strict=True)]
    reasons = [pl.when(hit).then(rule.reason) for hit, rule in zip(violated, rules, strict=True)]
    return pl.coalesce(names), pl.coalesce(reasons)
