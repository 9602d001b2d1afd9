"""Rendering that the verbs share: tables and progress on stderr, so that stdout stays for data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any, cast

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from curate.cli.visible import visible, visible_json


class _Stderr:
    """Standard error, wherever it leads at the moment. Work goes on when it leads nowhere any more.

    A pipe whose reader has left and a terminal that was closed raise at every write; there is nobody to tell, but
    answers of a judge may be on their way.
    """

    @property
    def _stream(self) -> IO[str] | None:
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text) if self._stream else len(text)
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            if self._stream:
                self._stream.flush()
        except OSError:
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


console = Console(file=cast(IO[str], _Stderr()), highlight=False)


def plain(value: object) -> Text:
    """A value as literal text: markup, ANSI escapes and control characters in data must not reach the terminal."""
    return Text(visible(str(value)).replace("\n", " ").replace("\t", " "))


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

    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
    # As bytes: JSON is UTF-8 whatever the terminal's encoding is.
    click.echo(visible_json(text).encode())
