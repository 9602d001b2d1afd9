"""Exports seen from outside: which sample a row is, and which rows a sample became."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import ijson
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.accounts.lookup import first_line, objects_with, read_object
from curate.corpus import Corpus, Step, UserError
from curate.exports.directory import MARKER

_KIND: Final = "medcurate-export"
_DEEPEST = 3
"""Folders that a data file of an export may lie below the export."""


@dataclass(frozen=True)
class ExportedTo:
    """One export of a corpus, and the rows of a sample in it."""

    directory: str
    format: str
    at: str
    """When it was written, as the corpus remembers it."""
    state: str
    """there, gone, replaced (by an export of another corpus), changed (its files are not those that were recorded)."""
    sentence: str
    """The same for a person."""
    rows: list[str] = field(default_factory=list)
    """``file:row`` of every row that the sample became, rows counted from 1; files relative to the directory."""
    skipped: str | None = None
    """Why the export left the sample out although it was selected."""


def marker_of(directory: Path) -> dict[str, Any] | None:
    """What ``export.json`` says, or None when the directory is no export."""
    marker = read_object(directory / MARKER)
    return marker if marker is not None and marker.get("kind") == _KIND else None


def export_around(path: Path) -> Path | None:
    """The export that a data file belongs to."""
    return next((folder for folder in path.absolute().parents[:_DEEPEST] if marker_of(folder) is not None), None)


def corpus_of(directory: Path) -> Path | None:
    """The corpus that an export says it was made from; None when it does not say."""
    made_from = (marker_of(directory) or {}).get("corpus")
    path = made_from.get("path") if isinstance(made_from, dict) else None
    return Path(path) if isinstance(path, str) else None


def data_files(directory: Path) -> list[tuple[str, str]]:
    """The data files that an export lists, with the side of the split each is for."""
    listed = (marker_of(directory) or {}).get("files")
    entries = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    named = [(entry.get("path"), str(entry.get("split", "train"))) for entry in entries]
    inside = directory.resolve()
    return [
        (path, split)
        for path, split in named
        if isinstance(path, str) and (directory / path).resolve().is_relative_to(inside)
    ]


def id_of_row(path: Path, row: int) -> str:
    """The id of the sample that a row of an export was made from; rows count from 1.

    Raises UserError when there is no such row, or the file has no ids that can be read.
    """
    seen = 0
    for ids, _ in id_batches(path):
        if seen < row <= seen + len(ids):
            found = ids[row - 1 - seen].as_py()
            if found is None:
                raise UserError(f"{path}:{row} has no id: curate did not write this row")
            return str(found)
        seen += len(ids)
    raise UserError(f"{path} has {seen:,} row(s), counted from 1; there is no row {row:,}")


def id_batches(path: Path) -> Iterator[tuple[pa.Array, pa.Array | None]]:
    """The ids of a data file's rows, some thousand at a time, with the number of the chunk where documents are cut.

    Pictures and texts are not read. Raises UserError for a file that cannot be read or has no ids.
    """
    try:
        yield from _parquet_ids(path) if path.suffix == ".parquet" else _json_ids(path)
    except (OSError, pa.ArrowException, orjson.JSONDecodeError, ijson.JSONError) as error:
        raise UserError(f"{path} cannot be read as a file of an export: {first_line(error)}") from None


def _parquet_ids(path: Path) -> Iterator[tuple[pa.Array, pa.Array | None]]:
    with pq.ParquetFile(path) as file:
        leaves = [file.schema.column(number).path for number in range(len(file.schema))]
        name = next((leaf for leaf in ("id", "extra_info.id") if leaf in leaves), None)
        if name is None:
            raise UserError(f"{path} has neither a column id nor extra_info.id; curate did not write it")
        chunk = ["chunk"] if "chunk" in leaves else []
        for group in range(file.num_row_groups):
            table = file.read_row_group(group, columns=[name, *chunk]).combine_chunks()
            ids = table.column(0) if name == "id" else pc.struct_field(table.column("extra_info"), "id")
            numbers = table.column("chunk") if chunk else None
            yield _one(ids), None if numbers is None else _one(numbers)


def _one(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


_BATCH: Final = 16_384
"""Rows whose ids are read at a time."""
_HEAD = b'{"id":"'
_ID_END = len(_HEAD) + 64


def _json_ids(path: Path) -> Iterator[tuple[pa.Array, None]]:
    with path.open("rb") as file:
        if path.suffix == ".json":
            rows = _records(path, file)
            while ids := [_id_in(row) for row in islice(rows, _BATCH)]:
                yield pa.array(ids, pa.string()), None
            return
        while lines := list(islice(file, _BATCH)):
            yield pa.array([_id_in_line(line) for line in lines], pa.string()), None


def _records(path: Path, file: IO[bytes]) -> Iterator[Any]:
    """The records of a JSON array one after the other: memory is bounded by the largest."""
    start = file.read(1)
    while start.isspace():
        start = file.read(1)
    if start != b"[":
        raise UserError(f"{path} is no list of records")
    file.seek(0)
    records: Iterator[Any] = ijson.items(file, "item", use_float=True)
    return records


def _id_in_line(line: bytes) -> str | None:
    # The id comes first in most records; parsing them, some with pictures inside, would take twenty times as long.
    if line.startswith(_HEAD) and line[_ID_END : _ID_END + 1] == b'"':
        return line[len(_HEAD) : _ID_END].decode()
    return _id_in(orjson.loads(line))


def _id_in(row: Any) -> str | None:
    extra = row.get("extra_info") if isinstance(row, dict) else None
    found = row.get("id") or (extra.get("id") if isinstance(extra, dict) else None) if isinstance(row, dict) else None
    return found if isinstance(found, str) else None


def exports_of(corpus: Corpus, sample_id: str) -> list[ExportedTo]:
    """Every export that the corpus remembers, with the rows of the sample; of several to one place the last."""
    latest: dict[str, Step] = {}
    for step in corpus.info.steps:
        directory = step.parameters.get("directory")
        if step.name == "export" and isinstance(directory, str):
            latest.pop(directory, None)
            latest[directory] = step
    return [_exported_to(corpus, directory, step, sample_id) for directory, step in latest.items()]


def _exported_to(corpus: Corpus, directory: str, step: Step, sample_id: str) -> ExportedTo:
    folder, name = Path(directory), str(step.parameters.get("format", "unknown"))
    marker = marker_of(folder)
    if marker is None:
        what = "holds no export any more" if folder.exists() else "is gone: it was moved or deleted"
        return ExportedTo(directory, name, step.at, "gone", f"the directory {what}")
    owner = corpus_of(folder)
    if owner is not None and owner != corpus.path.resolve():
        sentence = f"replaced since by an export of another corpus ({owner})"
        return ExportedTo(directory, name, step.at, "replaced", sentence)
    listed = marker.get("files")
    written = {
        entry.get("path"): entry.get("samples")
        for entry in (listed if isinstance(listed, list) else [])
        if isinstance(entry, dict)
    }
    state = "there" if written == step.hashes else "changed"
    rows: list[str] = []
    try:
        for file, _ in data_files(folder):
            rows += [f"{file}:{row}" for row in _rows_of(folder / file, sample_id)]
        skipped = _skipped(folder, sample_id)
    except (UserError, OSError) as error:
        problem = str(error) if isinstance(error, UserError) else f"it cannot be read: {error.strerror}"
        return ExportedTo(directory, name, step.at, "changed", problem, rows)
    sentence = "" if state == "there" else "not the files that the corpus remembers: it was written anew or changed"
    return ExportedTo(directory, name, step.at, state, sentence, rows, skipped)


def _rows_of(path: Path, sample_id: str) -> Iterator[int]:
    if path.suffix == ".jsonl":
        for number, record in objects_with(path, sample_id.encode()):
            if _id_in(record) == sample_id:
                yield number
        return
    start = 1
    for ids, _ in id_batches(path):
        equal = pc.equal(ids, pa.scalar(sample_id, ids.type)).fill_null(fill_value=False)
        yield from (start + np.flatnonzero(equal.to_numpy(zero_copy_only=False))).tolist()
        start += len(ids)


def _skipped(folder: Path, sample_id: str) -> str | None:
    path = folder / "skipped.jsonl"
    if not path.is_file():
        return None
    entries = objects_with(path, sample_id.encode())
    return next((str(entry.get("reason")) for _, entry in entries if entry.get("id") == sample_id), None)
