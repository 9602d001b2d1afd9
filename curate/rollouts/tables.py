"""The tables of rollout runs, and reading them: which runs there are, how they were made, and what they found."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Final

import polars as pl
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, ValidationError

from curate.corpus import Corpus, UserError

MARKER: Final = "run.json"
"""Describes a run; lies beside its tables."""

FACTS: Final = pa.schema(
    [
        ("id", pa.string()),
        ("rollout_status", pa.string()),
        ("rollout_reason", pa.string()),
        ("rollout_k", pa.int32()),
        ("rollout_correct", pa.int32()),
        ("rollout_mean_accuracy", pa.float64()),
        ("rollout_pass_at_1", pa.float64()),
        ("rollout_informative", pa.bool_()),
        ("rollout_unparsed", pa.int32()),
        ("rollout_cut_off", pa.int32()),
        ("rollout_alike", pa.bool_()),
        ("rollout_chance", pa.float64()),
        ("rollout_model", pa.string()),
    ]
)
"""One row a sample, in the order of the samples shard. ``rollout_k`` counts the answers that are there, and the columns
after it are about those; they are null where there is none."""

RESPONSES: Final = pa.schema(
    [
        ("id", pa.string()),
        ("index", pa.int32()),
        ("response", pa.string()),
        ("accuracy", pa.float64()),
        ("score", pa.float64()),
        ("parsed", pa.bool_()),
        ("finish", pa.string()),
        ("tokens", pa.int32()),
        ("reference", pa.string()),
        ("model", pa.string()),
    ]
)
"""One row an answer. ``reference`` is by the letters that were shown; ``tokens`` is null where nobody told."""

POLARS: Final[dict[str, pl.DataType]] = dict(pl.from_arrow(FACTS.empty_table()).schema)  # type: ignore[union-attr]
"""Columns of a run's facts."""


class RunInfo(BaseModel):
    """How a run was made: ``rollouts/<run>/run.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = 1
    model: str
    k: int
    text_only: bool
    shuffle_options: bool
    system_prompt: str
    temperature: float
    max_tokens: int


def run_folder(corpus: Corpus, run: str) -> Path:
    """Where a run's tables lie."""
    return corpus.path / "rollouts" / run


def responses_path(facts: Path) -> Path:
    """The shard of responses beside a facts shard."""
    return facts.with_name(facts.name.replace("part-", "responses-", 1))


def run_names(corpus: Corpus) -> list[str]:
    """The runs that there are."""
    return sorted(marker.parent.name for marker in (corpus.path / "rollouts").glob(f"*/{MARKER}"))


def read_run(corpus: Corpus, run: str) -> RunInfo:
    """How a run was made. Raises UserError when it cannot be read."""
    path = run_folder(corpus, run) / MARKER
    try:
        return RunInfo.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        raise UserError(
            f"{path} does not describe a rollout run ({error.errors()[0]['msg']}); remove its folder and run curate "
            f"rollout again: the answers are in the journal"
        ) from None


def find_run(corpus: Corpus, name: str | None, *, text_only: bool) -> str:
    """The run called ``name``, or the only one of its kind. Raises UserError naming those that there are."""
    kinds = {run: read_run(corpus, run).text_only for run in run_names(corpus)}
    fitting = [run for run, without in kinds.items() if without == text_only]
    command = f"curate rollout {corpus.path} --model NAME --url URL{' --text-only' if text_only else ''}"
    if name is not None:
        if name in fitting:
            return name
        if name in kinds:
            was = "without pictures" if kinds[name] else "with pictures"
            raise UserError(
                f"the rollout run {name!r} is {was}; a run {pictured(text_only)} is needed{_named(fitting)}"
            )
        near = difflib.get_close_matches(name, fitting, n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]}?" if near else _named(fitting)
        raise UserError(f"there is no rollout run {name!r} {pictured(text_only)}{hint}; make one with: {command}")
    if not fitting:
        raise UserError(f"{corpus.path} has no rollout run {pictured(text_only)}; make one with: {command}")
    if len(fitting) > 1:
        raise UserError(f"{corpus.path} has several rollout runs {pictured(text_only)}: {', '.join(fitting)}; name one")
    return fitting[0]


def read_rollouts(corpus: Corpus, run: str, shard: Path, ids: pl.Series, columns: Collection[str]) -> pl.DataFrame:
    """What a run found about samples of one shard, in the order of ``ids``; null where it knows nothing.

    An ingest moves samples between shards, and answers are paid for: those that are not in the facts shard of the same
    name are looked up by id in all others. Raises UserError when the run's tables cannot be read.
    """
    wanted = ["id", *columns]
    folder = run_folder(corpus, run)
    shards = sorted(folder.glob("part-*.parquet"))
    empty = pl.DataFrame(schema={name: POLARS[name] for name in wanted})
    try:
        own = pl.read_parquet(folder / shard.name, columns=wanted) if folder / shard.name in shards else empty
        found = ids.to_frame("id").join(_once(own.lazy()).collect(), on="id", how="left", maintain_order="left")
        unknown = ids.filter(~ids.is_in(own["id"].implode()))
        if len(unknown) and len(shards) > 1:
            others = pl.scan_parquet([path for path in shards if path.name != shard.name]).select(wanted)
            moved = _once(others.filter(pl.col("id").is_in(unknown.implode()))).collect()
            if len(moved):
                found = found.update(moved, on="id", how="left", maintain_order="left")
    except (pl.exceptions.PolarsError, OSError) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"the rollout run in {folder} cannot be read ({first_line}); remove the folder and run curate rollout "
            f"again: the answers are in the journal"
        ) from None
    return found


def _once(frame: pl.LazyFrame) -> pl.LazyFrame:
    """One row a sample, of several the one that has a score."""
    best = frame.sort(pl.col("rollout_status").eq("scored"), descending=True, maintain_order=True)
    return best.unique("id", keep="first", maintain_order=True)


def pictured(text_only: bool) -> str:
    return "without pictures" if text_only else "with pictures"


def _named(names: list[str]) -> str:
    return f"; there are: {', '.join(names)}" if names else ""
