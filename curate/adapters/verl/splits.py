"""The files of a stage's exports after verl has read them, and the problems of their rows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple

from curate.adapters.verl.loader import Loaded, load, why_dropped
from curate.adapters.verl.reward_check import reward_problems

LISTED: Final = 20
"""Problems of one kind that are listed; the rest are counted."""


class Problem(NamedTuple):
    """What is wrong, and where: as in ``proof.json``."""

    file: str | None
    row: int | None
    """From 1."""
    message: str


class Split:
    """Files that training or validation reads one after the other."""

    def __init__(self, files: Sequence[Path], names: Sequence[str], loaded: Loaded) -> None:
        import pyarrow.parquet

        self.names, self.loaded = names, loaded
        self._counts = [pyarrow.parquet.read_metadata(file).num_rows for file in files]
        self._ends = list(accumulate(self._counts))

    def place(self, row: int) -> tuple[str, int]:
        """The file of a row (from 0) and its number there, from 1."""
        file = bisect_right(self._ends, row)
        return self.names[file], row - (self._ends[file] - self._counts[file]) + 1

    def kept(self) -> list[int]:
        """Rows of each file that verl's filter leaves in."""
        left = list(self._counts)
        for row in self.loaded.dropped:
            left[bisect_right(self._ends, row)] -= 1
        return left

    def problems(self, score: Any, before: str) -> Iterator[Problem]:
        """The rows that verl would leave out, and those whose reward is no use (``reward_problems``)."""
        dropped = self.loaded.dropped
        yield from self._named(((row, why_dropped(self.loaded, row)) for row in dropped), len(dropped))
        if sum(self._counts) != len(self.loaded.rows):
            yield Problem(None, None, f"verl reads {len(self.loaded.rows)} of {sum(self._counts)} rows")
        yield from self._named(reward_problems(score, self._without_pictures(), before))

    def _named(self, found: Iterable[tuple[int, str]], count: int | None = None) -> Iterator[Problem]:
        """The first of ``found`` with file and row; ``count`` spares the explanation of those that are not listed."""
        number = 0
        for number, (row, message) in enumerate(found, 1):
            if number <= LISTED:
                yield Problem(*self.place(row), message)
            elif count is not None:
                break
        if (more := (count or number) - LISTED) > 0:
            yield Problem(None, None, f"and {more} more rows have problems of this kind")

    def _without_pictures(self) -> Iterator[Mapping[str, Any]]:
        columns = self.loaded.rows.select_columns(["data_source", "reward_model", "extra_info"])
        for batch in columns.iter(batch_size=1000):
            for row in zip(*batch.values(), strict=True):
                yield dict(zip(batch, row, strict=True))


def read_split(files: Sequence[Path], names: Sequence[str], data: Any, tokenizer: Any, processor: Any) -> Split:
    """Read ``files``, which problems call by ``names``.

    Raises what verl and datasets raise for files that they can't read.
    """
    return Split(files, names, load(files, data, tokenizer, processor))
