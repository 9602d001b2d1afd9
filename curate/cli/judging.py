"""How a judge run is shown while it goes, and told when it is over."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from rich.text import Text

from curate.cli.asking import how_it_goes, shown
from curate.cli.console import console, plain, say, table

if TYPE_CHECKING:
    from curate.corpus import Corpus
    from curate.judge import JudgeOptions, JudgeSummary


def judge_with_progress(corpus: Corpus, options: JudgeOptions) -> JudgeSummary:
    """Judge with a live line on a terminal; Ctrl-C lets the requests in flight finish, twice ends at once."""
    from curate.judge import judge_corpus, stop_on_signals

    if options.endpoint.demo:
        console.print("The demo judge scores by a few fixed rules. It is no medical judge.", style="bold yellow")
    with stop_on_signals() as stop, shown(_line) as show:
        summary = judge_corpus(corpus, options, progress=show, stop=stop)
    _tell(summary, options)
    return summary


def _line(summary: JudgeSummary) -> Text:
    left = "" if summary.eta is None else f", {timedelta(seconds=round(summary.eta))} left"
    return plain(f"judging {summary.settled:,}/{summary.samples:,}, {summary.rate:.1f}/s{left}, {how_it_goes(summary)}")


def _tell(summary: JudgeSummary, options: JudgeOptions) -> None:
    failed, refused, left_out = summary.failed.total(), summary.refused.total(), summary.not_asked.total()
    say(
        f"Judge {options.endpoint.model}: {summary.samples:,} samples = {summary.scored:,} scored + {failed:,} failed "
        f"+ {refused:,} refused + {left_out:,} not asked"
    )
    verdicts = ", ".join(f"{verdict} {summary.decided[verdict]:,}" for verdict in ("accept", "review", "reject"))
    mean = "" if summary.mean_score is None else f"; mean score {summary.mean_score:.2f} of 5"
    say(f"Verdicts: {verdicts}{mean}; {summary.reused:,} known already")
    unscored = [*summary.failed.items(), *summary.refused.items(), *summary.not_asked.items()]
    table("Without a score", ("reason", "samples"), unscored, numbers=(1,))
    table("Failed requests", ("kind", "requests"), summary.errors.items(), numbers=(1,))
    spent = "price unknown" if summary.cost is None else f"${summary.cost:,.4f}"
    if summary.requests:
        say(
            f"{summary.requests:,} requests, {summary.tokens_in:,} tokens in, {summary.tokens_out:,} out, {spent}, "
            f"{summary.elapsed:.1f} s"
        )
    if summary.tokens_estimated:
        say(f"Note: {summary.tokens_estimated:,} answers came without their number of tokens, which is estimated")
    for sentence in summary.adapted:
        say(f"Note: {sentence}")
    if summary.refused.get("not_deidentified"):
        say(
            "Refused samples come from DICOM files that are not marked as de-identified; if you know that they "
            "identify nobody, say so: --declare-deidentified SOURCE"
        )
    if summary.stopped:
        say(f"Stopped: {summary.stopped}. Everything answered is kept; the same command goes on from here.")
    elif failed:
        say("The same command asks again for the samples that failed.")
    if failed or (summary.stopped and left_out):
        say("Samples that could not be judged now keep an earlier score where they have one.")
