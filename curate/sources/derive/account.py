"""The account of a conversion: every sample of the parent corpus is in one of its counts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import orjson
import polars as pl

from curate.corpus import Corpus
from curate.sources.derive.balance import Balance
from curate.sources.rejects import Reject


@dataclass(frozen=True)
class Passed:
    """What the conversion does not look at."""

    samples: int
    """All samples of the parent corpus."""
    not_selected: int
    other_kinds: dict[str, int]
    """Selected samples of kinds that the conversion does not take."""
    selection_hash: str | None
    """SHA-256 of the decisions; None without a selection."""


@dataclass(frozen=True)
class ConvertSummary:
    """``samples == derived + duplicates + sum(rejects) + sum(other_kinds) + not_selected``."""

    samples: int
    """Samples of the parent corpus."""
    not_selected: int
    """Dropped by the selection that was named."""
    other_kinds: dict[str, int]
    """Of kinds that the conversion does not take."""
    derived: int
    """Samples of the derived corpus."""
    duplicates: int
    """Parents that became a sample that another had become before."""
    rejects: dict[str, int]
    """What could not be converted, by reason."""
    first_rejects: dict[str, str]
    """For each reason the first sample it was given for, as ``file:row: message``."""
    sources: dict[str, int]
    """Derived samples by source."""
    query_types: dict[str, int]
    """Derived queries by type."""
    balance: Balance | None
    """For ``yes-no``: what became of the yes/no questions."""
    unchanged: bool = False
    """True when everything was there already and nothing was done."""

    def counts(self) -> dict[str, Any]:
        """The numbers, for the lineage."""
        names = ("samples", "not_selected", "other_kinds", "derived", "duplicates", "rejects", "query_types")
        return {name: getattr(self, name) for name in names}

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return asdict(self)


def summarise(corpus: Corpus, passed: Passed, balance: Balance | None) -> ConvertSummary:
    """The counts, read off what is on disk."""
    sources: dict[str, int] = {}
    types: dict[str, int] = {}
    groups = pl.scan_parquet(corpus.shards()).group_by("source", "query_type").len().sort("source", "query_type")
    for source, query_type, count in groups.collect().iter_rows():
        sources[source] = sources.get(source, 0) + count
        if query_type is not None:
            types[query_type] = types.get(query_type, 0) + count
    reasons: dict[str, int] = {}
    firsts: dict[str, str] = {}
    for part in sorted((corpus.path / "rejects").glob("part-*.jsonl")):
        with part.open("rb") as file:
            for line in file:
                reject = Reject(**orjson.loads(line))
                reasons[reject.reason] = reasons.get(reject.reason, 0) + 1
                firsts.setdefault(reject.reason, str(reject))
    duplicates = reasons.pop("duplicate", 0)
    return ConvertSummary(
        samples=passed.samples,
        not_selected=passed.not_selected,
        other_kinds=passed.other_kinds,
        derived=sum(sources.values()),
        duplicates=duplicates,
        rejects=dict(sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))),
        first_rejects=firsts,
        sources=sources,
        query_types=dict(sorted(types.items())),
        balance=balance,
    )
