"""How a rollout run is shown while it goes, and told when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from curate.cli.asking import how_it_goes, tell_bill, tell_refused
from curate.cli.console import console, plain, say, table

if TYPE_CHECKING:
    from curate.rollouts import RolloutOptions, RolloutSummary

MOST_BANDS = 9
"""Numbers of right answers that are shown one by one; beyond, those between none and all are put together."""
MOST_ALIKE = 0.95
FEW = 20


def progress_line(summary: RolloutSummary) -> Text:
    """One line while it goes."""
    rate = summary.answers / summary.elapsed if summary.elapsed else 0.0
    return plain(
        f"rolling out {summary.done:,}/{summary.queries:,} queries, {rate:.1f} answers/s, {how_it_goes(summary)}"
    )


def tell(summary: RolloutSummary, options: RolloutOptions) -> None:
    """The account of a run that is over."""
    failed, refused, left_out = summary.failed.total(), summary.refused.total(), summary.not_asked.total()
    say(
        f"Rollout {options.run} by {options.endpoint.model}: {summary.queries:,} queries = {summary.scored:,} scored + "
        f"{failed:,} failed + {refused:,} refused + {left_out:,} not asked"
    )
    if summary.scored:
        _tell_scores(summary, options)
    unscored = [*summary.failed.items(), *summary.refused.items(), *summary.not_asked.items()]
    table("Without a score", ("reason", "queries"), unscored, numbers=(1,))
    tell_bill(summary)
    if summary.refused.get("not_deidentified"):
        tell_refused()
    if summary.stopped:
        say(f"Stopped: {summary.stopped}. Every answer is kept; the same command goes on from here.")
    elif failed:
        say("The same command asks again for the answers that failed.")


def _tell_scores(summary: RolloutSummary, options: RolloutOptions) -> None:
    k, scored = summary.k, summary.scored
    bands = _bands(k)
    names = [f"{low}" if low == high else f"{low}-{high}" for low, high in bands]
    tallies = [(source, tally.correct, tally.informative) for source, tally in sorted(summary.by_source.items())]
    if len(tallies) != 1:
        tallies.append(("all", summary.correct, summary.informative))
    rows = [
        (source, sum(correct.values()), _percent(mixed, sum(correct.values())), *_counts(correct, bands))
        for source, correct, mixed in tallies
    ]
    title, columns = f"Queries by right answers of {k}", ("source", "queries", "mixed", f"{names[0]} right", *names[1:])
    if _width(columns, rows) <= console.width:
        table(title, columns, rows, numbers=range(1, len(columns)))
    else:
        lines = [(*row[:3], "  ".join(f"{n}:{c:,}" for n, c in zip(names, row[3:], strict=True))) for row in rows]
        table(title, (*columns[:3], "right answers:queries"), lines, numbers=(1, 2))
    counts = summary.to_json()
    passed = ", ".join(f"pass@{j} {value:.1%}" for j, value in counts["pass_at"].items())
    say(f"{passed}; mean accuracy {counts['mean_accuracy']:.1%}; {summary.reused:,} answers known already")
    if not options.text_only and k > 1:
        say(
            f"GRPO learns being right from {summary.informative:,} of {scored:,} queries "
            f"({_percent(summary.informative, scored)}): those whose answers differ in accuracy"
        )
    if options.text_only and summary.chance_queries:
        chance = counts["chance"]
        say(
            f"Without the picture {chance['accuracy']:.1%} of the answers are right; guessing would give "
            f"{chance['by_guessing']:.1%} ({summary.chance_queries:,} queries whose possible answers are known)"
        )
    answers = scored * k
    if summary.unparsed:
        say(
            f"{summary.unparsed:,} of {answers:,} answers count as wrong because no answer of the query's type was "
            f"found between <answer> and </answer>"
        )
    if summary.cut_off:
        say(f"{summary.cut_off:,} answers ran out of tokens; give more with --max-tokens")
    if k > 1 and scored >= FEW and summary.alike >= MOST_ALIKE * scored:
        say(
            f"Note: for {summary.alike:,} of {scored:,} queries all {k} answers are the same text; the endpoint may "
            f"answer from a cache, or leave the temperature out"
        )


def _bands(k: int) -> list[tuple[int, int]]:
    if k < MOST_BANDS:
        return [(right, right) for right in range(k + 1)]
    steps = [1 + (k - 1) * step // (MOST_BANDS - 2) for step in range(MOST_BANDS - 1)]
    return [(0, 0), *((low, high - 1) for low, high in pairwise(steps)), (k, k)]


def _width(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """Characters that a table takes in a line."""
    cells = [
        [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in column] for column in zip(*rows, strict=True)
    ]
    return sum(max(map(cell_len, (name, *column))) + 2 for name, column in zip(columns, cells, strict=True))


def _counts(correct: Mapping[int, int], bands: Sequence[tuple[int, int]]) -> list[int]:
    return [sum(correct.get(right, 0) for right in range(low, high + 1)) for low, high in bands]


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"
