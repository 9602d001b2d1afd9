"""Processes for the rest of a large file; small ones never pay for starting them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from curate.engine import usable_cores, worker_processes


@dataclass(frozen=True)
class Parallel:
    """When large files are checked in several processes, and how."""

    workers: int | None = None
    """Processes; None for one on each core. With one, all is done in this process."""
    patience: float = 1.0
    """Seconds that a file has taken, and twice as many that it must still take, before processes are started."""
    range_bytes: int = 16 * 2**20
    """Size of the ranges of lines that they are given."""


class Workers:
    """Starts the processes when they are first needed and ends them as a context manager."""

    def __init__(self, parallel: Parallel, prepare: Callable[[], None]) -> None:
        self.number = parallel.workers or usable_cores()
        self.range_bytes = parallel.range_bytes
        self._patience, self._prepare = parallel.patience, prepare
        self._stack = ExitStack()
        self._submit: Callable[..., Future[Any]] | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: Any) -> bool:
        # The stack may turn the error of a killed worker into a sentence for the user.
        return bool(self._stack.__exit__(*error))

    def worth_it(self, began: float, done: int, size: int) -> bool:
        """Whether the rest of a file is for the processes: ``done`` of ``size`` bytes since ``began`` (monotonic)."""
        patience = self._patience / 10 if self._submit else self._patience
        seconds = time.monotonic() - began
        return self.number > 1 and seconds >= patience and seconds * (size - done) >= 2 * patience * done

    def submit(self, *call: Any) -> Future[Any]:
        """Have a function called by one of the processes."""
        if self._submit is None:
            pool = worker_processes(self.number, remedy="free some and validate again", prepare=self._prepare)
            self._submit = self._stack.enter_context(pool)
        return self._submit(*call)
