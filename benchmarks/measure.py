"""Measure contestants in turn, A B A B …, so that a machine whose speed drifts slows them all alike."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from curate.engine import usable_cores

RESULTS = Path(__file__).parent / "results"


class Timing(NamedTuple):
    """One run."""

    wall: float
    """Seconds."""
    cpu: float
    """Processor seconds, of child processes too; other programs on the machine hardly change them."""


Contestant = Callable[[], Timing]


def timed(function: Callable[[], object]) -> Timing:
    """Run ``function`` once in this process."""
    before, start = os.times(), time.perf_counter()
    function()
    wall, after = time.perf_counter() - start, os.times()
    return Timing(wall, sum(after[:4]) - sum(before[:4]))


def by_peer(python: Path, script: Path, *arguments: str | Path) -> Timing:
    """What a script says of itself that runs in a peer's environment: its last line is ``{"wall": …, "cpu": …}``."""
    done = subprocess.run([python, script, *map(str, arguments)], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr.strip()[-2000:]}")
    return Timing(**json.loads(done.stdout.strip().splitlines()[-1]))


def in_turn(contestants: Mapping[str, Contestant], rounds: int) -> dict[str, list[Timing]]:
    """Every contestant once a round; the first round warms up and is not counted."""
    timings: dict[str, list[Timing]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            timing = run()
            if number:
                timings[name].append(timing)
    return timings


def ratio(slower: Sequence[Timing], faster: Sequence[Timing], field: str = "wall") -> float:
    """How many times as long ``slower`` took: the median over the rounds."""
    return statistics.median(getattr(a, field) / getattr(b, field) for a, b in zip(slower, faster, strict=True))


def median(timings: Sequence[Timing], field: str = "wall") -> float:
    """Median of one field."""
    return statistics.median(getattr(timing, field) for timing in timings)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def write_results(name: str, command: str, text: str) -> None:
    """Print results and keep them in ``results/NAME.md`` with the command that gives them again."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    machine = f"{usable_cores()} cores ({platform.machine()}), Python {platform.python_version()}, load average {load}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(f"{text}\n{machine}. Again: `{command}`\n")
    print(text)
