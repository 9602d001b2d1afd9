"""The queries of a rollout run with their responses, read shard by shard."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from curate.corpus import Corpus, Sample, UserError
from curate.rollouts.plan import queries
from curate.rollouts.tables import RunInfo, responses_path, run_folder

_BATCH: Final = 2048


@dataclass(frozen=True, slots=True)
class Rolled:
    """A query with all its answers."""

    sample: Sample
    correct: int
    right: tuple[str, ...]
    """The responses that are wholly right, in the order of their numbers."""


def rolled_queries(corpus: Corpus, run: str, info: RunInfo) -> Iterator[Rolled | None]:
    """Every query of the corpus, in order: with its answers, or None when the run has not all of them.

    Raises UserError when the run was made from other samples than the corpus has now, or cannot be read.
    """
    folder = run_folder(corpus, run)
    for shard in corpus.shards():
        facts = folder / shard.name
        if not facts.exists():
            yield from (None for _ in queries(shard))
            continue
        try:
            yield from _rolled(shard, facts, info)
        except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
            first_line = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{facts} or its responses cannot be read ({first_line}); {_remedy(folder)}") from None


def _remedy(folder: Path) -> str:
    return (
        f"remove {folder} and run the same curate rollout again: what was answered is in the journal and is not asked "
        f"again"
    )


def _rolled(shard: Path, facts: Path, info: RunInfo) -> Iterator[Rolled | None]:
    table = pq.read_table(facts, columns=["id", "rollout_status", "rollout_k", "rollout_correct"])
    ids, statuses, answers, correct = (column.to_pylist() for column in table.columns)
    responses = groupby(_responses(responses_path(facts)), key=lambda row: row["id"])
    for place, sample in queries(shard):
        if place >= len(ids) or ids[place] != sample.id:
            raise UserError(f"{facts} is about other samples than {shard}; {_remedy(facts.parent)}")
        if not answers[place]:
            yield None
            continue
        identity, rows = next(responses, (None, iter(())))
        if identity != sample.id:
            raise UserError(f"{responses_path(facts)} does not fit {facts.name}; {_remedy(facts.parent)}")
        if statuses[place] != "scored" or answers[place] != info.k:
            yield None
            continue
        yield Rolled(sample, correct[place], tuple(row["response"] for row in rows if (row["accuracy"] or 0) >= 1))


def _responses(path: Path) -> Iterator[dict[str, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=["id", "response", "accuracy"]):
            yield from batch.to_pylist()
