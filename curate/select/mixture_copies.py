"""How often each sample of a mixture is taken, so that its parts reach their targets to within one sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.select.draws import Draws
from curate.select.tokens import Integers

Amounts = npt.NDArray[np.float64]

_ROUNDING = 1e-6
"""Amounts below this are rounding errors: units are whole samples or tokens."""


@dataclass(frozen=True)
class Cells:
    """The samples of a mixture by cell: the samples of one part that have one value of the column to balance."""

    of_sample: Integers
    """For each sample its cell."""
    part: Integers
    """For each cell its part; cells of one part follow each other."""
    available: Amounts
    """Units that each cell has."""


def cells_of(part: Integers, value: Integers | None, units: Integers) -> Cells:
    """Cells of samples given by their part, and by their value of the column to balance (None: one cell a part)."""
    width = 1 if value is None or not value.size else int(value.max()) + 1
    found, cell = np.unique(part * width + (0 if value is None else value), return_inverse=True)
    available = np.bincount(cell, units, minlength=len(found)).astype(np.float64)
    return Cells(cell.astype(np.int64), found // width, available)


def cell_targets(cells: Cells, of_part: Amounts, max_copies: Amounts) -> Amounts:
    """Units to take of each cell: the part's target, evened out over its cells as far as their samples reach."""
    capacity = cells.available * max_copies[cells.part]
    targets: Amounts = np.minimum(capacity, of_part[cells.part])
    first = np.flatnonzero(np.diff(cells.part, prepend=-1))
    end = np.append(first[1:], len(capacity))
    several = end - first > 1
    for start, stop in zip(first[several], end[several], strict=True):
        targets[start:stop] = level(capacity[start:stop], of_part[cells.part[start]])
    return targets


def level(capacity: Amounts, target: float) -> Amounts:
    """``target`` parted evenly, no share above its capacity; all of the capacity where that is less (water-filling)."""
    if target >= capacity.sum():
        return capacity
    ascending = np.sort(capacity)
    full = np.cumsum(ascending) - ascending
    height = (target - full) / np.arange(len(capacity), 0, -1)
    reached = height[np.argmax(height <= ascending)]
    shares: Amounts = np.minimum(capacity, reached)
    return shares


def draw_copies(
    cells: Cells, targets: Amounts, units: Integers, draw: Draws, *, exact: Integers
) -> npt.NDArray[np.int32]:
    """How often each sample is taken for its cell to reach its target.

    Every sample of a cell as often as the target covers the whole cell, and for the rest one copy more in the order of
    ``draw`` until the target is met (the deterministic token-budget sampling of InfiMed2, arXiv 2609.34798). The
    samples on the border, of which only a fraction fits, are rounded together for all cells of one number in ``exact``:
    these together are off by at most half of the last one, and each cell by less than its own.
    """
    available = np.maximum(cells.available, 1)
    rounds = np.floor(targets / available + _ROUNDING / available)
    rest = np.maximum(0, targets - rounds * cells.available)
    rest[rest < _ROUNDING] = 0

    order = np.lexsort((draw, cells.of_sample))
    cell = cells.of_sample[order]
    sizes = np.bincount(cell, minlength=len(targets))
    start = np.cumsum(sizes) - sizes
    running = np.cumsum(units[order])
    before = np.concatenate([[0], running])[start]
    filled = running - before[cell]

    extra = (filled <= rest[cell] + _ROUNDING) & (rest[cell] > 0)
    border = start + np.bincount(cell[extra], minlength=len(targets))
    open_cells = np.flatnonzero((rest > 0) & (border < start + sizes))
    at = border[open_cells]
    size = units[order][at]
    missing = rest[open_cells] - (filled[at] - size)
    extra[at[_rounded_up(exact[open_cells], missing, size, draw[order][at])]] = True

    copies = np.empty(len(units), np.int32)
    copies[order] = rounds[cell].astype(np.int32) + extra
    return copies


def _rounded_up(group: Integers, missing: Amounts, size: Integers, draw: Draws) -> Integers:
    """Which border samples are taken, until those of each group make up for what its cells miss together.

    Each with about the probability that is missing of it, by its draw (Pareto sampling, Rosen 1997).
    """
    if not group.size:
        return group
    chance = np.clip(missing / np.maximum(size, 1), 1e-12, 1 - 1e-12)
    luck = np.clip(draw / 2.0**64, 1e-12, 1 - 1e-12)
    order = np.lexsort((luck / (1 - luck) * (1 - chance) / chance, group))
    begins = np.diff(group[order], prepend=-1) != 0
    first, number = np.flatnonzero(begins), np.cumsum(begins) - 1
    together = np.add.reduceat(missing[order], first)
    running = np.cumsum(size[order])
    middle = running - size[order] / 2 - (running - size[order])[first][number]
    chosen: Integers = order[middle < together[number]]
    return chosen
