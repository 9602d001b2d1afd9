"""Decisions on disk: one row a sample, one row group a samples shard, so that an export reads them in step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, UserError, shard_fingerprint, sync_directory
from curate.select.policy import SELECTION_NAME

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("kept", pa.bool_()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("related", pa.string()),
        ("copies", pa.int32()),
    ]
)
"""``rule`` and ``reason`` are null for kept samples. ``related`` is what a dropped sample points to: the id of the one
that is kept in its place, or ``benchmark:row``. ``copies`` says how often a sample is exported, 0 when dropped."""


@dataclass(frozen=True)
class Decisions:
    """What a selection decided, and where the rows are."""

    path: Path
    """``decisions/<name>.parquet`` of the corpus; the account lies beside it, ``<name>.json``."""
    total: int
    kept: int
    dropped: dict[str, int] = field(default_factory=dict)
    """Samples dropped by each rule, in the order of the rules; rules that dropped nothing are left out."""
    judged: bool = False
    """Whether any sample has been put before a judge."""
    unjudged: dict[str, int] = field(default_factory=dict)
    """Kept samples without a score, by judge status (not_asked, failed, refused)."""
    rows: int = 0
    """Rows that an export of all kept samples has: each as often as ``copies`` says."""
    account: dict[str, Any] = field(default_factory=dict)
    """Content of the JSON file: the policy, counts by source, and what each stage tells."""

    @classmethod
    def open(cls, corpus: Corpus, name: str) -> Decisions:
        """The selection ``name`` of a corpus.

        Raises UserError when there is none, or when the corpus has other samples now.
        """
        path = decisions_path(corpus, name)
        try:
            account = orjson.loads(path.with_suffix(".json").read_bytes())
            counts = account["counts"]
            made_from = account["corpus"]["samples"]
            found = cls(
                path,
                counts["samples"],
                counts["kept"],
                counts["dropped"],
                counts["judged"],
                counts["unjudged"],
                counts["rows"],
                account,
            )
            size = pq.read_metadata(path).num_rows
        except FileNotFoundError:
            names = ", ".join(selection_names(corpus))
            there = f"there are: {names}" if names else "there is none yet"
            raise UserError(
                f"{corpus.path} has no selection {name!r}; {there}. Make one with: curate select {corpus.path} "
                "--policy POLICY"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            raise UserError(f"the selection in {path} cannot be read; select again") from None
        if made_from != samples_hash(corpus) or size != found.total:
            raise UserError(f"the selection {name!r} was made from other samples than {corpus.path} has; select again")
        return found

    def published(self) -> Decisions:
        """The same in place of the earlier selection of this name: until then :attr:`path` is a draft beside it."""
        target = self.path.with_name(f"{self.account['name']}.parquet")
        for draft, final in ((account_path(self.path), account_path(target)), (self.path, target)):
            draft.replace(final)
        sync_directory(target.parent)
        return replace(self, path=target)

    def kept_rows(self, shard: int) -> pa.BooleanArray:
        """For every sample of a shard (counted from 0), whether it is kept."""
        return self._column(shard, "kept")

    def copies(self, shard: int) -> npt.NDArray[np.int32]:
        """For every sample of a shard, how often it is exported."""
        copies: npt.NDArray[np.int32] = self._column(shard, "copies").to_numpy()
        return copies

    def _column(self, shard: int, name: str) -> pa.Array:
        with pq.ParquetFile(self.path) as file:
            return file.read_row_group(shard, columns=[name]).column(name).combine_chunks()

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


def decisions_path(corpus: Corpus, name: str) -> Path:
    """Where the decisions of a selection are; UserError for what is no name of one."""
    if not SELECTION_NAME.fullmatch(name):
        raise UserError(f"{name[:80]!r} is no name of a selection: use at most 80 letters, digits, -, _ and .")
    return corpus.path / "decisions" / f"{name}.parquet"


def draft_path(corpus: Corpus, name: str) -> Path:
    """Where they are until they are published. The next lock of the corpus clears away one that was left."""
    return corpus.path / "decisions" / f".{name}.parquet.tmp"


def account_path(decisions: Path) -> Path:
    """Where the account of decisions is, drafts or not."""
    name = decisions.name
    return (
        decisions.with_name(f"{name.removesuffix('.parquet.tmp')}.json.tmp")
        if name.endswith(".tmp")
        else (decisions.with_suffix(".json"))
    )


def selection_names(corpus: Corpus) -> list[str]:
    """The selections of a corpus that have an account beside them."""
    folder = corpus.path / "decisions"
    return sorted(path.stem for path in folder.glob("*.parquet") if path.with_suffix(".json").exists())


def samples_hash(corpus: Corpus) -> str:
    """What a selection was made from: the fingerprints of all samples shards."""
    prints = [f"{shard.name} {shard_fingerprint(shard)}" for shard in corpus.shards()]
    return hashlib.sha256("\n".join(prints).encode()).hexdigest()
