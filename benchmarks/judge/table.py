"""Outcomes as Markdown tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

_TITLES = {
    "clean": "0.5 s latency, 64 in flight",
    "cap32": "0.5 s latency, 64 in flight wished for, 429 above 32",
    "faults": "0.5 s latency, 64 in flight, 5 % of calls answered 429 and 5 % 503 at random",
    "zero": "No latency, 64 in flight, texts",
    "zero-images": "No latency, 64 in flight, captions with a JPEG of about 100 kB",
    "transports": "No latency, 64 in flight, texts: bare loops over several clients",
}
_NOTES = """\
Medians over the rounds. *Call*: the call that judges, from samples at hand to verdicts at hand. *Process*: from start
to end, imports included. *CPU*: processor seconds of the whole process. *Load*: the machine's highest load average;
contestant and endpoint make at most 2 of it, and above that somebody else was computing: then compare CPU, not seconds.
"""
Runs = Sequence[dict[str, Any]]


def render(known: dict[str, Any]) -> str:
    """All scenarios that have been measured."""
    parts = ["# Judging through one endpoint", "", "    python benchmarks/judge/run.py", "", _NOTES]
    for scenario, entry in known.items():
        rounds = len(next(iter(entry["outcomes"].values())))
        parts += [f"## {scenario}: {_TITLES[scenario]}", ""]
        heads = f"{entry['samples']:,} samples, {rounds} rounds, {entry['processors']} processors"
        parts += [f"{heads}; `python benchmarks/judge/run.py --scenario {scenario}`", ""]
        parts += _without_latency(entry) if entry["ideal_seconds"] is None else _with_latency(entry)
        parts.append("")
    return "\n".join(parts)


def _with_latency(entry: dict[str, Any]) -> list[str]:
    ideal = entry["ideal_seconds"]
    lines = [
        f"| ideal {ideal:.1f} s | call | of ideal | process | CPU | peak MB | scored | calls | rejected | load |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, runs in entry["outcomes"].items():
        call = _median(runs, lambda run: run["seconds"])
        cells = [
            _figure(call, ".1f", " s"),
            _figure(None if call is None else call / ideal, ".2f"),
            _figure(_median(runs, lambda run: run["process_seconds"]), ".1f", " s"),
            _figure(_median(runs, lambda run: run["cpu_seconds"]), ".1f", " s"),
            _figure(_median(runs, lambda run: run["peak_mb"]), ".0f"),
            _figure(_median(runs, lambda run: run["scored"]), ",.0f"),
            _figure(_median(runs, lambda run: run["calls"]), ",.0f"),
            _figure(_median(runs, lambda run: run["rejected"]), ",.0f"),
            f"{max(run['load'] for run in runs):.1f}",
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    problems = {
        f"{name}: {run['problem']}" for name, runs in entry["outcomes"].items() for run in runs if run["problem"]
    }
    return [*lines, "", *(f"- {problem}" for problem in sorted(problems))]


def _without_latency(entry: dict[str, Any]) -> list[str]:
    """Rates, and the first contestant's in proportion to each other's, round by round."""
    first, ours = next(iter(entry["outcomes"].items()))
    lines = [
        f"| | samples/s | rate of {first} : its | CPU of the call, ms/sample | its CPU : {first} | process | load |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, runs in entry["outcomes"].items():
        pairs = [(own, other) for own, other in zip(ours, runs, strict=True) if own["seconds"] and other["seconds"]]
        seconds = _median(runs, lambda run: run["seconds"])
        cells = [
            _figure(entry["samples"] / seconds if seconds else None, ",.0f"),
            _figure(median(other["seconds"] / own["seconds"] for own, other in pairs) if pairs else None, ".2f"),
            _figure(_median(runs, lambda run: 1000 * run["call_cpu_seconds"] / entry["samples"]), ".2f"),
            _figure(
                median(other["call_cpu_seconds"] / own["call_cpu_seconds"] for own, other in pairs) if pairs else None,
                ".2f",
            ),
            _figure(_median(runs, lambda run: run["process_seconds"]), ".1f", " s"),
            f"{max(run['load'] for run in runs):.1f}",
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _median(runs: Runs, figure: Callable[[dict[str, Any]], float | None]) -> float | None:
    """The median over all runs; None when one of them has no such figure."""
    figures = [figure(run) for run in runs if run["seconds"] is not None or figure(run) is not None]
    known = [value for value in figures if value is not None]
    return median(known) if len(known) == len(runs) else None


def _figure(value: float | None, form: str, unit: str = "") -> str:
    return "—" if value is None else f"{value:{form}}{unit}"
