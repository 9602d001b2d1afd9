"""What is known about the samples of one shard, as one table: identity, signals and, where there are any, verdicts."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

import polars as pl

from curate.corpus import Corpus, Facts, UserError

SAMPLE_COLUMNS: dict[str, pl.DataType] = {
    name: pl.String() for name in ("id", "kind", "source", "license", "query_type")
}
"""Columns of the samples table that rules may use."""

VERDICT_COLUMNS: dict[str, pl.DataType] = {
    "judge_status": pl.String(),
    "judge_reason": pl.String(),
    "judge_score": pl.Float64(),
    "judge_verdict": pl.String(),
    "judge_medical_correctness": pl.Int8(),
    "judge_fluency": pl.Int8(),
    "judge_relevance": pl.Int8(),
    "judge_completeness": pl.Int8(),
    "judge_practicality": pl.Int8(),
    "judge_defects": pl.List(pl.String()),
    "judge_rationale": pl.String(),
    "judge_model": pl.String(),
    "judge_rubric": pl.String(),
    "judge_key": pl.String(),
}
"""Columns of the verdicts table. They are null in a corpus (or a shard of one) that was never judged."""


def fact_columns(corpus: Corpus) -> dict[str, pl.DataType]:
    """Every column a rule or ``--where`` may name, with its type.

    Raises UserError when the samples have not been measured.
    """
    shards = corpus.shards()
    if not shards:
        raise UserError(f"{corpus.path} holds no samples; fill it with: curate ingest RAW -o {corpus.path}")
    signals = corpus.facts_shard("signals", shards[0])
    return {**SAMPLE_COLUMNS, **VERDICT_COLUMNS, **_schema(corpus, signals)}


def check_columns(names: Collection[str], known: Collection[str]) -> None:
    """Raise UserError for the first name that is no fact column, with the names most like it."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; there are: {', '.join(sorted(known))}"
            raise UserError(f"there is no column {name!r} to select by{hint}")


def read_facts(corpus: Corpus, shard: Path, columns: Collection[str]) -> pl.DataFrame:
    """The named fact columns of one shard's samples, in their order, ``id`` always among them.

    Raises UserError when a facts shard is missing (verdicts may be) or was made from other samples.
    """
    wanted = {"id", *columns}
    samples = pl.read_parquet(shard, columns=sorted(wanted & SAMPLE_COLUMNS.keys()))
    signals = corpus.facts_shard("signals", shard)
    own = wanted & _schema(corpus, signals).keys() - SAMPLE_COLUMNS.keys()
    frame = samples.hstack(_aligned(corpus, "signals", shard, samples["id"], own))
    asked = wanted & VERDICT_COLUMNS.keys()
    if not asked:
        return frame
    if not corpus.facts_shard("verdicts", shard).exists():
        return frame.with_columns(pl.lit(None, VERDICT_COLUMNS[name]).alias(name) for name in sorted(asked))
    return frame.hstack(_aligned(corpus, "verdicts", shard, samples["id"], asked))


def _aligned(corpus: Corpus, facts: Facts, shard: Path, ids: pl.Series, columns: Collection[str]) -> pl.DataFrame:
    path = corpus.facts_shard(facts, shard)
    try:
        frame = pl.read_parquet(path, columns=["id", *sorted(columns)])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read ({_first_line(error)}); {_remedy(corpus, facts)}") from None
    if not frame["id"].equals(ids):
        raise UserError(f"{path} is about other samples than {shard}; {_remedy(corpus, facts)}")
    return frame.drop("id")


def _schema(corpus: Corpus, signals: Path) -> dict[str, pl.DataType]:
    try:
        return dict(pl.read_parquet_schema(signals))
    except FileNotFoundError:
        raise UserError(f"the samples in {corpus.path} are not measured yet; {_remedy(corpus, 'signals')}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{signals} cannot be read ({_first_line(error)}); {_remedy(corpus, 'signals')}") from None


def _remedy(corpus: Corpus, facts: Facts) -> str:
    return f"run: curate score {corpus.path}{' --judge' if facts == 'verdicts' else ''}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
