"""The samples that are still in while a policy is applied, and what a stage says of those it drops."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.corpus import Corpus
from curate.select.facts import read_facts

Rows = npt.NDArray[np.int64]
"""Samples by their number in the corpus, counted from 0 over all shards."""

DROPPED: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "rule": pl.String(),
    "reason": pl.String(),
    "related": pl.String(),
}
"""Columns of :attr:`Stage.dropped`. ``related`` is what the sample points to, or null: the id of the sample that is
kept in its place, or ``benchmark:row``."""


@dataclass(frozen=True)
class Stage:
    """What one stage of a selection decided."""

    dropped: pl.DataFrame
    """One row a dropped sample, with the columns of :data:`DROPPED`; no sample twice."""
    account: dict[str, Any] = field(default_factory=dict)
    """What the report tells of the stage, as JSON values."""
    keep: Callable[[], None] | None = None
    """Writes what the stage found beside the decisions; called when the whole selection has come to something."""


@dataclass
class Pool:
    """The samples of a corpus, shard by shard, and which of them are still in."""

    corpus: Corpus
    shards: Sequence[Path]
    starts: Rows
    """Number of each shard's first sample, and at the end how many there are."""
    alive: npt.NDArray[np.bool_]
    """One flag a sample."""

    @classmethod
    def of(cls, corpus: Corpus) -> Pool:
        """All samples of a corpus."""
        shards = corpus.shards()
        sizes = [pq.read_metadata(shard).num_rows for shard in shards]
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
        return cls(corpus, shards, starts, np.ones(int(starts[-1]), bool))

    @property
    def count(self) -> int:
        """How many samples are still in."""
        return int(np.count_nonzero(self.alive))

    def rows(self, shard: int) -> Rows:
        """Numbers of the samples of a shard that are still in."""
        start, end = self.starts[shard : shard + 2]
        rows: Rows = start + np.flatnonzero(self.alive[start:end])
        return rows

    def samples(self, columns: Sequence[str]) -> Iterator[tuple[Rows, pa.Table]]:
        """Shard by shard the samples that are still in, with these columns of the samples table."""
        for number, shard in enumerate(self.shards):
            rows = self.rows(number)
            if rows.size:
                with pq.ParquetFile(shard) as file:
                    table = file.read(columns=list(columns))
                yield rows, table.take(pa.array(rows - self.starts[number])) if rows.size < table.num_rows else table

    def facts(self, columns: Collection[str]) -> Iterator[tuple[Rows, pl.DataFrame]]:
        """The same with fact columns (:func:`curate.select.facts.fact_columns`), ``id`` always among them."""
        for number, shard in enumerate(self.shards):
            rows = self.rows(number)
            if rows.size:
                yield rows, read_facts(self.corpus, shard, columns)[rows - self.starts[number]]

    def drop(self, stage: Stage) -> None:
        """Take out what a stage dropped."""
        self.alive[stage.dropped["row"].to_numpy()] = False
