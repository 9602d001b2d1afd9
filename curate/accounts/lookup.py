"""Look a few rows up in tables of a corpus: by id in Parquet shards, by a piece of text in JSON Lines."""

from __future__ import annotations

import mmap
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, Sample, UserError, from_table

Row = dict[str, Any]


def rows_where(
    paths: Iterable[Path], column: str, values: Collection[str], columns: Sequence[str] | None = None
) -> list[Row]:
    """The rows of Parquet files whose ``column`` has one of ``values``, in order; of ``columns`` those that are there.

    The files are read one by one, because tables that different versions wrote may have different columns. Raises
    UserError for a file that cannot be read or has no such column.
    """
    wanted = pl.Series(sorted(values), dtype=pl.String).implode()
    found: list[Row] = []
    for path in paths:
        try:
            table = pl.scan_parquet(path)
            there = table.collect_schema().names()
            chosen = table.filter(pl.col(column).is_in(wanted))
            if columns is not None:
                chosen = chosen.select([name for name in columns if name in there])
            found += chosen.collect().to_dicts()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UserError(f"{path} cannot be read: {first_line(error)}") from None
    return found


def samples_by_id(corpus: Corpus, ids: Collection[str]) -> dict[str, Sample]:
    """The samples with these ids, in the order of the corpus; those that it does not have are left out.

    Raises UserError for a shard that cannot be read.
    """
    found: dict[str, Sample] = {}
    left = set(ids)
    for shard in corpus.shards():
        if not left:
            break
        there = {row["id"] for row in rows_where([shard], "id", left, ["id"])}
        if there:
            table = pq.read_table(shard, filters=pc.field("id").isin(sorted(there)))
            found.update((sample.id, sample) for sample in from_table(table))
            left -= there
    return found


def places(corpus: Corpus, ids: Collection[str]) -> dict[str, str]:
    """Where samples came from, as ``file:row``, by id."""
    rows = rows_where(corpus.shards(), "id", ids, ["id", "file", "row"])
    return {row["id"]: f"{row['file']}:{row['row']}" for row in rows}


def lines_with(path: Path, text: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that contain ``text``, with their numbers counted from 1.

    The file is searched as a whole and not parsed: a million records with pictures inside take seconds.
    """
    if not path.stat().st_size:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        number, counted = 1, 0
        found = content.find(text)
        while found >= 0:
            start = content.rfind(b"\n", 0, found) + 1
            number += _line_ends(content, counted, start)
            end = content.find(b"\n", found)
            end = len(content) if end < 0 else end
            yield number, content[start:end]
            counted = start
            found = content.find(text, end)


def _line_ends(content: mmap.mmap, start: int, stop: int, piece: int = 2**24) -> int:
    return sum(content[at : min(at + piece, stop)].count(b"\n") for at in range(start, stop, piece))


def objects_with(path: Path, text: bytes) -> Iterator[tuple[int, Row]]:
    """The JSON objects among :func:`lines_with`. Lines that are no JSON object are passed over."""
    for number, line in lines_with(path, text):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            yield number, value


def is_file(path: Path) -> bool:
    """Whether there is such a file; a name that no file can have (300 characters) is that of none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether there is such a directory; like :func:`is_file`."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def read_object(path: Path) -> Row | None:
    """The JSON object in a file; None when there is none that can be read."""
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, ValueError):  # a name with a null byte, and JSON that is none
        return None
    return value if isinstance(value, dict) else None


def first_line(error: Exception) -> str:
    """The first line of what an error says, or its name where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
