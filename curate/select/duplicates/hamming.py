"""All pairs of 64-bit hashes that differ in few bits, none missed.

Two hashes that differ in at most d bits agree on at least k of any d + k blocks of their bits (pigeonhole). So the
hashes are sorted once for every choice of k blocks, and only those that agree on all k are compared (Manku, Jain and
Das Sarma 2007, "Detecting near-duplicates for web crawling"). How many blocks pays best depends on how many hashes
there are and how evenly they are spread; it is estimated on a sample of them. Pairs are compared in batches of bounded
size, so memory follows the number of hashes and of pairs found, however many hashes share a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Matches = tuple[Positions, Positions, npt.NDArray[np.int8]]
"""Positions on either side, and by how many bits the hashes there differ."""

BITS = 64
MAX_DISTANCE = 16
_BATCH = 1 << 21
"""Pairs compared at a time."""
_SAMPLE = 4096
"""Hashes on which the cost of a choice of blocks is estimated."""
_MOST_TABLES = 400
_SORT_COST, _PAIR_COST = 60.0, 6.0
"""Nanoseconds to sort one hash and to compare one pair, about: only their ratio decides."""


def near_pairs(hashes: Hashes, distance: int) -> Matches:
    """All pairs of ``hashes`` that differ in at most ``distance`` bits (0 to 16): left < right, in ascending order.

    Equal hashes would make a pair with each of their kind, so their values must be distinct; ValueError otherwise.
    """
    values = _checked(hashes, distance)
    if np.unique(values).size != values.size:
        raise ValueError("the hashes must be distinct: group equal ones first")
    return _collected(near_pair_batches(values, distance))


def near_pair_batches(values: Hashes, distance: int) -> Iterator[Matches]:
    """What :func:`near_pairs` finds, in batches and in no particular order, each pair once.

    ``values`` must be distinct, which is not checked.
    """
    values = _checked(values, distance)
    masks = _cheapest(distance, values.size, values.size, values, values)
    for number, mask in enumerate(masks):
        keys = values & mask
        order = np.argsort(keys)
        ordered = keys[order]
        ends = np.searchsorted(ordered, ordered, side="right")
        starts = np.arange(1, values.size + 1)

        for row, partner in _expanded(starts, ends):
            one, other = order[row], order[partner]
            kept = _first_found(values[one], values[other], distance, masks[:number])
            if kept is not None:
                places, differing = kept
                one, other = one[places], other[places]
                yield np.minimum(one, other), np.maximum(one, other), differing


def near_matches(queries: Hashes, targets: Hashes, distance: int) -> Matches:
    """All (query, target) positions whose hashes differ in at most ``distance`` bits (0 to 16), in ascending order.

    Equal values are compared once, but the answer names every position: q equal queries that match t equal targets
    are q x t rows.
    """
    sides = [np.unique(_checked(side, distance), return_inverse=True) for side in (queries, targets)]
    (query_values, query_place), (target_values, target_place) = sides
    # The larger side is the one to sort: looking many values up takes longer than sorting them.
    if query_values.size <= target_values.size:
        one, other, differing = _collected(_match_batches(query_values, target_values, distance))
    else:
        other, one, differing = _collected(_match_batches(target_values, query_values, distance))
    # Each match of values stands for all pairs of positions that have them.
    by_query, query_starts = _grouped(query_place, query_values.size)
    by_target, target_starts = _grouped(target_place, target_values.size)
    counts = np.diff(query_starts)[one]
    first, again = spread(query_starts[one], counts)
    left, other, differing = by_query[first], other[again], differing[again]
    second, again = spread(target_starts[other], np.diff(target_starts)[other])
    left, right, differing = left[again], by_target[second], differing[again]
    order = np.lexsort((right, left))
    return left[order], right[order], differing[order]


def _match_batches(queries: Hashes, targets: Hashes, distance: int) -> Iterator[Matches]:
    if not queries.size or not targets.size:
        return
    masks = _cheapest(distance, queries.size, targets.size, queries, targets)
    for number, mask in enumerate(masks):
        keys = targets & mask
        order = np.argsort(keys)
        ordered, wanted = keys[order], queries & mask
        starts = np.searchsorted(ordered, wanted, side="left")
        ends = np.searchsorted(ordered, wanted, side="right")

        for query, partner in _expanded(starts, ends):
            target = order[partner]
            kept = _first_found(queries[query], targets[target], distance, masks[:number])
            if kept is not None:
                places, differing = kept
                yield query[places], target[places], differing


def _checked(hashes: Hashes, distance: int) -> Hashes:
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"a distance of {distance} bits: it must be 0 to {MAX_DISTANCE}")
    return np.ascontiguousarray(hashes, dtype=np.uint64)


def _first_found(
    one: Hashes, other: Hashes, distance: int, earlier: list[np.uint64]
) -> tuple[Positions, npt.NDArray[np.int8]] | None:
    """Which pairs are near enough and were not found by an earlier choice of blocks already, and their distances."""
    difference = one ^ other
    differing = np.bitwise_count(difference)
    places = np.flatnonzero(differing <= distance)
    if not places.size:
        return None
    difference = difference[places]
    fresh = np.ones(places.size, bool)
    for mask in earlier:
        fresh &= (difference & mask) != 0
    places = places[fresh]
    return (places, differing[places].astype(np.int8)) if places.size else None


def _expanded(starts: Positions, ends: Positions) -> Iterator[tuple[Positions, Positions]]:
    """Each row with every partner from its start to before its end, in batches of about ``_BATCH`` pairs."""
    reached = np.concatenate([[0], np.cumsum(ends - starts)])
    row = 0
    while row < starts.size:
        stop = max(row + 1, int(np.searchsorted(reached, reached[row] + _BATCH, side="right")) - 1)
        if reached[stop] > reached[row]:
            partners, rows = spread(starts[row:stop], np.diff(reached[row : stop + 1]))
            yield rows + row, partners
        row = stop


def spread(starts: Positions, counts: Positions) -> tuple[Positions, Positions]:
    """``counts`` numbers from each of ``starts`` on, and for each the position of the start it belongs to."""
    owner = np.repeat(np.arange(starts.size), counts)
    within = np.arange(owner.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return starts[owner] + within, owner


def _grouped(place: Positions, groups: int) -> tuple[Positions, Positions]:
    """Positions in order of the group they are in, and where each group starts among them."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(place, minlength=groups))])
    return np.argsort(place, kind="stable"), starts


def _collected(batches: Iterator[Matches]) -> Matches:
    parts = list(batches)
    if not parts:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8)
    left, right, differing = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.lexsort((right, left))
    return left[order], right[order], differing[order]


def _cheapest(distance: int, queries: int, targets: int, some: Hashes, others: Hashes) -> list[np.uint64]:
    """The masks of the choice of blocks that should take the least time."""
    chance = np.random.default_rng(0)
    here, there = (chance.choice(side, min(side.size, _SAMPLE), replace=False) for side in (some, others))
    scale = queries * targets / max(1, here.size * there.size)

    def cost(masks: tuple[np.uint64, ...]) -> float:
        pairs = sum(_agreeing(here & mask, there & mask) for mask in masks)
        return len(masks) * (queries + targets) * _SORT_COST + pairs * scale * _PAIR_COST

    best: tuple[np.uint64, ...] = (np.uint64(0),)
    least: float = cost(best)
    for agreeing in range(1, BITS - distance + 1):
        tables = comb(distance + agreeing, agreeing)
        if tables > _MOST_TABLES or tables * (queries + targets) * _SORT_COST >= least:
            break
        masks = _masks(distance + agreeing, agreeing)
        if (expected := cost(masks)) < least:
            best, least = masks, expected
    return list(best)


def _agreeing(here: Hashes, there: Hashes) -> int:
    """Pairs with equal keys."""
    keys, counts = np.unique(there, return_counts=True)
    wanted, times = np.unique(here, return_counts=True)
    places = np.minimum(np.searchsorted(keys, wanted), keys.size - 1) if keys.size else np.empty(0, np.int64)
    return int((times * counts[places] * (keys[places] == wanted)).sum()) if keys.size else 0


@lru_cache(maxsize=64)
def _masks(blocks: int, agreeing: int) -> tuple[np.uint64, ...]:
    """A mask for every choice of ``agreeing`` blocks; a block takes every ``blocks``-th bit.

    Neighbouring bits of a perceptual hash depend on each other: bits far apart make a block tell more.
    """
    block = [sum(1 << bit for bit in range(number, BITS, blocks)) for number in range(blocks)]
    return tuple(np.uint64(sum(chosen)) for chosen in combinations(block, agreeing))
