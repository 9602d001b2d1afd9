"""``curate validate``: check records and exports; a gate for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.ingesting import input_options

if TYPE_CHECKING:
    from curate.sources.validate import Report

_REPORTS = ("text", "json", "junit", "github")


@click.command()
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--format", "format_name", metavar="FORMAT", help="Record or export format; else recognised.")
@click.option("--report", default="text", show_default=True, type=click.Choice(_REPORTS), help="Form of the findings.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(min=0), help="Findings to list.")
@click.option("--decode", is_flag=True, help="Decode every picture in full, not only its header and end.")
@input_options
def command(
    paths: tuple[Path, ...],
    format_name: str | None,
    report: str,
    limit: int,
    decode: bool,
    columns: dict[str, str],
    allow_roots: tuple[Path, ...],
    licenses: tuple[str, ...],
) -> int:
    """Check record files, folders of raw data, and exports.

    Lists every row that curate could not ingest, or that LLaMA-Factory or verl would stop at or silently change, with
    its file, row and field. Writes nothing. The exit status is 1 when there are errors; warnings alone give 0.
    """
    from curate.cli.console import console
    from curate.sources.validate import ValidateOptions, validate

    options = ValidateOptions(format_name, columns, allow_roots, decode, limit, *((licenses,) if licenses else ()))
    with console.status("checking …") as status:
        found = validate(
            paths, options, lambda rows, errors: status.update(f"checking … {rows:,} rows, {errors:,} errors")
        )
    _tell(found, report)
    return 1 if found.errors else 0


def _tell(found: Report, form: str) -> None:
    from curate.cli.console import plain, print_json, say, table
    from curate.cli.problem_reports import as_github, as_json, as_junit, sentence, summary, where

    if form == "json":
        print_json(as_json(found))
    elif form == "junit":
        click.echo(as_junit(found))
    elif form == "github":
        for line in as_github(found):
            click.echo(plain(line).plain)
    else:
        for finding in found.findings():
            name = "" if finding.severity == "error" else "warning: "
            click.echo(plain(f"{where(finding)}  {name}{sentence(finding)}  [{finding.code}]").plain)
    table("Problems by kind", ("kind", "count"), found.by_code.most_common(), numbers=(1,))
    listed = len(found.findings())
    if listed < found.errors + found.warnings and form != "json":
        say(f"{listed:,} of {found.errors + found.warnings:,} are listed; --limit lists more")
    say(summary(found))
