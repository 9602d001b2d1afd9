"""Converting one samples shard: the part of a run that can be done anywhere, in any order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.corpus import Sample, UserError, from_table, to_table
from curate.rewards import RewardError
from curate.sources.derive.balance import CONVERT, SURPLUS, States, surplus
from curate.sources.derive.context import Context
from curate.sources.derive.conversions import CONVERSIONS
from curate.sources.rejects import Reject, RejectError
from curate.sources.staging import Converted, made_from


@dataclass(frozen=True, slots=True)
class Piece:
    """A shard, or the rest of one that an interrupted run had begun with."""

    shard: Path
    skip: int
    """Rows at its start that are settled."""
    states: States
    """What to do with each of the shard's samples."""
    size: int
    """Bytes of the file."""


class Deriver:
    """Converts the samples of shards."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._functions = CONVERSIONS[context.name].functions

    def __call__(self, piece: Piece) -> Converted:
        """What becomes of a shard's samples: derived ones, rejects, and those that are passed over."""
        began = time.monotonic()
        states = piece.states[piece.skip :]
        try:
            table = pq.read_table(piece.shard, use_threads=False).slice(piece.skip)
        except (OSError, pa.ArrowException) as error:
            cause = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{piece.shard} cannot be read ({cause}): ingest the raw data of its corpus again"
            ) from None
        chosen = np.flatnonzero((states == CONVERT) | (states == SURPLUS))
        samples: list[Sample] = []
        places: list[int] = []
        rejects: list[tuple[int, Reject]] = []
        sources = bytearray()
        ends: list[int] = []
        for place, sample in zip(chosen.tolist(), from_table(table.take(pa.array(chosen))), strict=True):
            try:
                if states[place] == SURPLUS:
                    raise surplus()
                made = self._functions[sample.kind](sample, self._context)
            except RejectError as error:
                rejects.append((place, _reject(sample, error.reason, str(error))))
                continue
            except RewardError as error:
                rejects.append((place, _reject(sample, "no_reward", str(error))))
                continue
            samples.append(made)
            places.append(place)
            sources += made_from(made)
            ends.append(len(sources))
        return Converted(
            rows=len(states),
            samples=to_table(samples),
            places=places,
            made_from=bytes(sources),
            ends=ends,
            rejects=rejects,
            locations=set(),
            seconds=time.monotonic() - began,
        )


def _reject(sample: Sample, reason: str, message: str) -> Reject:
    return Reject(sample.origin.file, sample.origin.row, reason, f"{message} [sample {sample.id}]")
