"""What a training has logged, read while it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

LOG: Final = "trainer_log.jsonl"
"""LLaMA-Factory's log in its output directory: appended to line by line, also by later attempts."""

_NAMES: Final = {"loss": "loss", "eval_loss": "eval_loss", "lr": "learning_rate", "epoch": "epoch"}


def read_metrics(checkpoints: Path) -> list[dict[str, Any]]:
    """One mapping a logged step, in order, with ``step`` and what is known of loss, eval_loss, learning_rate, epoch.

    A resumed attempt takes steps again: what it logged replaces what was logged before, also for steps between two that
    it logs. A line that is still being written is left out.
    """
    points: dict[int, dict[str, Any]] = {}
    previous = -1
    for entry in _entries(checkpoints):
        step = int(entry["current_steps"])
        if step < previous:
            points = {known: point for known, point in points.items() if known < step}
        previous = step
        found = {name: entry[key] for key, name in _NAMES.items() if key in entry}
        if "loss" in found or "eval_loss" in found:
            points[step] = points.get(step, {"step": step}) | found
    return [points[step] for step in sorted(points)]


def read_total_steps(checkpoints: Path) -> int | None:
    """Optimiser steps of the whole training, once it has logged one."""
    total = None
    for entry in _entries(checkpoints):
        total = int(entry.get("total_steps", 0)) or total
    return total


def _entries(checkpoints: Path) -> Iterator[dict[str, Any]]:
    try:
        text = (checkpoints / LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("current_steps"), int):
            yield entry
