"""``curate select``: apply a policy to the facts, and write one decision a sample."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from curate.corpus import Corpus
    from curate.select import Decisions


@click.command()
@click.argument("corpus", default="curated", type=click.Path(path_type=Path))
@click.option("--policy", metavar="FILE|PRESET", help="What is kept, how often, and why: a YAML file or a preset.")
@click.option("--name", metavar="NAME", help="Name of the decisions; by default the policy's.")
@click.option("--presets", is_flag=True, help="List the policies that come with curate.")
@click.option("--show", metavar="FILE|PRESET", help="Print a policy with everything it extends, to copy and edit.")
@click.option("--columns", is_flag=True, help="List the fact columns that conditions may name.")
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON on stdout.")
def command(
    corpus: Path,
    policy: str | None,
    name: str | None,
    presets: bool,
    show: str | None,
    columns: bool,
    as_json: bool,
) -> int:
    """Decide by a policy which samples of CORPUS (default: curated) are exported, how often, and why.

    Nothing is rewritten: decisions are a table beside the others, and several selections can live side by side.
    Export one with: curate export --selection NAME --format FORMAT
    """
    from curate.cli.console import print_json
    from curate.corpus import Corpus
    from curate.select import load_policy

    if presets:
        return _list_presets()
    if show is not None:
        return _show(show)
    if columns:
        return _list_columns(Corpus.open(corpus))
    if policy is None:
        raise click.UsageError("name a policy: --policy FILE, or one of --presets")
    if name is not None and not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise click.UsageError(f"--name {name}: use letters, digits, -, _ and .")
    loaded = load_policy(policy)
    opened = Corpus.open(corpus)
    opened.check_complete()
    with opened.lock():
        decisions = run_policy(opened, loaded, name)
    _tell(decisions, opened)
    if as_json:
        print_json(decisions.account)
    return 0


def run_policy(corpus: Corpus, policy: Any, name: str | None = None) -> Decisions:
    """Select by a policy, with the stage that is under way shown on a terminal. The caller holds the lock."""
    from curate.cli.console import console
    from curate.select import select_by_policy
    from curate.signals.image import measure_image

    with console.status("selecting …") as status:
        return select_by_policy(
            corpus,
            policy,
            name=name,
            picture_hash=lambda data: measure_image(data).phash,
            progress=lambda stage: status.update(f"selecting: {stage} …"),
        )


def _list_presets() -> int:
    from curate.select import load_policy, preset_names

    for name in preset_names():
        click.echo(f"{name:18} {load_policy(name).description}")
    return 0


def _show(name: str) -> int:
    import yaml

    from curate.select import load_policy

    fields = load_policy(name).model_dump(exclude_defaults=True, exclude={"extends"})
    click.echo(yaml.safe_dump({"name": name} | fields, sort_keys=False, allow_unicode=True, width=120).rstrip())
    return 0


def _list_columns(corpus: Corpus) -> int:
    from curate.select.facts import fact_columns

    for name, kind in sorted(fact_columns(corpus).items()):
        click.echo(f"{name:26} {kind}")
    click.echo(f'{"meta.FIELD":26} String   (a field of the samples\' meta; in conditions written "meta.FIELD")')
    return 0


def _tell(decisions: Decisions, corpus: Corpus) -> None:
    """The counts of a selection; they add up to the samples of the corpus."""
    from curate.cli.console import say, table

    account = decisions.account
    say(f"{decisions.total:,} samples = {decisions.kept:,} kept + {decisions.total - decisions.kept:,} dropped")
    firsts = decisions.first_dropped(corpus.shards())
    rules = [(rule, count, firsts.get(rule, "")) for rule, count in decisions.dropped.items()]
    table("Dropped by rule", ("rule", "samples", "the first of them"), rules, numbers=(1,))
    sources = [
        (source, counts["samples"], counts["kept"], counts["rows"]) for source, counts in account["by_source"].items()
    ]
    table("By source", ("source", "samples", "kept", "rows"), sources, numbers=(1, 2, 3))
    for subset in account["stages"].get("subsets", {}).get("subsets", ()):
        mark = {"keep": "kept", "drop": "removed"}[subset["decision"]]
        undecided = "" if subset["decided"] else ", undecided"
        say(f"Subset {subset['source']} ({mark}{undecided}): {subset['sentence']}")
    if decisions.unjudged:
        reasons = ", ".join(f"{status} {count:,}" for status, count in decisions.unjudged.items())
        say(f"Kept without a score: {sum(decisions.unjudged.values()):,} ({reasons})")
    if decisions.rows != decisions.kept:
        say(f"An export has {decisions.rows:,} rows: some samples are repeated.")
    name = decisions.path.stem
    say(f"Decisions: {decisions.path}  Next: curate export {corpus.path} --selection {name} --format FORMAT")
