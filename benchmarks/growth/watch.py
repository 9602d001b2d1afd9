"""Run a command and watch the memory of all of its processes together."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_EVERY = 0.05
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Run(NamedTuple):
    """What a command took."""

    wall: float
    """Seconds."""
    cpu: float
    """Processor seconds of all of its processes."""
    peak: int
    """Bytes resident in all of its processes together, at most; pages they share count in each."""


def watched(command: Sequence[str]) -> Run:
    """Run ``command``; raises RuntimeError when it fails."""
    before, start, peak = os.times(), time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_resident, _family(process.pid))))
            time.sleep(_EVERY)
        said = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} gave {process.returncode}: {said[-1000:]}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(time.perf_counter() - start, cpu, peak)


def _family(pid: int) -> list[int]:
    """A process and everything that it started."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in _family(child))]


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return 0
