"""What the verbs that ask models share: options, limits, progress and the bill."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.text import Text

    from curate.corpus import Corpus
    from curate.judge import Endpoint, Price
    from curate.judge.bill import Bill

LOG_SECONDS = 30.0
DEMO_WARNING = "The demo model is told the answers and gives them by chance. It is no model."
_Command = TypeVar("_Command", bound=Callable[..., Any])
_Bill = TypeVar("_Bill", bound="Bill")

_OPTIONS = (
    click.option("--concurrency", default=64, show_default=True, help="Most requests in flight; fewer if need be."),
    click.option("--requests-per-minute", type=float, help="Send no more than so many requests a minute."),
    click.option("--tokens-per-minute", type=float, help="Send no more than about so many tokens a minute."),
    click.option("--timeout", type=float, metavar="SECONDS", help="Longest wait for one whole answer.  [default: 300]"),
    click.option(
        "--patience",
        type=float,
        metavar="SECONDS",
        help="Stop when requests have only failed for so long.  [default: 60]",
    ),
    click.option("--budget", type=float, metavar="USD", help="Stop before spending more than this."),
    click.option("--price", metavar="IN,OUT", help="US dollars per million input and output tokens of the model."),
    click.option(
        "--prices",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="YAML table of prices by model, over the built-in one.",
    ),
    click.option("--dry-run", is_flag=True, help="Say how many requests, tokens and dollars it would take; send none."),
    click.option("--json", "as_json", is_flag=True, help="Print all counts as one JSON object on stdout."),
)


declaring_option = click.option(
    "--declare-deidentified",
    "declared",
    multiple=True,
    metavar="SOURCE",
    help="You declare that SOURCE's DICOM files identify nobody, so that the model may see them. Repeatable.",
)


def asking_options(command: _Command) -> _Command:
    """The options that say how fast and for how much."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def limits(asking: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    """The fields of RolloutOptions that those options give."""
    given = {name: asking[name] for name in ("timeout", "patience") if asking[name] is not None}
    return {
        "price": price_for(asking["price"], asking["prices"], endpoint),
        "budget": asking["budget"],
        "concurrency": asking["concurrency"],
        "requests_per_minute": asking["requests_per_minute"],
        "tokens_per_minute": asking["tokens_per_minute"],
        "declared_deidentified": frozenset(asking["declared"]),
        **given,
    }


def price_for(text: str | None, table: Path | None, endpoint: Endpoint) -> Price | None:
    """The price as given, or from the tables; None when it is not known."""
    from curate.judge import load_prices, parse_price, price_of

    prices = load_prices(table)
    return parse_price(text) if text else price_of(endpoint, prices)


def check_declared(declared: Collection[str], corpus: Corpus) -> None:
    """Raise UserError for a declaration about a source that the corpus does not have."""
    if not declared:
        return
    import polars as pl

    from curate.corpus import UserError

    sources = pl.scan_parquet(corpus.shards()).select("source").unique().collect()["source"].to_list()
    unknown = sorted(set(declared) - set(sources))
    if unknown:
        raise UserError(f"--declare-deidentified {unknown[0]}: no such source; there are: {', '.join(sorted(sources))}")


@contextmanager
def shown(line: Callable[[_Bill], Text]) -> Iterator[Callable[[_Bill], None]]:
    """Shows the account of a run: a live line on a terminal, else a line to a log every half minute."""
    from rich.live import Live

    from curate.cli.console import console

    if console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield lambda bill: live.update(line(bill))
        return
    told = 0.0

    def log(bill: _Bill) -> None:
        nonlocal told
        if bill.elapsed - told >= LOG_SECONDS:
            told = bill.elapsed
            console.print(line(bill))

    yield log


def how_it_goes(bill: Bill) -> str:
    """Requests in flight, dollars and errors, for a progress line."""
    spend = "" if bill.cost is None else f", ${bill.cost:,.2f}"
    errors = ", ".join(f"{kind} {count:,}" for kind, count in bill.errors.most_common(3))
    return f"{bill.in_flight} of {bill.limit} in flight{spend}" + (f", errors: {errors}" if errors else "")


def tell_bill(bill: Bill) -> None:
    """What the requests came to."""
    from curate.cli.console import say, table

    table("Failed requests", ("kind", "requests"), bill.errors.items(), numbers=(1,))
    spent = "price unknown" if bill.cost is None else f"${bill.cost:,.4f}"
    if bill.requests:
        say(
            f"{bill.requests:,} requests, {bill.tokens_in:,} tokens in, {bill.tokens_out:,} out, {spent}, "
            f"{bill.elapsed:.1f} s"
        )
    if bill.tokens_estimated:
        say(f"Note: {bill.tokens_estimated:,} answers came without their number of tokens, which is estimated")
    for sentence in bill.adapted:
        say(f"Note: {sentence}")


def tell_refused() -> None:
    """What to do about DICOM files that are not marked as de-identified."""
    from curate.cli.console import say

    say(
        "Refused samples come from DICOM files that are not marked as de-identified; if you know that they identify "
        "nobody, say so: --declare-deidentified SOURCE"
    )
