"""Rows of a record file, one at a time: JSON lines, JSON arrays of any size, Parquet, CSV, saved Hugging Face datasets,
and articles.

A row that can't be read is yielded as a :class:`BadRow` and reading goes on where the format allows it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, NamedTuple

import ijson
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.sources.arrow_values import arrow_batches, rows_of, wire_values
from curate.sources.article_files import ALLOWED_LICENSES, is_article_file, is_markdown
from curate.sources.locations import real_path
from curate.sources.rejects import RejectError, one_line

MAX_ROW_BYTES = 64 * 2**20
"""Longest line of a JSON-lines or CSV file; a longer one is rejected without being held in memory."""

TOO_DEEP = "lists and objects are nested hundreds deep"

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv")
_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_UTF8_BOM = b"\xef\xbb\xbf"
_KEY = re.compile(rb'"\s*:')
LONG_INTEGER = re.compile(rb"[:,\[]\s*-?\d{19}")
"""Where an integer may have more than 64 bits."""
_STRUCTURED = frozenset(
    {"image", "images", "answer", "choices", "conversations", "texts", "image_info"}
    | {"prompt", "reward_model", "extra_info", "turns", "meta"}
)
"""Fields whose CSV cells may hold a JSON list or object."""


class Row(NamedTuple):
    """A readable row, counted from 1."""

    number: int
    fields: dict[str, Any]


class Line(NamedTuple):
    """A line of a JSON-lines file that is not parsed yet, counted from 1; see :func:`parsed`."""

    number: int
    text: bytes


class BadRow(NamedTuple):
    """A row that can't be read; number 0 stands for the file as a whole."""

    number: int
    reason: str
    message: str


def is_record_file(name: str) -> bool:
    """Whether a file name says that it holds records, or an article that becomes some."""
    return _uncompressed(name)[0].endswith(SUFFIXES) or is_article_file(name)


def is_saved_dataset(names: frozenset[str]) -> bool:
    """Whether a folder with these file names was written by ``datasets.Dataset.save_to_disk``."""
    return {"state.json", "dataset_info.json"} <= names


def read_rows(
    path: Path, columns: Mapping[str, str] = MappingProxyType({}), licenses: Collection[str] = ALLOWED_LICENSES
) -> Iterator[Row | BadRow]:
    """The rows of a record file, of the folder of a saved dataset, or of an article.

    ``columns`` maps field names to what the file calls them; see :func:`renamed`. ``licenses`` are those under which
    an article is read.
    """
    for row in read_lines(path, columns, licenses):
        yield parsed(row, columns) if isinstance(row, Line) else row


def read_lines(
    path: Path, columns: Mapping[str, str] = MappingProxyType({}), licenses: Collection[str] = ALLOWED_LICENSES
) -> Iterator[Line | Row | BadRow]:
    """As :func:`read_rows`, but the rows of a JSON-lines file are left as lines."""
    empty = True
    rows: Iterator[Line | Row | BadRow] = _rows(path, columns)
    if is_article_file(path.name) or is_markdown(path.name):
        from curate.sources.documents import document_rows

        rows = document_rows(path, licenses)
    for row in rows:
        empty = False
        yield row
    if empty:
        yield BadRow(0, "empty_file", "the file holds no records")


def parsed(line: Line, columns: Mapping[str, str]) -> Row | BadRow:
    """The row that a line holds."""
    row = parse_line(*line)
    return Row(row.number, renamed(row.fields, columns)) if isinstance(row, Row) else row


def _rows(path: Path, columns: Mapping[str, str]) -> Iterator[Line | Row | BadRow]:
    if path.is_dir():
        yield from _saved_dataset(path, columns)
        return
    stem, compression = _uncompressed(path.name)
    try:
        if stem.endswith(".parquet"):
            yield from _parquet(path, columns)
            return
        with _opened(path, compression) as file:
            rows = _csv(file, columns) if stem.endswith(".csv") else _json(file)
            for row in rows:
                yield Row(row.number, renamed(row.fields, columns)) if isinstance(row, Row) else row
    except (OSError, EOFError, pa.ArrowException) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        yield BadRow(0, "unreadable_file", f"reading stopped: {text}")


def renamed(fields: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """``fields`` with the columns that are called otherwise under the names that curate knows."""
    found = {ours: theirs for ours, theirs in columns.items() if theirs in fields and ours not in fields}
    if not found:
        return fields
    kept = {name: value for name, value in fields.items() if name not in found.values()}
    return kept | {ours: fields[theirs] for ours, theirs in found.items()}


def _uncompressed(name: str) -> tuple[str, str | None]:
    """A file name in lower case without the suffix of its compression, and that compression."""
    stem = name.lower()
    for suffix, compression in _COMPRESSED.items():
        if stem.endswith(suffix):
            return stem.removesuffix(suffix), compression
    return stem, None


def _opened(path: Path, compression: str | None) -> IO[bytes]:
    if compression is None:
        return path.open("rb", buffering=2**20)
    stream = pa.CompressedInputStream(pa.OSFile(str(path), "rb"), compression)
    return io.BufferedReader(stream, 2**20)


def _json(file: IO[bytes]) -> Iterator[Line | Row | BadRow]:
    """JSON lines, an array, or a single object, told apart by the first characters."""
    head = file.read(4096)
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield BadRow(0, "not_utf8", "the file is UTF-16; save it as UTF-8")
        return
    head = head.removeprefix(_UTF8_BOM)
    start = head.lstrip()
    rest = _Rejoined(head, file)
    if start.startswith(b"["):
        yield from _array(rest)
    elif start.startswith(b"{") and _spread_over_lines(start):
        yield from _array(rest, prefix="", multiple=True)
    elif start:
        yield from _lines(rest)
    else:
        yield BadRow(0, "empty_file", "the file holds no records")


def _spread_over_lines(start: bytes) -> bool:
    """Whether the first object goes on after its first line: a pretty-printed document, not JSON lines."""
    line, newline, _ = start.partition(b"\n")
    return bool(newline) and line.rstrip().endswith((b"{", b"[", b","))


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes have been read already."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data, self._head = self._head[: len(buffer)], self._head[len(buffer) :]
        data = data or self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _lines(stream: io.RawIOBase) -> Iterator[Line | BadRow]:
    file = io.BufferedReader(stream, 2**20)
    number = 0
    while line := file.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_ROW_BYTES)
            yield BadRow(number, "line_too_long", f"the line is longer than {MAX_ROW_BYTES // 2**20} MiB")
        elif line.strip():
            yield Line(number, line)


def parse_line(number: int, line: bytes) -> Row | BadRow:
    """One line of JSON as a row."""
    try:
        # orjson makes floats of integers beyond 64 bits, which would change an accession number without a word.
        fields = _exact(line) if LONG_INTEGER.search(line) else orjson.loads(line)
    except OverflowError:
        message = "an integer has more than 64 bits, which JSON readers round; write it as a string"
        return BadRow(number, "integer_too_long", message)
    except (ValueError, RecursionError) as error:
        return BadRow(number, *_why_no_json(line, error))
    if not isinstance(fields, dict):
        return BadRow(number, "not_an_object", f"a row must be a JSON object, this is {_json_type(fields)}")
    try:
        # Each key shows up once as '":'; equal counts prove that none was given twice, which no fast parser reports.
        if len(_KEY.findall(line)) != _count_keys(fields) and (key := _duplicate_key(line)):
            return BadRow(number, "duplicate_key", f"the field {key!r} is given twice")
    except RecursionError:
        return BadRow(number, "too_deep", TOO_DEEP)
    return Row(number, fields)


def _exact(line: bytes) -> Any:
    """The value of a line of JSON; OverflowError for an integer of more than 64 bits."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    def integer(digits: str) -> int:
        if len(digits) > 20 or not -(2**63) <= int(digits) < 2**64:
            raise OverflowError
        return int(digits)

    fields = json.loads(line, parse_constant=refuse, parse_int=integer)
    # The standard library takes half a surrogate pair for a character, which no file can hold.
    orjson.loads(line)
    return fields


def _why_no_json(line: bytes, error: ValueError | RecursionError) -> tuple[str, str]:
    try:
        text = line.decode()
    except UnicodeDecodeError as broken:
        return "not_utf8", f"byte {broken.start + 1} is not UTF-8"
    if re.search(r"[\s:,\[](NaN|-?Infinity)\b", text):
        return "not_a_number", "NaN and Infinity are no JSON; write null or leave the field out"
    if not isinstance(error, json.JSONDecodeError):
        return "too_deep", TOO_DEEP
    return "invalid_json", f"it is not valid JSON: {error.msg} (column {error.colno})"


def _count_keys(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(_count_keys(item) for item in value.values() if isinstance(item, (dict, list)))
    return sum(_count_keys(item) for item in value if isinstance(item, (dict, list)))


class _Object(dict[str, Any]):
    """A JSON object that notes a key given twice instead of forgetting the first value."""

    duplicate: str | None = None

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self:
            self.duplicate = key
        super().__setitem__(key, value)


def _first_duplicate(value: Any) -> str | None:
    if isinstance(value, _Object):
        return value.duplicate or next(filter(None, map(_first_duplicate, value.values())), None)
    return next(filter(None, map(_first_duplicate, value)), None) if isinstance(value, list) else None


def _duplicate_key(line: bytes) -> str | None:
    return next(map(_first_duplicate, ijson.items(io.BytesIO(line), "", map_type=_Object)), None)


def _array(stream: io.RawIOBase, prefix: str = "item", *, multiple: bool = False) -> Iterator[Row | BadRow]:
    """The objects of a JSON array, streamed; a syntax error ends the file, since nothing shows where to go on."""
    number = 0
    items = ijson.items(stream, prefix, use_float=True, map_type=_Object, multiple_values=multiple, buf_size=2**24)
    try:
        for number, fields in enumerate(items, start=1):
            yield _array_row(number, fields)
    except (ijson.JSONError, UnicodeDecodeError, ValueError) as error:
        message = f"the file breaks off here, the rest is unread: {one_line(error)}"
        yield BadRow(number + 1, "invalid_json", message)


def _array_row(number: int, fields: Any) -> Row | BadRow:
    if not isinstance(fields, dict):
        return BadRow(number, "not_an_object", f"a row must be a JSON object, this is {_json_type(fields)}")
    try:
        key = _first_duplicate(fields)
    except RecursionError:
        return BadRow(number, "too_deep", TOO_DEEP)
    return BadRow(number, "duplicate_key", f"the field {key!r} is given twice") if key else Row(number, fields)


def _json_type(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _csv(file: IO[bytes], columns: Mapping[str, str]) -> Iterator[Row | BadRow]:
    csv.field_size_limit(MAX_ROW_BYTES)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(_bounded(text), strict=True)
    number = 0
    try:
        header = next(reader, [])
        if any(_not_utf8(name) for name in header):
            yield BadRow(0, "not_utf8", "the names of the columns are not UTF-8")
            return
        if len(set(header)) != len(header):
            yield BadRow(0, "duplicate_key", "two columns have the same name")
            return
        for number, cells in enumerate(reader, start=1):
            if not cells:
                continue
            if len(cells) != len(header):
                yield BadRow(number, "column_count", f"{len(cells)} cells for {len(header)} columns")
            elif any(map(_not_utf8, cells)):
                yield BadRow(number, "not_utf8", "the row is not UTF-8")
            else:
                fields = renamed({name: cell for name, cell in zip(header, cells, strict=True) if cell}, columns)
                yield Row(number, {name: _cell(name, cell) for name, cell in fields.items()})
    except csv.Error as error:
        yield BadRow(number + 1, "invalid_csv", f"the file breaks off here, the rest is unread: {error}")


def _not_utf8(cell: str) -> bool:
    """Whether a cell holds bytes that were no UTF-8, which the decoder stands characters of its own for."""
    return not cell.isascii() and any("\udc80" <= char <= "\udcff" for char in cell)


def _bounded(text: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a text; csv.Error at one that is too long to be held in memory."""
    while line := text.readline(MAX_ROW_BYTES + 1):
        if len(line) > MAX_ROW_BYTES:
            raise csv.Error(f"a line is longer than {MAX_ROW_BYTES // 2**20} MiB")
        yield line


def _cell(name: str, cell: str) -> Any:
    if name in _STRUCTURED and cell[:1] in "[{":
        try:
            return orjson.loads(cell)
        except orjson.JSONDecodeError:
            return cell
    return cell


def _parquet(path: Path, columns: Mapping[str, str]) -> Iterator[Row | BadRow]:
    with pq.ParquetFile(path) as file:
        yield from _table_rows(file.iter_batches(batch_size=256), columns)


def _saved_dataset(path: Path, columns: Mapping[str, str]) -> Iterator[Row | BadRow]:
    try:
        state = orjson.loads((path / "state.json").read_bytes())
        files = [_own_file(path, entry["filename"]) for entry in state["_data_files"]]
        yield from _table_rows(chain.from_iterable(map(arrow_batches, files)), columns)
    except RejectError as error:
        yield BadRow(0, error.reason, str(error))
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        yield BadRow(0, "unreadable_file", f"no readable saved dataset: {one_line(error)}")


def _own_file(folder: Path, name: str) -> Path:
    """A data file of a saved dataset, which must be a regular file in its folder: a link could lead anywhere."""
    real = real_path(folder / Path(name).name)
    if real is None:
        raise RejectError("missing_file", f"the data file {name!r} of the saved dataset does not exist")
    if not real.is_relative_to(folder.resolve()):
        raise RejectError("outside_root", f"the data file {name!r} of the saved dataset is a link that leads out of it")
    return real


def _table_rows(batches: Iterator[pa.RecordBatch], columns: Mapping[str, str]) -> Iterator[Row | BadRow]:
    number = 0
    for batch in batches:
        for start in range(0, len(batch), 64):
            for fields in rows_of(batch.slice(start, 64)):
                number += 1
                if isinstance(fields, str):
                    yield BadRow(number, "unreadable_value", fields)
                    continue
                plain = wire_values(renamed(fields, columns))
                yield Row(number, {key: value for key, value in plain.items() if value is not None})
