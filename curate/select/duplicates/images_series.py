"""Which pictures belong to one series, and so are no duplicates of each other unless their bytes are equal.

Neighbouring slices of a volume and frames of a film look as alike as a picture and its copy. What tells them apart is
where they come from:

- the same series by the DICOM header (``meta.dicom.series``), or frames of one file;
- file names in one folder that differ only in their last number, by 3 at most (``slice_007.png``, ``slice_008.png``);
- any two files of such a numbered run when it is a stack: most of its consecutive pictures have hashes as near as
  slices have. In a folder that merely numbers unrelated pictures they do not, and copies further apart are still found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.select.duplicates.hamming import Positions, spread

NEIGHBOURS = 3
"""Difference of numbers up to which files of one run are taken for neighbours."""
_NUMBERED = r"^(?P<before>.*?)(?P<number>\d{1,15})(?P<after>[^\d/]*(?:\.[A-Za-z0-9]{1,5})?)$"
_STACK_PAIRS, _STACK_SHARE, _STACK_DISTANCE = 4, 0.7, 12
"""A run is a stack with so many consecutive pictures of which this share differs in so few bits."""


@dataclass(frozen=True)
class Places:
    """Where pictures lie: a picture found in several places has several rows, next to each other."""

    starts: Positions
    """Each picture's first row, and at the end how many there are."""
    series: Positions
    """Number of the series that a place belongs to, -1 for none."""
    run: Positions
    """Number of the run of numbered files, -1 for none."""
    number: Positions
    """Number of the file in its run."""

    @classmethod
    def of(cls, places: pl.DataFrame, hashes: npt.NDArray[np.uint64], known: npt.NDArray[np.bool_]) -> Places:
        """``places`` has the columns picture, series, root, path and stored; pictures are numbered as ``hashes``.

        ``known`` says which pictures have a hash.
        """
        numbered = pl.col("path").str.extract_groups(_NUMBERED)
        table = (
            places.unique()
            .sort("picture", "series", "root", "path", nulls_last=True)
            .with_columns(
                file=pl.when("stored").then(pl.format("{}:{}", "root", "path")),
                before=numbered.struct.field("before"),
                number=numbered.struct.field("number").cast(pl.Int64),
                after=numbered.struct.field("after"),
            )
            .with_columns(
                series_key=pl.coalesce(pl.format("series {}", "series"), pl.format("file {}", "file")),
                run_key=pl.when(pl.col("number").is_not_null()).then(pl.struct("root", "before", "after")),
            )
        )
        series, run = (_numbered_values(table[name]) for name in ("series_key", "run_key"))
        number = table["number"].fill_null(0).to_numpy()
        picture = table["picture"].to_numpy().astype(np.int64)
        for stack in _stacks(picture, run, number, hashes, known):
            series[(run == stack) & (series < 0)] = len(table) + stack
        counts = np.bincount(picture, minlength=hashes.size)
        return cls(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), series, run, number)

    def related(self, left: Positions, right: Positions) -> npt.NDArray[np.bool_]:
        """Which pairs of pictures are slices of one series, by any of their places."""
        places = np.diff(self.starts)
        here, pair = spread(self.starts[left], places[left])
        there, again = spread(self.starts[right[pair]], places[right[pair]])
        here, pair = here[again], pair[again]
        one_series = (self.series[here] == self.series[there]) & (self.series[here] >= 0)
        one_run = (self.run[here] == self.run[there]) & (self.run[here] >= 0)
        near = np.abs(self.number[here] - self.number[there]) <= NEIGHBOURS
        found = np.zeros(left.size, bool)
        found[pair[one_series | (one_run & near)]] = True
        return found

    def keys(self, picture: int) -> list[tuple[int, int]]:
        """What a picture of the same series, or a neighbour in the same run, has a key in common with."""
        rows = range(int(self.starts[picture]), int(self.starts[picture + 1]))
        keys = [(int(self.series[row]), -1) for row in rows if self.series[row] >= 0]
        keys += [(int(self.run[row]), int(self.number[row])) for row in rows if self.run[row] >= 0]
        return keys


def clashes(keys: list[tuple[int, int]], taken: set[tuple[int, int]]) -> bool:
    """Whether a picture with these ``keys`` is of a series with one whose keys are ``taken``."""
    return any(
        key in taken
        if key[1] < 0
        else any((key[0], key[1] + step) in taken for step in range(-NEIGHBOURS, NEIGHBOURS + 1))
        for key in keys
    )


def _numbered_values(column: pl.Series) -> Positions:
    """Each distinct value as a number, -1 for null."""
    ranks = column.to_frame("value").select(
        pl.when(pl.col("value").is_not_null()).then(pl.col("value").rank("dense")).fill_null(0).cast(pl.Int64) - 1
    )
    return ranks.to_series().to_numpy().copy()


def _stacks(
    picture: Positions, run: Positions, number: Positions, hashes: npt.NDArray[np.uint64], known: npt.NDArray[np.bool_]
) -> list[int]:
    """Runs whose consecutive pictures are mostly as near as slices are."""
    order = np.lexsort((picture, number, run))
    order = order[(run[order] >= 0) & known[picture[order]]]
    one, other = order[:-1], order[1:]
    consecutive = (run[one] == run[other]) & (number[other] - number[one] == 1) & (picture[one] != picture[other])
    one, other = one[consecutive], other[consecutive]
    near = np.bitwise_count(hashes[picture[one]] ^ hashes[picture[other]]) <= _STACK_DISTANCE
    runs = int(run.max(initial=-1)) + 1
    pairs = np.bincount(run[one], minlength=runs)
    close = np.bincount(run[one], weights=near, minlength=runs)
    stacks: list[int] = np.flatnonzero((pairs >= _STACK_PAIRS) & (close >= _STACK_SHARE * pairs)).tolist()
    return stacks
