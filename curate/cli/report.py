"""``curate report``: a selection as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("corpus", default="curated", type=click.Path(path_type=Path))
@click.option("--selection", metavar="NAME", help="Which selection; by default the newest of curate select.")
@click.option(
    "-o", "--output", default="report.html", show_default=True, type=click.Path(path_type=Path), help="File to write."
)
@click.option(
    "--examples",
    default=4,
    show_default=True,
    type=click.IntRange(0, 24),
    help="Samples that are shown for each rule, and of the kept ones.",
)
@click.option("--seed", default=0, show_default=True, help="Seed by which they are drawn.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def command(corpus: Path, selection: str | None, output: Path, examples: int, seed: int, as_json: bool) -> int:
    """Write one HTML page about a selection of CORPUS (default: curated): funnel, scores, pictures, duplicates, cost.

    The file needs nothing else and can be sent to anyone: samples that may identify a patient are counted in it, but
    neither their text nor their pictures are in it.
    """
    from curate.accounts.report import write_report
    from curate.cli.console import print_json, progress_bar, say
    from curate.corpus import Corpus

    opened = Corpus.open(corpus)
    with progress_bar("counting") as move:
        summary = write_report(opened, output, selection=selection, examples=examples, seed=seed, progress=move)
    about = "the corpus; nothing is selected yet"
    if summary.selection:
        why = "" if selection else f" ({summary.chosen})"
        about = f"selection {summary.selection}{why}"
    say(f"Report on {about}: {summary.samples:,} samples, {summary.kept:,} kept, {summary.pictures:,} picture(s)")
    if summary.other_selections:
        say(f"Other selections, by --selection: {', '.join(summary.other_selections)}")
    if summary.withheld:
        say(
            f"{summary.withheld:,} sample(s) are shown without text and pictures: their DICOM files are not marked as "
            "de-identified"
        )
    if summary.pictures_left_out:
        say(f"{summary.pictures_left_out:,} picture(s) are left out to keep the page small; --examples asks for fewer")
    say(f"Report: {output} ({summary.bytes / 2**20:.1f} MB)")
    if as_json:
        print_json(summary.as_dict())
    return 0
