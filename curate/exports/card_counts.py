"""What a dataset card counts: the exported samples by source and licence, their privacy and their languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from curate.corpus import Corpus

_LEAST_SHARE: Final = 0.01
"""Share of the texts from which on a language is named; below it, detection of short texts errs as often."""


@dataclass(frozen=True)
class Counts:
    """Exported samples, copies not counted."""

    groups: pl.DataFrame
    """``source``, ``license`` (null without one), ``kind``, ``privacy``, ``samples``; most samples first."""
    languages: list[str]
    """ISO 639-1 codes of what at least one text in a hundred is written in, the most frequent first."""

    @property
    def samples(self) -> int:
        """How many samples are exported."""
        return int(self.groups["samples"].sum())

    def by(self, *columns: str, where: pl.Expr | None = None) -> list[tuple[object, ...]]:
        """Rows of these columns and the number of samples, most first."""
        groups = self.groups if where is None else self.groups.filter(where)
        summed = groups.group_by(*columns, maintain_order=True).agg(pl.col("samples").sum())
        order = [pl.col(name).fill_null("") for name in columns]
        return list(summed.sort(-pl.col("samples").cast(pl.Int64), *order).iter_rows())


def count_exported(corpus: Corpus, sides: Sequence[npt.NDArray[np.int8]], skipped: Path) -> Counts:
    """Count the samples of an export.

    ``sides`` has for every sample of each shard 0 when it is left out (:class:`curate.exports.plan.Plan`); those that
    the export listed in ``skipped`` (``skipped.jsonl``, if it is there) could not be written.
    """
    left_out = _ids(skipped)
    groups: list[pl.DataFrame] = []
    languages: list[pl.DataFrame] = []
    named = ["source", "license", "kind", "privacy"]
    for shard, side in zip(corpus.shards(), sides, strict=True):
        chosen = pl.Series(side != 0)
        if not chosen.any():
            continue
        table = pl.read_parquet(shard, columns=["id", *named])
        if left_out:
            chosen &= ~table["id"].is_in(left_out)
        groups.append(table.filter(chosen).group_by(named).agg(samples=pl.len()))
        signals = pl.read_parquet(corpus.facts_shard("signals", shard), columns=["text_language"])
        languages.append(signals.filter(chosen).group_by("text_language").agg(samples=pl.len()))
    empty = pl.DataFrame(schema={**dict.fromkeys(named, pl.String), "samples": pl.UInt32})
    counted = pl.concat([empty, *groups]).group_by(named).agg(pl.col("samples").sum())
    order = [pl.col(name).fill_null("") for name in named]
    return Counts(counted.sort(-pl.col("samples").cast(pl.Int64), *order), _languages(languages))


def _languages(found: list[pl.DataFrame]) -> list[str]:
    if not found:
        return []
    counted = pl.concat(found).drop_nulls().group_by("text_language").agg(pl.col("samples").sum())
    frequent = counted.filter(pl.col("samples") >= _LEAST_SHARE * pl.col("samples").sum())
    return frequent.sort(-pl.col("samples").cast(pl.Int64), "text_language")["text_language"].to_list()


def _ids(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open("rb") as file:
        return [orjson.loads(line)["id"] for line in file]
