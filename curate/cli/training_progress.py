"""How far a training is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from curate.cli.console import console, say

_SHOWN: Final = ("loss", "eval_loss", "reward", "accuracy", "val_accuracy", "learning_rate")
"""What is shown of a logged step, where it is there."""
_SECONDS_BETWEEN_LINES: Final = 30.0


class TrainingProgress:
    """Shows the steps of a training as they are logged."""

    def __init__(self, name: str, *, show_bar: bool) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not (show_bar and console.is_terminal))
        self._task = self._bar.add_task(name, total=None, values="starting …")
        self._name, self._told_step, self._told_at = name, 0, 0.0

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, points: Sequence[Mapping[str, Any]], total: int | None) -> None:
        """Show the last of the logged steps."""
        if not points:
            return
        last = points[-1]
        values = "  ".join(f"{key} {last[key]:.4g}" for key in _SHOWN if isinstance(last.get(key), (int, float)))
        self._bar.update(self._task, completed=last["step"], total=total, values=values)
        waited = time.monotonic() - self._told_at >= _SECONDS_BETWEEN_LINES
        if self._bar.disable and last["step"] != self._told_step and (waited or last["step"] == total):
            self._told_step, self._told_at = last["step"], time.monotonic()
            say(f"{self._name}: step {last['step']:,}{f' of {total:,}' if total else ''}  {values}")

    def ignore(self, line: str) -> None:
        """Take a line of the trainer's output that is not shown."""
