"""Checks of what a trainer reads: exports of curate, LLaMA-Factory dataset folders, verl's train and val files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.schemas import FORMATS, recognise, shown
from curate.sources.readers import Row, read_rows
from curate.sources.validate.llamafactory import (
    INFO_FILE,
    DataFile,
    check_columns,
    check_first_picture,
    data_files,
    is_dataset_info,
)
from curate.sources.validate.session import Session
from curate.sources.validate.table import Table

MARKER = "export.json"
"""Describes an export of curate, which is its writer."""
_MARKER_KIND = "medcurate-export"
_VERL_FILES = ("train.parquet", "val.parquet")

_CORPUS = "corpus.json"
_CORPUS_FORMAT = "medcurate-corpus"

Layout = Literal["export", "corpus", "llamafactory", "verl"]

ROWS_OF_EXPORT = {"llamafactory-sft": "llamafactory", "llamafactory-cpt": "llamafactory", "jsonl": "sample"}
"""Record format of the rows, for exports that have a name of their own."""
TRAINER_ROWS = frozenset({"verl", "llamafactory"})
"""Record formats that a trainer reads as they are."""


def row_format(name: str) -> str:
    """The record format of the rows of what is called ``name`` on the command line."""
    return ROWS_OF_EXPORT.get(name, name)


def layout(folder: Path) -> Layout | None:
    """What the folder holds that is not raw data, by the files in it."""
    if _marker(folder) is not None:
        return "export"
    if (_json_object(folder / _CORPUS) or {}).get("format") == _CORPUS_FORMAT:
        return "corpus"
    if is_dataset_info(folder / INFO_FILE):
        return "llamafactory"
    return "verl" if any(_has_verl_columns(folder / name) for name in _VERL_FILES) else None


def find_exports(root: Path) -> Iterator[str]:
    """Folders below ``root`` that :func:`layout` recognises, relative to it; none inside of another."""
    telling = {MARKER, _CORPUS, INFO_FILE, *_VERL_FILES}
    for folder, subfolders, files in os.walk(root):
        if telling.intersection(files) and layout(Path(folder)):
            yield Path(folder).relative_to(root).as_posix()
            subfolders.clear()
        subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name != "__MACOSX")


def check_export(folder: Path, kind: Layout, session: Session) -> None:
    """Check everything in a folder that :func:`layout` recognised."""
    if kind == "corpus":
        message = "a corpus, which ingest has checked; validate the raw data, or what is exported"
        session.report.add("warning", str(folder), 0, "not_checked", message)
        return
    marker = (_marker(folder) or {}) if kind == "export" else {}
    name = session.options.format or str(marker.get("format", kind))
    if name.startswith("llamafactory"):
        files = list(data_files(folder, session))
    elif row_format(name) in FORMATS:
        files = list(_named_files(folder, marker, row_format(name), session))
    else:
        session.report.add("error", str(folder / MARKER), 0, "unknown_format", f"there is no format {shown(name)}")
        return
    _check_sides(files, session)
    for file in files:
        _check_row_count(file, folder, marker, session)
    if name == "verl":
        _check_types_agree(files, session)


def check_data_file(file: DataFile, session: Session) -> None:
    """Check the rows of one file of training data, and what its trainer needs of the file as a whole."""
    table = file.table
    if not table.path.is_file():
        session.report.add("error", table.file, 0, "missing_file", "it does not exist")
        return
    check_columns(file, session)
    pictured = session.check_file(replace(table, image_feature=_has_image_feature(table.path)))
    if table.format == "llamafactory":
        check_first_picture(file, pictured, session)


def rows_for_trainer(path: Path, named: str | None) -> bool:
    """Whether a file that is named itself holds rows that a trainer reads as they are; its first row decides."""
    if named is not None:
        return row_format(named) in TRAINER_ROWS
    try:
        first = next(read_rows(path), None)
    except RecursionError:
        return False  # checking the rows says which one is nested too deep
    return isinstance(first, Row) and recognise(first.fields) in TRAINER_ROWS


def _named_files(folder: Path, marker: Mapping[str, Any], rows: str, session: Session) -> Iterator[DataFile]:
    """The files that ``export.json`` lists, or verl's two."""
    place = session.place(folder, trainer=rows in TRAINER_ROWS)
    listed = [(entry["path"], entry.get("split")) for entry in _listed_files(marker)]
    for path, split in listed or [(name, Path(name).stem) for name in _VERL_FILES if (folder / name).is_file()]:
        if not (folder / path).resolve().is_relative_to(folder.resolve()):
            session.report.add(
                "error", str(folder / MARKER), 0, "outside_root", f"{shown(path)} lies outside of the export"
            )
            continue
        table = Table(folder / path, str(folder / path), place, format=rows)
        yield DataFile(table, "val" if split == "val" else "train")


def _listed_files(marker: Mapping[str, Any]) -> list[dict[str, Any]]:
    files = marker.get("files")
    entries = files if isinstance(files, list) else []
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("path"), str)]


def _check_sides(files: Sequence[DataFile], session: Session) -> None:
    """Check the rows of all files, and that no picture is in training and in validation data.

    Validation files come first, so that only their pictures have to be remembered.
    """
    for file in files:
        session.report.group(file.table.file)
    seen: dict[bytes, tuple[Table, int, str]] = {}
    both = len({file.split for file in files}) == 2

    def note(table: Table, row: int, place: str, digest: bytes) -> None:
        seen.setdefault(digest, (table, row, place))

    def compare(table: Table, row: int, _: str, digest: bytes) -> None:
        if (found := seen.pop(digest, None)) is not None:
            other, other_row, place = found
            message = (
                f"the same picture is in {table.path.name} row {row}: a model must not be tested on what it has seen"
            )
            session.report.add("error", other.file, other_row, "picture_in_both_splits", message, field=place)

    for file in sorted(files, key=lambda file: file.split == "train"):
        hook = partial(note if file.split == "val" else compare, file.table) if both else None
        check_data_file(replace(file, table=replace(file.table, on_picture=hook)), session)


def _check_row_count(file: DataFile, folder: Path, marker: Mapping[str, Any], session: Session) -> None:
    """Compare the rows that are there with those that ``export.json`` says were written."""
    place = file.table.path.resolve()
    for entry in _listed_files(marker):
        written, found = entry.get("rows"), session.report.group(file.table.file).rows
        if (folder / entry["path"]).resolve() == place and isinstance(written, int) and written != found:
            message = (
                f"{MARKER} says that {written:,} row(s) were written, {found:,} are there: the file was cut or changed"
            )
            session.report.add("error", file.table.file, 0, "row_count", message)


def _check_types_agree(files: Sequence[DataFile], session: Session) -> None:
    """Report columns of another type than in the first file: they can't be joined, and a reward gets other values."""
    first: DataFile | None = None
    known: dict[str, str] = {}
    for file in sorted(files, key=lambda file: file.split == "val"):
        types = _column_types(file.table.path)
        for column in sorted(types.keys() & known.keys()):
            if first is not None and types[column] != known[column]:
                message = f"its type is {types[column]} here and {known[column]} in {first.table.path.name}"
                session.report.add("error", file.table.file, 0, "column_types", message, field=column)
        if types and first is None:
            first, known = file, types


def _column_types(path: Path) -> dict[str, str]:
    """Arrow types of a Parquet file's columns and struct fields by dotted path; null fits any type and is left out."""
    found: dict[str, str] = {}

    def collect(place: str, kind: pa.DataType) -> None:
        if pa.types.is_struct(kind):
            for child in kind:
                collect(f"{place}.{child.name}", child.type)
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            collect(f"{place}[]", kind.value_type)
        elif not pa.types.is_null(kind):
            found[place] = str(kind).removeprefix("large_")

    schema = _schema(path)
    for column in schema or ():
        collect(column.name, column.type)
    return found


def _schema(path: Path) -> pa.Schema | None:
    try:
        return pq.read_schema(path) if path.suffix.lower() == ".parquet" else None
    except (OSError, pa.ArrowException):
        return None


def _has_verl_columns(path: Path) -> bool:
    schema = _schema(path) if path.is_file() else None
    return schema is not None and recognise(dict.fromkeys(schema.names)) == "verl"


def _has_image_feature(path: Path) -> bool:
    """Whether a Parquet file's metadata declares ``images`` as Hugging Face ``Image`` cells."""
    schema = _schema(path)
    metadata = (schema.metadata or {}) if schema is not None else {}
    try:
        features = orjson.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]["images"]
    except (KeyError, TypeError, orjson.JSONDecodeError):
        return False
    return b'"_type":"Image"' in orjson.dumps(features)


def _marker(folder: Path) -> dict[str, Any] | None:
    marker = _json_object(folder / MARKER)
    return marker if marker is not None and marker.get("kind") == _MARKER_KIND else None


def _json_object(path: Path) -> dict[str, Any] | None:
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return content if isinstance(content, dict) else None
