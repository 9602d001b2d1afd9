"""Decisions on disk: one row a sample, one row group a samples shard, so that an export reads them in step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SCHEMA = pa.schema([("id", pa.string()), ("kept", pa.bool_()), ("rule", pa.string()), ("reason", pa.string())])
"""``rule`` and ``reason`` are null for kept samples."""


@dataclass(frozen=True)
class Decisions:
    """What a selection decided, and where the rows are."""

    path: Path
    """``decisions/<name>.parquet`` of the corpus."""
    total: int
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)
    """Samples dropped by each rule, in the order of the rules; rules that dropped nothing are left out."""
    judged: bool = False
    """Whether any sample has been put before a judge."""
    unjudged: dict[str, int] = field(default_factory=dict)
    """Kept samples without a score, by judge status (not_asked, failed, refused)."""

    def kept_rows(self, shard: int) -> pa.BooleanArray:
        """For every sample of a shard (counted from 0), whether it is kept."""
        with pq.ParquetFile(self.path) as file:
            return file.read_row_group(shard, columns=["kept"]).column("kept").combine_chunks()

    def dropped_rows(self) -> pa.Table:
        """The dropped samples with rule and reason."""
        with pq.ParquetFile(self.path) as file:
            table = file.read()
        return table.filter(pc.invert(table.column("kept")))

    def first_dropped(self, shards: Sequence[Path]) -> dict[str, str]:
        """For each rule the first sample it dropped, as ``file:row: reason``, in the order of :attr:`dropped`.

        ``shards`` are the corpus' samples.
        """
        if not self.dropped:
            return {}
        firsts = pl.scan_parquet(self.path).filter(~pl.col("kept")).unique("rule", keep="first", maintain_order=True)
        places = pl.scan_parquet(list(shards)).select("id", "file", "row")
        found = firsts.join(places, on="id").collect()
        columns = found.select("rule", "file", "row", "reason")
        first = {rule: f"{file}:{row}: {reason}" for rule, file, row, reason in columns.iter_rows()}
        return {rule: first[rule] for rule in self.dropped if rule in first}
