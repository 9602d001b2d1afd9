"""``curate export``: render the selected samples for a trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli.select import run_policy

if TYPE_CHECKING:
    from curate.exports import ExportSummary

_FORMATS = ("image-caption", "interleaved", "llamafactory-sft", "llamafactory-cpt", "verl", "jsonl")

_DECIDING = {
    "min_score": "--min-score",
    "where": "--where",
    "ignore_rules": "--ignore-rule",
    "declared": "--declare-deidentified",
    "require_verdict": "--require-verdict",
}
"""Parameters that decide what is kept, where no policy does."""


@click.command()
@click.argument("corpus", default="curated", type=click.Path(path_type=Path))
@click.option("--format", "format_name", required=True, type=click.Choice(_FORMATS), help="What to write.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Directory to write; by default exports/FORMAT.")
@click.option("--selection", metavar="NAME", help="Go by these decisions of curate select.")
@click.option("--policy", metavar="FILE|PRESET", help="Select by this policy first, as curate select does.")
@click.option(
    "--min-score",
    default=3.0,
    show_default=True,
    type=click.FloatRange(0, 5),
    help="Drop judged samples with a lower mean score.",
)
@click.option("--where", metavar="EXPR", help="Keep only samples for which this SQL condition over the facts holds.")
@click.option("--ignore-rule", "ignore_rules", multiple=True, metavar="RULE", help="Do not drop by RULE. Repeatable.")
@click.option(
    "--declare-deidentified",
    "declared",
    multiple=True,
    metavar="SOURCE",
    help="You declare that SOURCE's DICOM files identify nobody; declared to score, it counts here too. Repeatable.",
)
@click.option("--require-verdict", is_flag=True, help="Drop samples that no judge has scored.")
@click.option(
    "--images",
    type=click.Choice(("path", "base64", "embed")),
    help="How rows give pictures: files under images/ (path), inside JSON (base64), inside Parquet (embed, verl only).",
)
@click.option(
    "--val-fraction", type=float, metavar="SHARE", help="Share for validation; by default 0.1 for verl, else 0."
)
@click.option("--seed", type=int, help="Seed of the split.  [default: the policy's, else 0]")
@click.option("--max-tokens", type=int, help="Token budget of a row; llamafactory-cpt only.  [default: 8192]")
@click.option(
    "--system-prompt",
    metavar="TEXT|none",
    help="System message for samples without one; verl only, which by default asks for <answer> tags.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on stdout.")
def command(
    corpus: Path,
    format_name: str,
    output: Path | None,
    selection: str | None,
    policy: str | None,
    min_score: float,
    where: str | None,
    ignore_rules: tuple[str, ...],
    declared: tuple[str, ...],
    require_verdict: bool,
    images: str | None,
    val_fraction: float | None,
    seed: int | None,
    max_tokens: int | None,
    system_prompt: str | None,
    as_json: bool,
) -> int:
    """Write the selected samples of CORPUS (default: curated) in a format that trainers read.

    Without --selection or --policy it keeps what is readable, violates no rule and, where judged, scores high enough.
    """
    from curate.cli.console import console, print_json
    from curate.corpus import Corpus
    from curate.exports import ExportOptions, export
    from curate.select import load_policy

    _check_selection(selection, policy)
    loaded = None if policy is None else load_policy(policy)
    options = ExportOptions(
        images=images,
        val_fraction=val_fraction,
        seed=seed,
        max_tokens=max_tokens,
        system_prompt="" if system_prompt == "none" else system_prompt,
        min_score=min_score,
        where=where,
        require_verdict=require_verdict,
        ignore_rules=ignore_rules,
        declared_deidentified=declared,
        selection=selection if loaded is None else loaded.name,
    )
    options.resolved(format_name)  # mistakes are told before anything is selected
    opened = Corpus.open(corpus)
    if loaded is not None:
        opened.check_complete()
        with opened.lock():
            run_policy(opened, loaded)
    directory = output if output is not None else Path("exports") / format_name
    with console.status("selecting …") as status:
        summary = export(
            opened,
            format_name,
            directory,
            options,
            progress=lambda done, total: status.update(f"writing … {done:,} of {total:,} samples"),
        )
    _tell(summary, directory)
    if as_json:
        print_json(summary.as_dict())
    return summary.status


def _check_selection(selection: str | None, policy: str | None) -> None:
    """Raise click's usage error for options that would change decisions that are made, or made by a policy."""
    if selection is None and policy is None:
        return
    if selection is not None and policy is not None:
        raise click.UsageError("name either --selection or --policy: a policy makes a selection")
    context = click.get_current_context()
    for name, option in _DECIDING.items():
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"{option} has no say in a selection by policy; write it into the policy")


def _tell(summary: ExportSummary, directory: Path) -> None:
    """The counts of an export; they add up to the samples of the corpus."""
    from curate.cli.console import say, table

    dropped = summary.total - summary.kept
    say(f"{summary.total:,} samples = {summary.kept:,} selected + {dropped:,} dropped")
    rules = [(rule, count, summary.first_dropped.get(rule, "")) for rule, count in summary.dropped.items()]
    table("Dropped by rule", ("rule", "samples", "the first of them"), rules, numbers=(1,))
    if not summary.judged:
        say("No sample was judged: selected by signals alone.")
    elif summary.unjudged:
        reasons = ", ".join(f"{status} {count:,}" for status, count in summary.unjudged.items())
        say(f"Selected without a score: {sum(summary.unjudged.values()):,} ({reasons}); --require-verdict drops them.")
    others, skipped = sum(summary.other_kinds.values()), sum(summary.skipped.values())
    say(f"{summary.kept:,} selected = {summary.written:,} written + {others:,} of another kind + {skipped:,} skipped")
    table("Of another kind", ("kind", "samples"), summary.other_kinds.items(), numbers=(1,))
    table("Skipped", ("reason", "samples"), summary.skipped.items(), numbers=(1,))
    for sentence in summary.skipped_examples:
        say(f"  {sentence}")
    rows = [(f"{directory}/{file.path}", file.split, file.rows) for file in summary.files]
    table("Written", ("file", "split", "rows"), rows, numbers=(2,))
    if summary.images:
        say(f"{summary.images:,} picture(s) copied to {directory}/images")
    if summary.defused:
        say(f"{summary.defused:,} text(s) contained a literal <image> or control token, now with a space after the <")
    for note in summary.notes:
        say(f"Note: {note}")
    if summary.skipped:
        say(f"Each skipped sample with its reason: {directory}/skipped.jsonl")
