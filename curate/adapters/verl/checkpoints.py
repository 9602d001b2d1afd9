"""verl's checkpoint folder: which step is the last whole one, and what a killed run has left in it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

_TRACKER: Final = "latest_checkpointed_iteration.txt"
_STEP: Final = re.compile(r"global_step_([0-9]+)")


def last_step(checkpoints: Path) -> int | None:
    """The step that verl would resume from, None when there is none.

    verl names a step in its tracker after everything of it is on disk. The tracker itself is written in place, so a
    kill can leave it empty; it was then about to name the newest folder, which is whole.
    """
    tracker = checkpoints / _TRACKER
    if not tracker.exists():
        return None
    text = tracker.read_text(encoding="ascii", errors="replace").strip()
    steps = _folders(checkpoints)
    step = int(text) if text.isdecimal() else max(steps, default=None)
    return step if step in steps and any((steps[step] / "actor").glob("model_world_size_*_rank_*.pt")) else None


def settle(checkpoints: Path) -> int | None:
    """Make the folder fit to resume from, and return the step that training goes on from.

    Removes steps that a kill has left half-written, and earlier ones, which verl forgets to remove once it has been
    started again.
    """
    step = last_step(checkpoints)
    for found, folder in _folders(checkpoints).items():
        if found != step:
            shutil.rmtree(folder)
    tracker = checkpoints / _TRACKER
    if step is None:
        tracker.unlink(missing_ok=True)
    else:
        beside = tracker.with_suffix(".tmp")
        beside.write_text(str(step), encoding="ascii")
        beside.replace(tracker)
    return step


def actor_of(checkpoints: Path, step: int) -> Path:
    """Folder of the sharded weights of a step."""
    return _folders(checkpoints)[step] / "actor"


def _folders(checkpoints: Path) -> dict[int, Path]:
    if not checkpoints.is_dir():
        return {}
    matches = ((_STEP.fullmatch(folder.name), folder) for folder in checkpoints.iterdir() if folder.is_dir())
    return {int(match[1]): folder for match, folder in matches if match}
