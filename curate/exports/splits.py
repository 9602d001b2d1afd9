"""Training and validation rows apart by picture: two rows that share one are always on the same side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]


def content_keys(hashes: Sequence[str]) -> Keys:
    """The first 64 bits of SHA-256 hashes in hex. Should two ever agree, their rows merely land on one side."""
    return np.frombuffer(bytes.fromhex("".join(value[:16] for value in hashes)), dtype=">u8").astype(np.uint64)


def validation_rows(
    image_keys: Keys, images_per_row: npt.NDArray[np.int64], row_keys: Keys, *, fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """For every row, whether it belongs to validation.

    ``image_keys`` are the pictures of all rows one after the other, ``row_keys`` stand in for rows without pictures.
    Rows linked by shared pictures, however indirectly, form a group; a group goes to validation when the hash of its
    smallest key and ``seed`` falls below ``fraction``. So the rows of other groups do not matter, and a larger corpus
    keeps the sides of the smaller one, except where new rows tie groups together. In small corpora three things come
    before that: a group with more than ``fraction`` of all rows is for training, validation ends at a quarter above its
    share, and neither side is left empty while there are two groups.
    """
    groups, number, size = np.unique(
        _smallest_linked_key(image_keys, images_per_row, row_keys), return_inverse=True, return_counts=True
    )
    chosen = _validation_groups(groups, size, fraction, seed)[number]
    _check_apart(image_keys, np.repeat(chosen, images_per_row))
    return chosen


def _validation_groups(groups: Keys, size: npt.NDArray[np.int64], fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(len(groups), dtype=bool)
    if len(groups) < 2 or not fraction:
        return chosen
    share = fraction * int(size.sum())
    draw = _mixed(groups ^ _mixed(np.array([seed], dtype=np.int64).view(np.uint64)))
    order = np.argsort(draw, kind="stable")
    small = order[size[order] <= max(1, math.ceil(share))]
    drawn = small[draw[small] < np.uint64(min(int(fraction * 2**64), 2**64 - 1))]
    chosen[drawn[np.cumsum(size[drawn]) <= max(1, math.ceil(1.25 * share))]] = True
    if not chosen.any():
        chosen[small[0] if small.size else size.argmin()] = True
    elif chosen.all():
        chosen[order[-1]] = False
    return chosen


def _smallest_linked_key(image_keys: Keys, images_per_row: npt.NDArray[np.int64], row_keys: Keys) -> Keys:
    """For every row the smallest key among the pictures it is linked to; its own key when it has none."""
    keys, image = np.unique(image_keys, return_inverse=True)
    parent = list(range(len(keys)))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    ends = np.cumsum(images_per_row)
    for row in np.flatnonzero(images_per_row > 1):
        first, *others = image[ends[row] - images_per_row[row] : ends[row]].tolist()
        for other in others:
            low, high = sorted((root(first), root(other)))
            parent[high] = low
    roots = np.array([root(node) for node in range(len(parent))], dtype=np.int64)
    group = row_keys.copy()
    pictured = images_per_row > 0
    group[pictured] = keys[roots[image[ends[pictured] - 1]]]
    return group


def _mixed(values: Keys) -> Keys:
    """SplitMix64's finalizer (Steele, Lea, Flood 2014): spreads every input bit over the whole word."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))


def _check_apart(image_keys: Keys, chosen: npt.NDArray[np.bool_]) -> None:
    both = np.intersect1d(image_keys[chosen], image_keys[~chosen])
    if both.size:
        raise AssertionError(f"{both.size} picture(s) on both sides of the split")
