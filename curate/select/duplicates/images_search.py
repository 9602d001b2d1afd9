"""Which pictures could be the same, by their hashes: as they are, mirrored, without borders, or cropped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from curate.select.duplicates.hamming import MAX_DISTANCE, Hashes, Positions, near_matches, near_pairs, spread

Route = Literal["near", "mirrored", "trimmed", "outer", "inner"]
ROUTES: tuple[Route, ...] = ("near", "mirrored", "trimmed", "outer", "inner")
"""Ways in which the first picture of a pair can match the second, in the order in which they are tried; ``outer``: the
second is the first one cropped, ``inner``: the other way round."""

CROP_ALLOWANCE = 2
"""Bits by which hashes of crops and of trimmed pictures may differ beyond the distance: crops are hashed in steps of
2.5 % of a side, and borders end within a pixel."""


@dataclass(frozen=True)
class PictureHashes:
    """The hashes of the pictures, one row each."""

    known: npt.NDArray[np.bool_]
    """Whether the picture could be measured."""
    whole: Hashes
    mirrored: Hashes
    trimmed: Hashes
    cropped: Hashes
    """Shape (pictures, 16)."""


@dataclass(frozen=True)
class Candidates:
    """Pairs of pictures that may be the same, sorted by them and by route."""

    left: Positions
    right: Positions
    route: Positions
    """Place in ROUTES."""
    distance: npt.NDArray[np.int8]


@dataclass(frozen=True)
class _Rows:
    """Lists of numbers, one after the other."""

    starts: Positions
    values: Positions
    extra: npt.NDArray[np.int8] | None = None

    @classmethod
    def of(cls, owner: Positions, values: Positions, count: int, extra: npt.NDArray[np.int8] | None = None) -> _Rows:
        order = np.lexsort((values, owner))
        starts = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=count))]).astype(np.int64)
        return cls(starts, values[order], None if extra is None else extra[order])

    @property
    def counts(self) -> Positions:
        return np.diff(self.starts)


@dataclass(frozen=True)
class _Way:
    """One route: the values that a picture asks for, the values near those, and the pictures that have them."""

    route: int
    asked: _Rows
    near: _Rows
    holders: _Rows

    def weights(self) -> Positions:
        """For each picture how many matches it has at most, itself among them."""
        by_value = self.holders.counts[self.near.values]
        near = np.concatenate([[0], np.cumsum(by_value)])
        by_key = near[self.near.starts[1:]] - near[self.near.starts[:-1]]
        asked = np.concatenate([[0], np.cumsum(by_key[self.asked.values])])
        total: Positions = asked[self.asked.starts[1:]] - asked[self.asked.starts[:-1]]
        return total

    def partners(self, pictures: Positions) -> tuple[Positions, Positions, npt.NDArray[np.int8]]:
        """Each picture with every match: place among ``pictures``, picture, bits."""
        places, left = spread(self.asked.starts[pictures], self.asked.counts[pictures])
        keys = self.asked.values[places]
        places, again = spread(self.near.starts[keys], self.near.counts[keys])
        left, values = left[again], self.near.values[places]
        assert self.near.extra is not None
        bits = self.near.extra[places]
        places, again = spread(self.holders.starts[values], self.holders.counts[values])
        return left[again], self.holders.values[places], bits[again]


class Search:
    """Finds for each picture the later ones that it could be the same as."""

    def __init__(self, hashes: PictureHashes, distance: int, *, mirrored: bool, cropped: bool) -> None:
        self._count = len(hashes.known)
        known = np.flatnonzero(hashes.known)
        values, of_whole = np.unique(hashes.whole[known], return_inverse=True)
        whole = _Rows.of(known, of_whole, self._count)
        holders = _Rows.of(of_whole, known, values.size)
        one, other, bits = near_pairs(values, distance)
        self._ways = [_Way(0, whole, _both_ways(one, other, bits, values.size), holders)]
        # Every picture is near itself, and often its own crops and its mirror image: no reason to look at it.
        self._own = hashes.known.astype(np.int64)
        if mirrored:
            self._own[known] += np.bitwise_count(hashes.whole[known] ^ hashes.mirrored[known]) <= distance
            targets, of_mirrored = np.unique(hashes.mirrored[known], return_inverse=True)
            near = _Rows.of(*_matched(values, targets, distance))
            self._ways.append(_Way(1, whole, near, _Rows.of(of_mirrored, known, targets.size)))
        if cropped:
            allowed = min(MAX_DISTANCE, distance + CROP_ALLOWANCE)
            trimmed, itself = _trimmed_way(hashes, known, allowed)
            self._ways.append(trimmed)
            self._own[known] += itself
            near_crops = np.bitwise_count(hashes.cropped[known] ^ hashes.whole[known][:, None]) <= allowed
            self._own[known] += 2 * near_crops.sum(axis=1)
            crops, of_crop = np.unique(hashes.cropped[known], return_inverse=True)
            owner = np.repeat(known, hashes.cropped.shape[1])
            crop, place, count, bits = _matched(crops, values, allowed)
            self._ways.append(
                _Way(3, _Rows.of(owner, of_crop.ravel(), self._count), _Rows.of(crop, place, count, bits), holders)
            )
            inner = _Rows.of(place, crop, values.size, bits)
            self._ways.append(_Way(4, whole, inner, _Rows.of(of_crop.ravel(), owner, crops.size)))

    def weights(self) -> Positions:
        """For each picture how many candidates it has at most; 0 when it is only near itself."""
        total = -self._own
        for way in self._ways:
            total += way.weights()
        return total

    def candidates(self, pictures: Positions, after: Positions) -> Candidates:
        """For each of ``pictures`` (ascending) all that it could be the same as and that come after ``after``."""
        parts = []
        for way in self._ways:
            place, right, bits = way.partners(pictures)
            left = pictures[place]
            later = (right > after[place]) & (right != left)
            parts.append((left[later], right[later], np.full(np.count_nonzero(later), way.route), bits[later]))
        left, right, route, distance = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.lexsort((distance, route, right, left))
        left, right, route, distance = left[order], right[order], route[order], distance[order]
        first = np.ones(left.size, bool)
        first[1:] = (np.diff(left) != 0) | (np.diff(right) != 0) | (np.diff(route) != 0)
        return Candidates(left[first], right[first], route[first], distance[first])


def _matched(queries: Hashes, targets: Hashes, distance: int) -> tuple[Positions, Positions, int, npt.NDArray[np.int8]]:
    query, target, bits = near_matches(queries, targets, distance)
    return query, target, queries.size, bits


def _both_ways(one: Positions, other: Positions, bits: npt.NDArray[np.int8], count: int) -> _Rows:
    """Pairs of values in both directions, and every value with itself."""
    itself = np.arange(count)
    none = np.zeros(count, np.int8)
    return _Rows.of(
        np.concatenate([one, other, itself]),
        np.concatenate([other, one, itself]),
        count,
        np.concatenate([bits, bits, none]),
    )


def _trimmed_way(hashes: PictureHashes, known: Positions, distance: int) -> tuple[_Way, npt.NDArray[np.int64]]:
    """Pictures that are near once the borders of one are off, and perhaps those of the other; and for each of ``known``
    how often it is found to be near itself."""
    owner = np.concatenate([known, known])
    both = np.concatenate([hashes.trimmed[known], hashes.whole[known]])
    has_borders = hashes.trimmed[known] != hashes.whole[known]
    # A picture without borders has one hash, not the same one twice.
    kept = np.concatenate([np.ones(known.size, bool), has_borders])
    owner, both = owner[kept], both[kept]
    values, of_owner = np.unique(both, return_inverse=True)
    inside = np.unique(of_owner[: known.size][has_borders])
    one, other, _ = near_matches(values[inside], values, distance)
    one = inside[one]
    size = max(1, values.size)
    left, right = np.divmod(np.unique(np.concatenate([one * size + other, other * size + one])), size)
    bits = np.bitwise_count(values[left] ^ values[right]).astype(np.int8)
    near = _Rows.of(left, right, values.size, bits)
    count = len(hashes.known)
    way = _Way(2, _Rows.of(owner, of_owner, count), near, _Rows.of(of_owner, owner, values.size))
    itself = np.isin(hashes.whole[known], values[inside]).astype(np.int64)
    differing = np.bitwise_count(hashes.trimmed[known] ^ hashes.whole[known])
    itself[has_borders] += 1 + 2 * (differing[has_borders] <= distance)
    return way, itself
