"""Near pairs among sketched texts: candidates by locality-sensitive hashing, confirmed by a similarity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from curate.select.duplicates.crowd import crowd_pairs
from curate.select.duplicates.normalise import Hashes
from curate.select.duplicates.sketch import Sketches, mixed

Numbers = npt.NDArray[np.int64]
Similarities = npt.NDArray[np.float32]


class Shingles(Protocol):
    """The sets of shingles of texts, which are given by their numbers."""

    def similarity(self, left: Numbers, right: Numbers) -> Similarities:
        """Jaccard similarity of pairs of texts."""

    def of(self, texts: Numbers) -> tuple[Hashes, Numbers]:
        """The shingles of texts, one after the other, and where each text's start."""


CROWD = 100
"""Texts in one bucket above which not every pair is looked at, as k texts have k (k - 1) / 2 pairs."""
_AT_ONCE = 200_000
"""Candidate pairs in memory at one time."""


@dataclass(frozen=True)
class Nodes:
    """What is compared: texts, each once in every group within which texts are compared. The best comes first."""

    text: Numbers
    """Number of the node's text."""
    group: Hashes
    """Only nodes of one group are compared."""


@dataclass(frozen=True)
class Edges:
    """Pairs of nodes that are near each other."""

    left: Numbers
    right: Numbers
    similarity: Similarities


def near_nodes(nodes: Nodes, sketches: Sketches, threshold: float, shingles: Shingles) -> tuple[Edges, bool]:
    """Pairs of nodes whose texts are at least ``threshold`` alike and have equal critical tokens, and if these are all.

    In a bucket of more than :data:`CROWD` texts pairs are looked for by rare shingles (:func:`crowd_pairs`). Where
    these are too many, as most texts are near each other, the best is compared with all others, those near it are set
    aside, and so on with the rest: every text gets a pair with a better one that it is near to. Then the answer is
    False: what is left when the worse of each pair is dropped must be searched again. The left node of a pair is the
    better one.
    """
    # The key of what must not differ is part of every bucket's key: captions that differ in a number or a side never
    # meet, however many there are of one template.
    key = mixed(sketches.critical[nodes.text] + mixed(nodes.group + np.uint64(7)))
    search = _Search(nodes, sketches, threshold, shingles, key)
    for band in range(sketches.bands.shape[1]):
        search.look_in(band)
    return search.edges(), search.complete


def candidate_texts(nodes: Nodes, sketches: Sketches) -> Numbers:
    """The texts that share a bucket with another."""
    key = mixed(sketches.critical[nodes.text] + mixed(nodes.group + np.uint64(7)))
    found = np.zeros(len(nodes.text), bool)
    for band in range(sketches.bands.shape[1]):
        found[_buckets(sketches.bands[nodes.text, band], key)[0]] = True
    return np.unique(nodes.text[found])


class _Search:
    def __init__(self, nodes: Nodes, sketches: Sketches, threshold: float, shingles: Shingles, key: Hashes) -> None:
        self.nodes, self.sketches, self.threshold, self.shingles, self.key = nodes, sketches, threshold, shingles, key
        self.complete = True
        self._aside = np.zeros(len(nodes.text), bool)
        """Nodes that a crowd has set aside."""
        self._found: list[tuple[Numbers, Numbers, Similarities]] = []

    def edges(self) -> Edges:
        empty = np.empty(0, np.int64)
        found = self._found or [(empty, empty, np.empty(0, np.float32))]
        left, right, similarity = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((right, left))
        return Edges(left[order], right[order], similarity[order])

    def look_in(self, band: int) -> None:
        """Find the pairs that share this band and none before it."""
        order, starts, sizes = _buckets(self.sketches.bands[self.nodes.text, band], self.key)
        small = sizes <= CROWD
        for left, right in _all_pairs(starts[small], sizes[small]):
            self._confirm(order[left], order[right], band)
        for bucket in np.flatnonzero(sizes > CROWD):
            self._look_in_crowd(order[starts[bucket] : starts[bucket] + sizes[bucket]], band)

    def _look_in_crowd(self, members: Numbers, band: int) -> None:
        rest = members[~self._aside[members]]
        self.complete &= len(rest) == len(members)
        tried = len(members) + 1
        while len(rest) > 1:
            if tried > len(members) or len(rest) <= 0.75 * tried:
                tried = len(rest)
                pairs = crowd_pairs(*self.shingles.of(self.nodes.text[rest]), self.threshold)
                if pairs is not None:
                    self._confirm(rest[pairs[0]], rest[pairs[1]], band)
                    return
            best, rest = rest[0], rest[1:]
            near = self._confirm(np.full(len(rest), best), rest, band)
            if len(near):
                self.complete = False
                self._aside[near] = True
                rest = rest[~self._aside[rest]]

    def _confirm(self, left: Numbers, right: Numbers, band: int) -> Numbers:
        """Keep those of the pairs that are near, and say which right nodes are among them."""
        near = [
            self._confirmed(left[at : at + _AT_ONCE], right[at : at + _AT_ONCE], band)
            for at in range(0, len(left), _AT_ONCE)
        ]
        return np.concatenate([np.empty(0, np.int64), *near])

    def _confirmed(self, left: Numbers, right: Numbers, band: int) -> Numbers:
        bands, slots = self.sketches.bands, self.sketches.slots
        texts, others = self.nodes.text[left], self.nodes.text[right]
        fresh = self.key[left] == self.key[right]
        fresh &= ~(bands[texts, :band] == bands[others, :band]).any(axis=1)
        left, right, texts, others = left[fresh], right[fresh], texts[fresh], others[fresh]
        likely = (slots[texts] == slots[others]).mean(axis=1) >= least_likely(self.threshold, slots.shape[1])
        left, right, texts, others = left[likely], right[likely], texts[likely], others[likely]
        similarity = self.shingles.similarity(texts, others)
        near = similarity >= np.float32(self.threshold)
        if near.any():
            self._found.append((left[near], right[near], similarity[near]))
        return right[near]


def least_likely(threshold: float, permutations: int) -> float:
    """Share of equal slots below which a similarity of ``threshold`` is out of the question: four standard errors."""
    return threshold - 4 * float(np.sqrt(threshold * (1 - threshold) / permutations))


def _buckets(band: npt.NDArray[np.uint32], key: Hashes) -> tuple[Numbers, Numbers, Numbers]:
    """Nodes that share a bucket, ordered by bucket, best first within each; where each bucket starts, and its size."""
    bucket = mixed(key ^ (band.astype(np.uint64) << np.uint64(32)))
    ordered = np.sort(bucket)
    shared = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(shared):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
    # Few nodes share one: only they are brought into order, which takes ten times as long as to sort numbers.
    nodes = np.flatnonzero(shared[np.minimum(np.searchsorted(shared, bucket), len(shared) - 1)] == bucket)
    order = nodes[np.argsort(bucket[nodes], kind="stable")]
    bucket = bucket[order]
    starts = np.flatnonzero(np.concatenate([[True], bucket[1:] != bucket[:-1]]))
    return order, starts, np.diff(np.append(starts, len(order)))


def _all_pairs(starts: Numbers, sizes: Numbers) -> Iterator[tuple[Numbers, Numbers]]:
    """All pairs of places within each run, a bounded number at a time."""
    pairs = np.cumsum(sizes * (sizes - 1) // 2)
    first = 0
    while first < len(starts):
        done = pairs[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(pairs, done + _AT_ONCE, "right")))
        start, size = starts[first:last], sizes[first:last]
        ends = np.repeat(start + size, size)
        places = np.arange(len(ends)) + np.repeat(start - np.concatenate([[0], np.cumsum(size)[:-1]]), size)
        after = ends - places - 1
        left = np.repeat(places, after)
        nth = np.arange(len(left)) - np.repeat(np.cumsum(after) - after, after)
        yield left, left + nth + 1
        first = last
