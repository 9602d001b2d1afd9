"""verl's dataset, which also keeps the length of every prompt that its filter looks at. Imported in verl's environment.

A module of its own, because the processes that decode pictures import the class by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verl.utils.dataset.rl_dataset import RLHFDataset


class Measuring:
    """Stands for the datasets.Dataset that verl filters, and keeps the lengths that its filter computes.

    verl's filter is ``lambda row: doc2len(row) <= self.max_prompt_length``; both are taken from it here, so that each
    picture is decoded once, by verl's own code, and a row that is dropped has a length to tell.
    """

    def __init__(self, dataset: Any, limit: int) -> None:
        self.dataset, self.limit = dataset, limit
        self.tokens: Any = None

    def filter(self, keep: Callable[[Any], bool], num_proc: int | None, desc: str) -> Any:
        length_of = inspect.getclosurevars(keep).nonlocals["doc2len"]
        lengths = self.dataset.map(
            lambda row: {"tokens": length_of(row)},
            remove_columns=self.dataset.column_names,
            num_proc=num_proc,
            desc="Reading prompts",
            load_from_cache_file=False,  # pictures that are files may have changed since
        )
        self.tokens = lengths.data.column("tokens").to_numpy()
        for file in lengths.cache_files:
            Path(file["filename"]).unlink(missing_ok=True)
        return self.dataset.select((self.tokens <= self.limit).nonzero()[0])


class MeasuredDataset(RLHFDataset):  # type: ignore[misc]
    """verl's dataset after its filter, with what the filter saw in ``measured``."""

    measured: Measuring

    def maybe_filter_out_long_prompts(self, dataframe: Any = None) -> Any:
        """Called by verl when it has read the files."""
        self.measured = Measuring(dataframe, self.max_prompt_length)
        return super().maybe_filter_out_long_prompts(self.measured)
