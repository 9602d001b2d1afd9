"""What ``curate ingest`` and ``curate score RAW`` share: the options about inputs, and how an ingest is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from curate.corpus import Corpus
    from curate.sources.ingest import IngestOptions, IngestSummary

FIELDS = (
    "image",
    "images",
    "text",
    "texts",
    "image_info",
    "conversations",
    "query",
    "answer",
    "query_type",
    "choices",
    "source",
    "license",
    "system",
)


def input_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that reads raw data."""
    command = click.option(
        "--map",
        "columns",
        multiple=True,
        metavar="FIELD=COLUMN",
        callback=_columns,
        help="COLUMN of the input holds what curate calls FIELD (text=caption). Repeatable.",
    )(command)
    command = click.option(
        "--allow-license",
        "licenses",
        multiple=True,
        metavar="LICENCE|any",
        help="Read articles under this licence (CC-BY), and no others than those named so.  [default: Creative Commons "
        "licences that allow derived works, and the public domain]",
    )(command)
    return click.option(
        "--allow-root",
        "allow_roots",
        multiple=True,
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="A folder outside the input that records may refer to. Repeatable.",
    )(command)


def _columns(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    columns: dict[str, str] = {}
    for value in values:
        field, equals, column = value.partition("=")
        if not equals or not column:
            raise click.BadParameter(f"{value!r} is not of the form FIELD=COLUMN")
        if field not in FIELDS:
            raise click.BadParameter(f"no field {field!r}; there are: {', '.join(FIELDS)}")
        columns[field] = column
    return columns


def ingest_options(columns: dict[str, str], allow_roots: tuple[Path, ...], licenses: tuple[str, ...]) -> IngestOptions:
    """What the options of :func:`input_options` say."""
    from curate.sources.ingest import IngestOptions

    options = IngestOptions(columns, allow_roots)
    return replace(options, licenses=licenses) if licenses else options


def ingest_with_progress(inputs: list[Path], corpus: Corpus, options: IngestOptions) -> IngestSummary:
    """Ingest while a line on stderr says how far it is; then say what came of it."""
    from curate.cli.console import console, say
    from curate.sources.ingest import ingest

    before = corpus.info.roots
    with console.status("reading …") as status:
        summary = ingest(
            inputs,
            corpus,
            options,
            lambda rows, samples: status.update(f"reading … {rows:,} rows, {samples:,} samples"),
        )
    tell(summary, corpus)
    if summary.changed_meanwhile:
        say("Note: the inputs changed while they were read; run the same command again to read what is there now.")
    if before and before != corpus.info.roots:
        say(
            f"Note: {corpus.path} held the samples of {', '.join(before)}; it now holds those of "
            f"{', '.join(corpus.info.roots)} instead. A corpus of its own for each: -o DIRECTORY"
        )
    return summary


def tell(summary: IngestSummary, corpus: Corpus) -> None:
    """The counts of an ingest; they add up to the rows read."""
    from curate.cli.console import say, table

    rejected = sum(summary.rejects.values())
    unchanged = " (inputs unchanged, nothing read again)" if summary.unchanged else ""
    say(
        f"{summary.rows:,} rows = {summary.samples:,} samples + {summary.duplicates:,} duplicates merged "
        f"+ {rejected:,} rejects{unchanged}"
    )
    table("Samples by source", ("source", "samples"), summary.sources.items(), numbers=(1,))
    if rejected:
        rows = [(reason, count, summary.first_rejects[reason]) for reason, count in summary.rejects.items()]
        table("Rejects by reason", ("reason", "rows", "the first of them"), rows, numbers=(1,))
        say(f"Each reject with its file, row and reason: {corpus.path}/rejects/")
