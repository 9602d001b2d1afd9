"""Rendering that the verbs share: tables and progress on stderr, so that stdout stays for data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

console = Console(stderr=True, highlight=False)


def plain(value: object) -> Text:
    """A value as literal text: markup, ANSI escapes and control characters in data must not reach the terminal."""
    text = str(value)
    return Text("".join(char if char.isprintable() else "\ufffd" if char not in "\n\t" else " " for char in text))


def say(message: str) -> None:
    """A line for the user."""
    console.print(plain(message), soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Sequence[int] = ()) -> None:
    """A small table; ``numbers`` are the positions of right-aligned columns. Nothing is printed without rows."""
    body = list(rows)
    if not body:
        return
    console.print()
    console.print(plain(title), style="bold")
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for position, column in enumerate(columns):
        grid.add_column(plain(column), justify="right" if position in numbers else "left", overflow="fold")
    for row in body:
        grid.add_row(*(plain(f"{cell:,}" if isinstance(cell, int) else cell) for cell in row))
    console.print(grid)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that a library function moves by calling ``(done, total)``; gone when the work is over."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def print_json(value: Any) -> None:
    """One JSON object on stdout, for programs."""
    import orjson

    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())
