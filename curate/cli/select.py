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
@click.option("--list", "listed", is_flag=True, help="List the selections of CORPUS.")
@click.option("--columns", is_flag=True, help="List the fact columns that conditions may name.")
@click.option("--json", "as_json", is_flag=True, help="Print the account as JSON on stdout.")
def command(
    corpus: Path,
    policy: str | None,
    name: str | None,
    presets: bool,
    show: str | None,
    listed: bool,
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
    if listed:
        return _list_selections(Corpus.open(corpus))
    if columns:
        return _list_columns(Corpus.open(corpus))
    if policy is None:
        raise click.UsageError("name a policy: --policy FILE, or one of --presets")
    if name is not None:
        check_name(name)
    loaded = load_policy(policy)
    opened = Corpus.open(corpus)
    opened.check_complete()
    with opened.lock():
        decisions = run_policy(opened, loaded, name)
    _tell(decisions, opened)
    if as_json:
        print_json(decisions.account)
    return 0


def check_name(name: str) -> None:
    """Raise click's usage error for what is no name of a selection."""
    from curate.select.policy import check_selection_name

    try:
        check_selection_name(name)
    except ValueError as error:
        raise click.UsageError(f"--name: {error}") from None


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

    # Without its name: a copy is called after its file, and does not take the place of what it was copied from.
    fields = load_policy(name).model_dump(exclude_defaults=True, exclude={"extends", "name"})
    click.echo(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=120).rstrip())
    return 0


def _list_selections(corpus: Corpus) -> int:
    from curate.cli.console import table
    from curate.corpus import UserError
    from curate.select import Decisions, selection_names

    rows: list[tuple[str, str, object, object, str]] = []
    for name in selection_names(corpus):
        try:
            found = Decisions.open(corpus, name)
            rows.append((name, found.account["policy"]["name"], found.kept, found.rows, found.account["at"]))
        except UserError as error:
            rows.append((name, str(error), "", "", ""))
    table("Selections", ("name", "policy", "kept", "rows", "made"), rows, numbers=(2, 3))
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
    for stage, told in account["stages"].items():
        _TELL.get(stage, lambda _: None)(told)
    if decisions.unjudged:
        reasons = ", ".join(f"{status} {count:,}" for status, count in decisions.unjudged.items())
        say(f"Kept without a score: {sum(decisions.unjudged.values()):,} ({reasons})")
    if decisions.rows != decisions.kept:
        say(f"An export has {decisions.rows:,} rows: some samples are repeated.")
    for note in account["notes"]:
        say(f"Note: {note}")
    name = decisions.path.stem
    say(f"Decisions: {decisions.path}  Next: curate export {corpus.path} --selection {name} --format FORMAT")


def _tell_subsets(told: dict[str, Any]) -> None:
    from curate.cli.console import say, table

    judged = [subset for subset in told["subsets"] if subset["judged"]]
    word = {("keep", True): "kept", ("drop", True): "removed", ("keep", False): "kept, undecided"}
    rows = [
        (
            subset["source"],
            subset["judged"],
            subset["passed"],
            f"{100 * subset['low']:.1f} to {100 * subset['high']:.1f} %",
            word.get((subset["decision"], subset["decided"]), "removed, undecided"),
        )
        for subset in judged
    ]
    table("Subsets by their judged samples", ("source", "judged", "pass", "interval", ""), rows, numbers=(1, 2))
    for subset in judged:
        if subset["decision"] == "drop":
            say(f"  {subset['source']}: {subset['sentence']}")


def _tell_contamination(told: dict[str, Any]) -> None:
    from curate.cli.console import table

    rows = [
        (
            benchmark["name"],
            benchmark["rows"],
            benchmark["pictures"]["distinct"],
            benchmark["pictures"]["missing"],
            benchmark["samples_hit"],
            benchmark["samples_dropped"],
        )
        for benchmark in told["benchmarks"]
    ]
    head = ("benchmark", "rows", "pictures", "missing", "samples hit", "dropped")
    table(f"Compared {told['samples_compared']:,} samples with benchmarks", head, rows, numbers=(1, 2, 3, 4, 5))


def _tell_difficulty(told: dict[str, Any]) -> None:
    from curate.cli.console import table

    rows = [
        (" to ".join(map(str, dict.fromkeys(band["correct"]))), f"{band['keep']:g}", band["queries"], band["kept"])
        for band in told["bands"]
    ]
    head = (f"right of {told['k']}", "share", "queries", "kept")
    table(f"Difficulty, by {told['model']}", head, rows, numbers=(1, 2, 3))


def _tell_duplicates(told: dict[str, Any]) -> None:
    from curate.cli.console import say

    pictures = told["pictures"]
    unread = f"; {pictures['unreadable']:,} pictures could not be compared" if pictures["unreadable"] else ""
    compared = max(told["compared"].values(), default=0)
    say(f"Duplicates: {compared:,} samples compared, {sum(told['dropped'].values()):,} dropped{unread}")


def _tell_mixture(told: dict[str, Any]) -> None:
    from curate.cli.console import say, table

    rows = [
        (
            part["name"],
            _percent(part.get("share_asked")),
            _percent(part.get("share_realised")),
            part["samples"],
            part["taken"],
            part["rows"],
        )
        for part in told["parts"]
    ]
    head = ("part", "asked", "realised", "samples", "taken", "rows")
    table(f"Mixture by {told['unit']}", head, rows, numbers=(1, 2, 3, 4, 5))
    for note in told.get("notes", ()):
        say(f"Note: {note}")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


_TELL = {
    "subsets": _tell_subsets,
    "contamination": _tell_contamination,
    "difficulty": _tell_difficulty,
    "duplicates": _tell_duplicates,
    "mixture": _tell_mixture,
}
"""What is told of a stage, by its account."""
