"""What is known about the samples of one shard, as one table: identity, signals and, where there are any, verdicts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from curate.corpus import Corpus, Facts, UserError
from curate.select.tokens import sample_tokens

SAMPLE_COLUMNS: dict[str, pl.DataType] = {
    name: pl.String() for name in ("id", "kind", "source", "license", "query_type", "privacy")
}
"""Columns of the samples table that rules may use."""

TOKEN_COLUMNS: dict[str, pl.DataType] = {"text_tokens": pl.Int64(), "image_tokens": pl.Int64()}
"""Tokens that the texts and the pictures of a sample take in Qwen3-VL, estimated (:mod:`curate.select.tokens`)."""

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
"""Columns of the verdicts table. They are null for samples that were never judged."""

_META = re.compile(r"meta(\.[\w-]+)+")
"""A field of a sample's ``meta``, as a column: ``meta.year``, ``meta.dicom.modality``. Its values are strings."""


def fact_columns(corpus: Corpus) -> dict[str, pl.DataType]:
    """Every column a rule or ``--where`` may name, with its type.

    Raises UserError when the samples have not been measured.
    """
    shards = corpus.shards()
    if not shards:
        raise UserError(f"{corpus.path} holds no samples; fill it with: curate ingest RAW -o {corpus.path}")
    signals = corpus.facts_shard("signals", shards[0])
    return {**SAMPLE_COLUMNS, **TOKEN_COLUMNS, **VERDICT_COLUMNS, **_schema(corpus, signals)}


def check_columns(names: Collection[str], known: Collection[str]) -> None:
    """Raise UserError for the first name that is neither a fact column nor ``meta.FIELD``, with those most like it."""
    for name in names:
        if name not in known and not is_meta(name):
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near)}?" if near else f"; there are: {', '.join(sorted(known))}"
            raise UserError(f"there is no column {name!r} to select by{hint}")


def is_meta(name: str) -> bool:
    """Whether a column stands for a field of the samples' ``meta``."""
    return _META.fullmatch(name) is not None


def read_facts(corpus: Corpus, shard: Path, columns: Collection[str]) -> pl.DataFrame:
    """The named fact columns of one shard's samples, in their order, ``id`` always among them.

    ``meta.FIELD`` is null for samples without the field. Raises UserError when the signals are missing or were made
    from other samples, or a facts shard cannot be read.
    """
    wanted = {"id", *columns}
    samples = _samples(shard, wanted & SAMPLE_COLUMNS.keys(), sorted(filter(is_meta, wanted)))
    signals = corpus.facts_shard("signals", shard)
    own = wanted & _schema(corpus, signals).keys() - SAMPLE_COLUMNS.keys()
    measured = _read(corpus, "signals", signals, own)
    if not measured["id"].equals(samples["id"]):
        raise UserError(f"{signals} is about other samples than {shard}; {_remedy(corpus, 'signals')}")
    frame = samples.hstack(measured.drop("id"))
    if counted := wanted & TOKEN_COLUMNS.keys():
        tokens = sample_tokens(pq.read_table(shard, columns=["turns", "images"]))
        frame = frame.with_columns(
            pl.Series(name, values) for name, values in zip(TOKEN_COLUMNS, tokens, strict=True) if name in counted
        )
    asked = wanted & VERDICT_COLUMNS.keys()
    return frame.hstack(_verdicts(corpus, shard, samples["id"], asked)) if asked else frame


def _samples(shard: Path, columns: Collection[str], meta: list[str]) -> pl.DataFrame:
    samples = pl.read_parquet(shard, columns=[*sorted(columns), *(["meta"] if meta else [])])
    if not meta:
        return samples
    paths = {name: "$" + "".join(f"['{step}']" for step in name.split(".")[1:]) for name in meta}
    fields = [pl.col("meta").str.json_path_match(path).alias(name) for name, path in paths.items()]
    return samples.with_columns(fields).drop("meta")


def verdict_shards(corpus: Corpus) -> list[Path]:
    """All verdict shards, those that an earlier ingest left behind among them."""
    return sorted((corpus.path / "verdicts").glob("part-*.parquet"))


def _verdicts(corpus: Corpus, shard: Path, ids: pl.Series, columns: Collection[str]) -> pl.DataFrame:
    """The verdicts on samples of one shard, null where there are none.

    An ingest moves samples between shards, and verdicts are paid for: those that are not in the shard of the same name
    are looked up by id in all others. Of several on one sample, one with a score is taken.
    """
    path = corpus.facts_shard("verdicts", shard)
    if path.exists():
        frame = _read(corpus, "verdicts", path, columns)
        if frame["id"].equals(ids):
            return frame.drop("id")
    shards = verdict_shards(corpus)
    if not shards:
        return pl.DataFrame(schema={name: VERDICT_COLUMNS[name] for name in sorted(columns)}).clear(len(ids))
    moved = pl.scan_parquet(shards).filter(pl.col("id").is_in(ids.implode()))
    best_first = moved.sort(pl.col("judge_score").is_null(), maintain_order=True)
    try:
        found = best_first.unique("id", keep="first", maintain_order=True).select("id", *sorted(columns)).collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(
            f"the verdicts in {path.parent} cannot be read ({first_line(error)}); {_remedy(corpus, 'verdicts')}"
        ) from None
    return ids.to_frame().join(found, on="id", how="left", maintain_order="left").drop("id")


def _read(corpus: Corpus, facts: Facts, path: Path, columns: Collection[str]) -> pl.DataFrame:
    try:
        return pl.read_parquet(path, columns=["id", *sorted(columns)])
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}); {_remedy(corpus, facts)}") from None


def _schema(corpus: Corpus, signals: Path) -> dict[str, pl.DataType]:
    try:
        return dict(pl.read_parquet_schema(signals))
    except FileNotFoundError:
        raise UserError(f"the samples in {corpus.path} are not measured yet; {_remedy(corpus, 'signals')}") from None
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{signals} cannot be read ({first_line(error)}); {_remedy(corpus, 'signals')}") from None


def _remedy(corpus: Corpus, facts: Facts) -> str:
    return f"run: curate score {corpus.path}{' --judge' if facts == 'verdicts' else ''}"


def first_line(error: Exception) -> str:
    """The first line of what an error says, or its name where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
