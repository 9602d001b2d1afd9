"""Training and validation rows apart by picture, patient and study: rows that share one are always on the same side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from curate.select.draws import spread

Keys = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Links:
    """The rows that have a value in one column (a patient, a study); those with equal values belong together."""

    row: Integers
    """Numbers of the rows."""
    key: Keys
    """Of each of them the value, as 64 bits (:func:`value_keys`)."""


def value_keys(values: Sequence[str]) -> Keys:
    """64 bits that stand for each text. Should two ever agree, their rows merely land on one side."""
    digests = b"".join(sha256(value.encode()).digest()[:8] for value in values)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def validation_rows(
    image_keys: Keys,
    images_per_row: Integers,
    row_keys: Keys,
    *,
    fraction: float,
    seed: int,
    together: Sequence[Links] = (),
) -> npt.NDArray[np.bool_]:
    """For every row, whether it belongs to validation.

    ``image_keys`` are the pictures of all rows one after the other, ``row_keys`` stand in for rows that nothing links.
    Rows linked by shared pictures or by equal values in a column of ``together``, however indirectly, form a group; a
    group goes to validation when the hash of its key and ``seed`` falls below ``fraction``. The key is the smallest of
    its values in the first column of ``together`` that it has any in, else of its pictures. So the rows of other groups
    do not matter, and a larger corpus keeps the sides of the smaller one, except where new rows tie groups together. In
    small corpora three things come before that: a group with more than ``fraction`` of all rows is for training,
    validation ends at a quarter above its share, and neither side is left empty while there are two groups.
    """
    row, node, key_of_node = _nodes(image_keys, images_per_row, together)
    group_key = row_keys.copy()
    group_key[row] = key_of_node[_smallest_linked(row, node, len(key_of_node))[node]]
    groups, number, size = np.unique(group_key, return_inverse=True, return_counts=True)
    chosen = _validation_groups(groups, size, fraction, seed)[number]
    _check_apart(node, chosen[row], len(key_of_node))
    return chosen


def _nodes(image_keys: Keys, images_per_row: Integers, together: Sequence[Links]) -> tuple[Integers, Integers, Keys]:
    """What rows can share, numbered in the order in which it names groups: columns first, then pictures, by key.

    Returns pairs of a row and a node that it has, and the key of each node.
    """
    pictures = Links(np.repeat(np.arange(len(images_per_row)), images_per_row), image_keys)
    rows, nodes, keys, count = [], [], [], 0
    for column, links in enumerate((*together, pictures)):
        found, number = np.unique(links.key, return_inverse=True)
        rows.append(links.row)
        nodes.append(number.astype(np.int64) + count)
        # A patient 17 and a study 17 are two things.
        keys.append(found if links is pictures else spread(found ^ np.uint64(column)))
        count += len(found)
    return np.concatenate(rows), np.concatenate(nodes), np.concatenate(keys)


def _smallest_linked(row: Integers, node: Integers, count: int) -> Integers:
    """For every node the smallest node that it is linked to by rows, however indirectly.

    Connected components by hooking and pointer jumping (Shiloach, Vishkin 1982): the larger root of each link is hung
    below the smallest root it is linked to, then every node looks up its root, until no link leads elsewhere.
    """
    order = np.argsort(row, kind="stable")
    same_row = row[order][1:] == row[order][:-1]
    left, right = node[order][:-1][same_row], node[order][1:][same_row]
    root = np.arange(count)
    while left.size:
        np.minimum.at(root, np.maximum(left, right), np.minimum(left, right))
        while (root[root] != root).any():
            root = root[root]
        left, right = root[left], root[right]
        apart = left != right
        left, right = left[apart], right[apart]
    return root


def _validation_groups(groups: Keys, size: npt.NDArray[np.int64], fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    chosen = np.zeros(len(groups), dtype=bool)
    if len(groups) < 2 or not fraction:
        return chosen
    share = fraction * int(size.sum())
    draw = spread(groups ^ spread(np.array([seed], dtype=np.int64).view(np.uint64)))
    order = np.argsort(draw, kind="stable")
    small = order[size[order] <= max(1, math.ceil(share))]
    drawn = small[draw[small] < np.uint64(min(int(fraction * 2**64), 2**64 - 1))]
    chosen[drawn[np.cumsum(size[drawn]) <= max(1, math.ceil(1.25 * share))]] = True
    if not chosen.any():
        chosen[small[0] if small.size else size.argmin()] = True
    elif chosen.all():
        chosen[order[-1]] = False
    return chosen


def _check_apart(node: Integers, validation: npt.NDArray[np.bool_], count: int) -> None:
    """Look once more, by other means than those of the grouping: a leak would spoil every result."""
    sides = np.zeros((2, count), bool)
    sides[0, node[~validation]] = True
    sides[1, node[validation]] = True
    both = np.count_nonzero(sides.all(axis=0))
    if both:
        raise AssertionError(f"{both} picture(s), patient(s) or studies on both sides of the split")
