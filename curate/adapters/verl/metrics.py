"""What verl has logged so far: one JSON object a line and step, in one file for each time the run was started."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = "verl_logs"
_NUMBER: Final = re.compile(r"attempt-([0-9]+)\.jsonl")

_NAMES: Final = {
    "reward": "critic/score/mean",
    "response_length": "response_length/mean",
    "longest_response": "response_length/max",
    "loss": "actor/pg_loss",
    "kl": "actor/kl_loss",
    "grad_norm": "actor/grad_norm",
    "learning_rate": "actor/lr",
    "seconds": "perf/time_per_step",
}
"""Our names of what verl logs each step. ``reward`` is the mean over the responses, lengths are in tokens, ``seconds``
is the time that the step took. verl's clip_ratio is left out: it compares with the longest response of the batch."""
_VALIDATION: Final = re.compile(r"val-(?:core|aux)/(.+)/(accuracy|format|reward)/mean@[0-9]+")


def next_log(run: Path) -> Path:
    """A file for the log of one more attempt, in a folder that exists then."""
    folder = run / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"attempt-{max(_attempts(run), default=0) + 1}.jsonl"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """One mapping a step, ordered.

    Each has ``step``; of ``reward``, ``response_length``, ``longest_response``, ``loss``, ``kl``, ``grad_norm``,
    ``learning_rate``, ``seconds`` what verl logged; and where it validated ``val_accuracy``, ``val_format`` and
    ``val_reward``, each the mean over the sources (and for several sources also ``val_accuracy/SOURCE``).

    Step 0 is the validation before training. Where an attempt repeats steps of an earlier one, because it went on from
    a checkpoint before them, the later one counts. A last line that is still being written is left out.
    """
    steps: dict[int, dict[str, Any]] = {}
    for _, log in sorted(_attempts(run).items()):
        first = True
        for step, logged in _lines(log):
            if first:
                steps = {number: entry for number, entry in steps.items() if number <= step}
                first = False
            steps.setdefault(step, {"step": step}).update(_ours(logged))
    return [steps[step] for step in sorted(steps)]


def _attempts(run: Path) -> dict[int, Path]:
    matches = ((_NUMBER.fullmatch(path.name), path) for path in (run / _FOLDER).glob("attempt-*.jsonl"))
    return {int(match[1]): path for match, path in matches if match}


def _lines(log: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line in log.read_bytes().split(b"\n"):
        try:
            content = json.loads(line)
            step, logged = content["step"], content["data"]
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(step, int) and isinstance(logged, dict):
            yield step, logged


def _ours(logged: Mapping[str, Any]) -> dict[str, Any]:
    found = {ours: logged[theirs] for ours, theirs in _NAMES.items() if isinstance(logged.get(theirs), (int, float))}
    by_source: dict[str, dict[str, float]] = {}
    for name, value in logged.items():
        match = _VALIDATION.fullmatch(name)
        if match and isinstance(value, (int, float)):
            by_source.setdefault(match[2], {})[match[1]] = value
    for measure, values in by_source.items():
        found[f"val_{measure}"] = sum(values.values()) / len(values)
        if len(values) > 1:
            found |= {f"val_{measure}/{source}": value for source, value in values.items()}
    return found
