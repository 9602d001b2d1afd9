"""``curate convert``: a corpus derived from a corpus."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from curate.sources.derive import ConvertSummary

_CONVERSIONS = ("conversation", "query", "shuffled-choices", "open", "choice-from-words", "yes-no")


@click.command()
@click.argument("corpus", default="curated", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Choice(_CONVERSIONS), help="What to derive.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Corpus to write.")
@click.option("--selection", metavar="NAME", help="Convert only what decisions/NAME.parquet keeps.")
@click.option("--seed", default=0, show_default=True, help="Seed of everything that is chosen at random.")
@click.option(
    "--instructions",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file laid over the shipped instructions; conversation only.",
)
@click.option("--max-words", type=int, help="Words an answer may have; query and open.  [default: 8]")
@click.option("--rephrase", is_flag=True, help='Ask "What is the …?" for "Which of the following is the …?"; open.')
@click.option("--ratio", type=float, help="Times as many of one answer as of the other; yes-no.  [default: 1]")
@click.option(
    "--balance-by",
    type=click.Choice(("source", "corpus")),
    help="Where the ratio holds: in every source, or over all; yes-no.  [default: source]",
)
@click.option("--yes-no-share", type=float, metavar="SHARE", help="Most that yes/no may be of all queries; yes-no.")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON on stdout.")
def command(
    corpus: Path,
    to: str,
    output: Path,
    selection: str | None,
    seed: int,
    instructions: Path | None,
    max_words: int | None,
    rephrase: bool,
    ratio: float | None,
    balance_by: Literal["source", "corpus"] | None,
    yes_no_share: float | None,
    as_json: bool,
) -> int:
    """Derive a new corpus from the samples of CORPUS (default: curated), which stays as it is.

    Every derived sample names its parent; what cannot be converted is listed with the reason in OUTPUT/rejects.
    """
    from curate.cli.console import console, print_json, say
    from curate.corpus import Corpus
    from curate.sources.derive import ConvertOptions, convert

    options = ConvertOptions(
        to=to,
        seed=seed,
        selection=selection,
        instructions=instructions,
        max_words=max_words,
        rephrase=rephrase,
        ratio=ratio,
        balance_by=balance_by,
        yes_no_share=yes_no_share,
    )
    with console.status("converting …") as status:
        summary = convert(
            Corpus.open(corpus),
            output,
            options,
            lambda done, total: status.update(f"converting … {done:,} of {total:,} samples"),
        )
    _tell(summary, output)
    if as_json:
        print_json(summary.as_dict())
    if not summary.derived:
        say("No sample could be converted.")
        return 1
    return 0


def _tell(summary: ConvertSummary, output: Path) -> None:
    """The counts; they add up to the samples of the corpus."""
    from curate.cli.console import say, table

    rejected, others = sum(summary.rejects.values()), sum(summary.other_kinds.values())
    terms = [f"{summary.derived:,} derived", f"{rejected:,} not convertible", f"{others:,} of another kind"]
    if summary.duplicates:
        terms.insert(1, f"{summary.duplicates:,} duplicates merged")
    if summary.not_selected:
        terms.append(f"{summary.not_selected:,} not selected")
    done = " (all there already, nothing to do)" if summary.unchanged else ""
    say(f"{summary.samples:,} samples = {' + '.join(terms)}{done}")
    table("Derived by source", ("source", "samples"), summary.sources.items(), numbers=(1,))
    table("Derived by query type", ("type", "samples"), summary.query_types.items(), numbers=(1,))
    if summary.balance is not None:
        rows = [(name, *counts) for name, counts in summary.balance.by_source.items()]
        table("Yes/no questions", ("source", "yes", "no", "yes kept", "no kept"), rows, numbers=(1, 2, 3, 4))
    table("Of another kind", ("kind", "samples"), summary.other_kinds.items(), numbers=(1,))
    if rejected:
        reasons = [(reason, count, _brief(summary.first_rejects[reason])) for reason, count in summary.rejects.items()]
        table("Not convertible", ("reason", "samples", "the first of them"), reasons, numbers=(1,))
        say(f"Each of them with its file, row and reason: {output}/rejects/")
    say(f"Corpus: {output}")


def _brief(message: str) -> str:
    """A message with the first 12 digits of each id; the rejects have all of them."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", message)
