"""verl's checkpoint folder: which step is the last whole one, and what a killed run has left in it."""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Final
from zipfile import is_zipfile

TRACKER: Final = "latest_checkpointed_iteration.txt"
"""The file in which verl names the step that it resumes from."""
_STEP: Final = re.compile(r"global_step_([0-9]+)")
_SHARD: Final = re.compile(r"(model|optim|extra_state)_world_size_([0-9]+)_rank_[0-9]+\.pt")


def named_step(checkpoints: Path) -> int | None:
    """The step that verl's tracker names, None without one. A kill while verl writes it leaves the file empty."""
    try:
        text = (checkpoints / TRACKER).read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdecimal() else None


def last_step(checkpoints: Path) -> int | None:
    """The step to go on from, None when there is none: the one that the tracker names, or else the newest whole one
    before it; without any of these the newest whole one.

    The tracker alone says too little: it can be lost, and the step that it names damaged, or removed by its owner.
    """
    named = named_step(checkpoints)
    whole = [step for step, folder in _folders(checkpoints).items() if _is_whole(folder)]
    return max((step for step in whole if named is None or step <= named), default=max(whole, default=None))


def settle(checkpoints: Path, keep: int | None = None) -> int | None:
    """Make the folder fit to resume from, and return the step that training goes on from.

    Removes steps that are not whole, those after the one that is returned, and of the others all but the last
    ``keep``, which verl would forget to remove since they are of an earlier start. As in verl, None or less than 1
    keeps all.
    """
    step = last_step(checkpoints)
    folders = _folders(checkpoints)
    before = () if step is None else (found for found in folders if found <= step and _is_whole(folders[found]))
    kept = sorted(before)
    kept = kept[-keep:] if keep and keep > 0 else kept
    for found, folder in folders.items():
        if found not in kept:
            shutil.rmtree(folder)
    tracker = checkpoints / TRACKER
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


def _is_whole(folder: Path) -> bool:
    """Whether verl has saved all of a step: ``data.pt`` comes last, and every rank has its shard of each kind.

    PyTorch's files are ZIP archives, whose directory is at their end, so one that was cut off shows without being read.
    """
    shards: dict[str, list[int]] = defaultdict(list)
    for path in (folder / "actor").glob("*.pt"):
        if (match := _SHARD.fullmatch(path.name)) and is_zipfile(path):
            shards[match[1]].append(int(match[2]))
    complete = all(len(sizes) == sizes[0] for sizes in shards.values())
    return "model" in shards and complete and is_zipfile(folder / "data.pt")


def _folders(checkpoints: Path) -> dict[int, Path]:
    if not checkpoints.is_dir():
        return {}
    matches = ((_STEP.fullmatch(folder.name), folder) for folder in checkpoints.iterdir() if folder.is_dir())
    return {int(match[1]): folder for match, folder in matches if match}
