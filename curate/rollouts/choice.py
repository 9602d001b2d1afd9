"""Which queries of a corpus are asked about."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, UserError
from curate.judge.shards import may_be_sent
from curate.rollouts.options import RolloutOptions

Admit = Callable[[Path], frozenset[str]]
"""The ids of a samples shard that may be asked about."""


def corpus_sizes(corpus: Corpus) -> tuple[int, int]:
    """Samples and queries of a corpus."""
    samples = queries_there = 0
    for shard in corpus.shards():
        with pq.ParquetFile(shard) as file:
            kinds = file.read(columns=["kind"]).column("kind")
        samples += len(kinds)
        queries_there += pc.sum(pc.equal(kinds, "query")).as_py() or 0
    if not queries_there:
        raise UserError(
            f"{corpus.path} holds no queries among its {samples:,} samples; rollouts are for queries (a question with "
            f"an answer that can be checked)"
        )
    return samples, queries_there


class Choice:
    """Which queries are asked about: all, those admitted, or a number of each source."""

    def __init__(self, corpus: Corpus, options: RolloutOptions, admit: Admit | None) -> None:
        self._admit = admit
        self._sampled: dict[str, frozenset[str]] | None = None
        if options.sample is not None:
            self._sampled = _sample(corpus, options, options.sample, admit)

    def of(self, shard: Path) -> frozenset[str] | None:
        """The ids in a shard; None for all."""
        if self._sampled is not None:
            return self._sampled.get(shard.name, frozenset())
        return None if self._admit is None else self._admit(shard)


def _sample(corpus: Corpus, options: RolloutOptions, size: int, admit: Admit | None) -> dict[str, frozenset[str]]:
    """``size`` queries of each source, by shard name.

    An id is a hash of the content, so the smallest ids are a random choice that stays the same from run to run.
    """
    smallest: dict[str, list[tuple[str, str]]] = {}
    for shard in corpus.shards():
        allowed = None if admit is None else admit(shard)
        with pq.ParquetFile(shard) as file:
            table = file.read(columns=["id", "kind", "source", "privacy"])
        table = table.filter(pc.equal(table["kind"], "query"))
        found: dict[str, list[tuple[str, str]]] = {}
        for name, source, privacy in zip(*(table[c].to_pylist() for c in ("id", "source", "privacy")), strict=True):
            if may_be_sent(privacy, source, options) and (allowed is None or name in allowed):
                found.setdefault(source, []).append((name, shard.name))
        for source, pairs in found.items():
            smallest[source] = heapq.nsmallest(size, smallest.get(source, []) + pairs)
    chosen: dict[str, set[str]] = {}
    for pairs in smallest.values():
        for name, shard_name in pairs:
            chosen.setdefault(shard_name, set()).add(name)
    return {name: frozenset(ids) for name, ids in chosen.items()}
