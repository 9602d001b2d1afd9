"""``curate ingest``: raw data into a corpus."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli.ingesting import input_options


@click.command()
@click.argument("inputs", metavar="SOURCE...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", default="curated", show_default=True, type=click.Path(path_type=Path), help="Corpus directory."
)
@input_options
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON on stdout.")
def command(
    inputs: tuple[Path, ...],
    output: Path,
    columns: dict[str, str],
    allow_roots: tuple[Path, ...],
    licenses: tuple[str, ...],
    as_json: bool,
) -> int:
    """Read folders, record files, saved datasets, DICOM and articles into a corpus.

    Run again after the inputs have changed: samples that were there before keep their ids and judgements.
    """
    from dataclasses import asdict

    from curate.cli.console import print_json, say
    from curate.cli.ingesting import ingest_options, ingest_with_progress
    from curate.corpus import Corpus

    corpus = Corpus.create(output)
    with corpus.lock():
        summary = ingest_with_progress(list(inputs), corpus, ingest_options(columns, allow_roots, licenses))
    say(f"Corpus: {output}")
    if as_json:
        print_json(asdict(summary))
    if not summary.samples:
        say("Nothing could be read as a sample.")
        return 1
    return 0
