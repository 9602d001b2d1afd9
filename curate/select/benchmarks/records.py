"""Rows of a benchmark's data files: Parquet, saved Hugging Face datasets (Arrow), CSV, JSON and JSON lines."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.corpus import UserError

SUFFIXES = (".parquet", ".arrow", ".csv", ".json", ".jsonl")
"""Endings of files that can hold rows."""
MAX_TEXT_BYTES = 2 * 2**30
"""Largest CSV or JSON file that is read; JSON lists are read whole."""

_BATCH = 64
"""Rows of a Parquet file that are read at a time: each may hold several pictures."""
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_CELL = 64 * 2**20

Record = dict[str, Any]


class DataFile:
    """A file with rows: on disk, or a member of a zip archive."""

    def __init__(self, name: str, path: Path, archive: zipfile.ZipFile | None = None, member: str = "") -> None:
        self.name = name
        """Relative to the benchmark; what evidence calls the file."""
        self.path = path
        """The file, or the archive that holds it."""
        self._archive, self._member = archive, member

    @property
    def suffix(self) -> str:
        return Path(self.name).suffix.lower()

    def open(self) -> IO[bytes]:
        """The bytes. Raises UserError when the file cannot be read or is unreasonably large."""
        try:
            packed_size = None if self._archive is None else self._archive.getinfo(self._member).file_size
            size = self.path.stat().st_size if packed_size is None else packed_size
            if self.suffix not in (".parquet", ".arrow") and size > MAX_TEXT_BYTES:
                raise UserError(f"{self.shown} has {size / 2**30:.1f} GiB; the limit for text is 2 GiB")
            if self._archive is None:
                return self.path.open("rb")
            with self._archive.open(self._member) as packed:
                return io.BytesIO(packed.read(size))
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
            raise UserError(f"{self.shown} cannot be read: {_cause(error)}") from None

    @property
    def shown(self) -> str:
        """The file in a sentence."""
        return str(self.path) if self._archive is None else f"{self.path}, {self._member}"


def columns_of(file: DataFile) -> list[str]:
    """Names of the columns (of JSON: the fields of the first row).

    Raises UserError for a file that is empty or not what its name says.
    """
    if file.suffix == ".parquet":
        with _parquet(file) as opened:
            return list(opened.schema_arrow.names)
    return list(next(read_records(file))[1])


def read_records(file: DataFile, leave_out: Collection[str] = ()) -> Iterator[tuple[int, Record]]:
    """The rows of a file, numbered from 1, without the columns in ``leave_out``.

    Raises UserError for a file that is empty, damaged, or not what its name says, with what it is instead.
    """
    read = {".parquet": _parquet_rows, ".arrow": _arrow_rows, ".csv": _csv_rows, ".jsonl": _lines, ".json": _json}
    number = 0
    try:
        for number, record in read[file.suffix](file, leave_out):
            yield number, record
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from None
    if not number:
        raise UserError(f"{file.shown} has no rows; download the benchmark again")


@contextmanager
def _parquet(file: DataFile) -> Iterator[pq.ParquetFile]:
    with file.open() as stream:
        try:
            yield pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(file, error) from None


def _parquet_rows(file: DataFile, leave_out: Collection[str]) -> Iterator[tuple[int, Record]]:
    number = 0
    with _parquet(file) as opened:
        columns = [name for name in opened.schema_arrow.names if name not in leave_out]
        for batch in opened.iter_batches(_BATCH if not leave_out else 8192, columns=columns):
            for record in batch.to_pylist():
                number += 1
                yield number, record


def _arrow_rows(file: DataFile, leave_out: Collection[str]) -> Iterator[tuple[int, Record]]:
    number = 0
    # Not mapped into memory: a file that is cut short meanwhile would end the process with a bus error.
    with file.open() as source, pa.ipc.open_stream(source) as stream:
        for whole in stream:
            batch = whole.drop_columns([name for name in whole.schema.names if name in leave_out])
            for start in range(0, len(batch), _BATCH):
                for record in batch.slice(start, _BATCH).to_pylist():
                    number += 1
                    yield number, record


def _csv_rows(file: DataFile, leave_out: Collection[str]) -> Iterator[tuple[int, Record]]:
    csv.field_size_limit(_MAX_CELL)
    with file.open() as source, io.TextIOWrapper(source, "utf-8-sig", newline="") as text:
        _refuse_other_things(file, source)
        try:
            rows = csv.DictReader(text)
            for number, record in enumerate(rows, 1):
                yield number, {name: value for name, value in record.items() if name and name not in leave_out}
        except UnicodeDecodeError:
            raise UserError(f"{file.shown} is no UTF-8 text; it should be CSV") from None
        except csv.Error as error:
            raise UserError(f"{file.shown} is no CSV: line {rows.line_num}: {error}") from None


def _lines(file: DataFile, leave_out: Collection[str]) -> Iterator[tuple[int, Record]]:
    with file.open() as source:
        _refuse_other_things(file, source)
        for number, line in enumerate(source, 1):
            text = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
            if text.strip():
                yield number, _record(file, number, _parsed(file, text, f"line {number}: "), leave_out)


def _json(file: DataFile, leave_out: Collection[str]) -> Iterator[tuple[int, Record]]:
    with file.open() as source:
        _refuse_other_things(file, source)
        data = source.read().removeprefix(_BYTE_ORDER_MARK)
    try:
        rows = orjson.loads(data)
    except orjson.JSONDecodeError:
        # Some copies of these benchmarks hold JSON lines in a file called .json.
        rows = None
    if isinstance(rows, dict):
        within = list(rows.values())
        rows = within[0] if len(within) == 1 and _is_rows(within[0]) else [rows]
    if rows is None:
        lines = ((n, line) for n, line in enumerate(data.splitlines(), 1) if line.strip())
        yield from ((n, _record(file, n, _parsed(file, line, f"line {n}: "), leave_out)) for n, line in lines)
        return
    if not isinstance(rows, list):
        raise UserError(f"{file.shown} holds no list of rows; it should be a JSON list of objects")
    for number, row in enumerate(rows, 1):
        yield number, _record(file, number, row, leave_out)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _parsed(file: DataFile, data: bytes, where: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UserError(f"{file.shown} is no JSON: {where}{error}") from None


def _record(file: DataFile, number: int, row: Any, leave_out: Collection[str]) -> Record:
    if not isinstance(row, dict):
        raise UserError(f"{file.shown}: row {number} is no object with fields; it should be a row of a benchmark")
    return {name: value for name, value in row.items() if name not in leave_out}


def _refuse_other_things(file: DataFile, source: IO[bytes]) -> None:
    """Raise UserError when a text file begins like what a failed download leaves; leaves the position at the start."""
    head = source.read(512).lstrip(b"\xef\xbb\xbf \t\r\n")
    source.seek(0)
    if (other := _other_thing(head)) is not None:
        raise UserError(f"{file.shown} {other}")


def _other_thing(head: bytes) -> str | None:
    if not head:
        return "is empty; download the benchmark again"
    if head.startswith(b"<"):
        return "is a web page, not data: the download needs a login or another address"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the data; run git lfs pull where the benchmark was cloned"
    return None


def _damaged(file: DataFile, error: Exception) -> UserError:
    try:
        with file.open() as source:
            other = _other_thing(source.read(512).lstrip())
    except UserError:
        other = None
    kind = {".parquet": "Parquet", ".arrow": "a saved dataset"}.get(file.suffix, "data")
    return UserError(f"{file.shown} {other or f'cannot be read as {kind}: {_cause(error)}'}")


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).splitlines() or [type(error).__name__])[0]
