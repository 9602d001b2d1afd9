"""``curate diff``: two selections, exports or corpora side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

_FIELDS_SHOWN = 12
_NOT_FIELDS = ("basis", "description")
"""What a policy says about itself; it decides nothing."""
_LONGEST_VALUE = 120
_NOTHING = "nothing to show"
"""A table without rows."""

Row = dict[str, Any]


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--corpus",
    default="curated",
    show_default=True,
    type=click.Path(path_type=Path),
    help="The corpus whose selections A and B name.",
)
@click.option(
    "--limit",
    default=3,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Samples told as examples of each change.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON on stdout.")
def command(a: str, b: str, corpus: Path, limit: int, as_json: bool) -> int:
    """Tell what came in and what went out from A to B, and because of which rule.

    A and B are selections (the name of one of CORPUS, OTHER_CORPUS#NAME, or the path of a decisions file), the
    directories of exports, or those of two corpora. Nothing is changed.
    """
    from curate.accounts.diff import diff
    from curate.cli.console import print_json

    found = diff(a, b, corpus=corpus, limit=limit)
    if as_json:
        print_json(found)
    else:
        _print(_corpora(found) if found["compared"] == "corpora" else _selections(found))
    return 0


def _print(blocks: Iterable[str]) -> None:
    """Text and tables to stdout, which is where an account belongs."""
    from curate.cli.visible import visible

    shown = [block for block in blocks if block != _NOTHING]
    click.echo(visible("\n".join(shown).strip("\n")))


def _grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[int] = ()) -> str:
    """A table as text, as wide as the terminal; cells are folded, nothing is cut off. ``_NOTHING`` without rows."""
    import io
    import shutil

    from rich.console import Console
    from rich.table import Table

    from curate.cli.console import plain

    body = list(rows)
    if not body:
        return _NOTHING
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for position, column in enumerate(columns):
        grid.add_column(plain(column), justify="right" if position in numbers else "left", overflow="fold")
    for row in body:
        grid.add_row(*(plain(_cell(value)) for value in row))
    text = io.StringIO()
    width = max(20, shutil.get_terminal_size((120, 24)).columns)
    Console(file=text, width=width, color_system=None, highlight=False).print(grid)
    return "\n".join(["", title, *(line.rstrip() for line in text.getvalue().splitlines())])


def _cell(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]} …"


def _heading(found: Row) -> Iterable[str]:
    for side in ("a", "b"):
        told = found[side]
        yield f"{side.upper()}: {told['name']} ({told['kind']} of {told['samples']:,} samples, {told['path']})"


def _selections(found: Row) -> Iterable[str]:
    yield from _heading(found)
    kept, rows = found["kept"], found["rows"]
    yield f"Kept: {kept['a']:,} -> {kept['b']:,} = {kept['a']:,} + {found['came_in']:,} in - {found['went_out']:,} out"
    yield f"Rows, with copies: {rows['a']:,} -> {rows['b']:,}"
    if found["more_copies"] or found["fewer_copies"]:
        yield f"Of those kept in both, {found['more_copies']:,} have more copies and {found['fewer_copies']:,} fewer"
    for side, other in (("a", "b"), ("b", "a")):
        if found[f"only_{side}"]:
            yield f"{found[f'only_{side}']:,} samples are in {side.upper()} and not in {other.upper()}"
    if not found["changes"]:
        yield f"The same is decided about all {found['samples']:,} samples."
    changes = [(*_labels(change), change["samples"], _first(change["examples"])) for change in found["changes"]]
    yield _grid("What changed, by rule", ("in A", "in B", "samples", "the first of them"), changes, numbers=(2,))
    names = ("came_in", "went_out", "more_copies", "fewer_copies", "other")
    sources = [(row["source"], *(row[name] for name in names)) for row in found["by_source"]]
    titles = ("source", "came in", "went out", "more copies", "fewer copies", "otherwise")
    yield _grid("What changed, by source", titles, sources, numbers=range(1, 6))
    yield from _examples(found["changes"])
    yield from _settings(found)


def _settings(found: Row) -> Iterable[str]:
    told = [entry for entry in found["settings"] if entry["field"].rpartition(".")[2] not in _NOT_FIELDS]
    fields = [(entry["field"], entry["a"], entry["b"]) for entry in told[:_FIELDS_SHOWN]]
    if found["a"]["kind"] != found["b"]["kind"]:
        return
    unknown = [side.upper() for side, known in found["settings_known"].items() if not known]
    if unknown:
        yield ""
        yield f"No policy is recorded with {' and '.join(unknown)}."
    elif not fields:
        yield ""
        yield "The policies ask for the same." if found["settings"] else "The policies say the same."
    else:
        yield _grid("Where the policies differ", ("field", "in A", "in B"), fields)
    more = len(found["settings"]) - len(fields)
    if more > 0 and fields and not unknown:
        yield f"and {more:,} more field(s); --json has all of them"
    versions = {found[side].get("version") for side in ("a", "b")} - {None}
    if len(versions) > 1:
        yield f"A was made by curate {found['a']['version']}, B by curate {found['b']['version']}."


def _labels(change: Row) -> tuple[str, str]:
    before, after = str(change["from"]), str(change["to"])
    return before, after if after != before else f"{after}, another number of copies"


def _first(examples: Sequence[Row]) -> str:
    return _told(examples[0]) if examples else ""


def _told(example: Row) -> str:
    """Where an example came from, with the reasons of both sides."""
    place = example["place"] or example["id"]
    reasons = [f"{side.upper()}: {example[f'reason_{side}']}" for side in ("a", "b") if example.get(f"reason_{side}")]
    return f"{place}: {'; '.join(reasons)}" if reasons else str(place)


def _examples(changes: Sequence[Row]) -> Iterable[str]:
    for change in changes:
        if len(change["examples"]) > 1:
            yield ""
            yield f"{' -> '.join(_labels(change))}, {len(change['examples']):,} of {change['samples']:,}"
            for example in change["examples"]:
                yield f"  {example['id'][:12]}  {_told(example)}".replace("\n", " ")


def _corpora(found: Row) -> Iterable[str]:
    yield from _heading(found)
    yield f"{found['both']:,} samples are in both, {found['changed']:,} of them with something else known of them"
    yield f"{found['only_a']:,} samples are only in A, {found['only_b']:,} only in B"
    sources = [(row["source"], row["only_a"], row["only_b"], row["changed"]) for row in found["by_source"]]
    yield _grid("By source", ("source", "only in A", "only in B", "changed"), sources, numbers=(1, 2, 3))
    columns = [
        (
            entry["table"],
            entry["column"],
            entry["samples"],
            ", ".join(f"{how} ({count:,})" for how, count in list(entry["how"].items())[:3]),
            _changed(entry["examples"]),
        )
        for entry in found["columns"]
    ]
    titles = ("table", "column", "samples", "how", "the first of them")
    yield _grid("What is different in samples of both", titles, columns, numbers=(2,))
    apart = [(entry["table"], entry["column"], entry["a"], entry["b"]) for entry in found["columns_not_compared"]]
    yield _grid("Not compared: of another type", ("table", "column", "in A", "in B"), apart)
    for side in ("a", "b"):
        if found[f"columns_only_{side}"]:
            yield ""
            yield f"Only {side.upper()} has: {', '.join(found[f'columns_only_{side}'])}"
        rows = [(entry["id"][:12], entry["place"], entry["source"]) for entry in found["examples"][f"only_{side}"]]
        yield _grid(f"Only in {side.upper()}, the first of them", ("id", "from", "source"), rows)


def _changed(examples: Sequence[Row]) -> str:
    if not examples:
        return ""
    first = examples[0]
    return f"{first['place']}: {_cell(first['a'])} -> {_cell(first['b'])}"
