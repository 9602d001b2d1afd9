"""A LLaMA-Factory dataset folder: ``dataset_info.json``, the data it names, ``train.yaml`` (LLaMA-Factory 0.9.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from curate.schemas import IMAGE_PLACEHOLDER, shown
from curate.sources.readers import BadRow, Row, parse_line
from curate.sources.validate.session import Session
from curate.sources.validate.sharegpt import ELSEWHERE, EntryError, sharegpt_layout
from curate.sources.validate.table import Pictured, Table

INFO_FILE, CONFIG_FILE = "dataset_info.json", "train.yaml"
_FILE_TYPES = {"arrow", "csv", "json", "jsonl", "parquet", "txt"}
_FIRST_ROWS, _FIRST_BYTES = 1000, 10 * 2**20
"""How far the datasets library looks before it decides on a column's type: rows it maps, bytes of a JSON-lines file."""

Split = Literal["train", "val"]


@dataclass(frozen=True)
class DataFile:
    """A file of training or validation data."""

    table: Table
    split: Split
    declared: frozenset[str] = frozenset()
    """Columns that ``dataset_info.json`` says it has."""


@dataclass(frozen=True)
class _Config:
    """What ``train.yaml`` says about the data."""

    validation: frozenset[str] = frozenset()
    media: Path = Path()


def is_dataset_info(path: Path) -> bool:
    """Whether the file is LLaMA-Factory's list of datasets, and not the one in a folder that datasets has saved."""
    if not path.is_file() or (path.parent / "state.json").exists():
        return False
    info = _parsed(path)
    return isinstance(info, BadRow) or any(
        isinstance(entry, dict) and entry.keys() & {"file_name", *ELSEWHERE} for entry in info.fields.values()
    )


def _parsed(path: Path) -> Row | BadRow:
    try:
        return parse_line(0, path.read_bytes())
    except OSError as error:
        return BadRow(0, "unreadable_file", f"it can't be read: {error.strerror}")


def data_files(folder: Path, session: Session) -> Iterator[DataFile]:
    """The local data files that ``dataset_info.json`` names; what is wrong with that file and the configuration."""
    path = folder / INFO_FILE
    if not path.is_file():
        session.report.add("error", str(path), 0, "missing_file", "LLaMA-Factory finds its data through this file")
        return
    row = _parsed(path)
    if isinstance(row, BadRow):
        session.report.add("error", str(path), 0, row.reason, row.message)
        return
    config = _check_config(folder, row.fields, session)
    place = session.place(config.media, root=folder, trainer=True)
    for name, entry in row.fields.items():
        try:
            layout = sharegpt_layout(entry)
        except EntryError as error:
            field = f"{name}.{error.place}" if error.place else name
            session.report.add(error.severity, str(path), 0, error.code, str(error), field=field)
            continue
        for file in _files(folder, name, entry, session):
            as_written = str(folder / file.relative_to(folder.resolve()))
            table = Table(file, as_written, place, format="llamafactory", adapt=layout.canonical, names=layout.renamed)
            yield DataFile(table, "val" if name in config.validation else "train", frozenset(layout.columns.values()))


def _check_config(folder: Path, info: Mapping[str, Any], session: Session) -> _Config:
    path = folder / CONFIG_FILE
    if not path.is_file():
        return _Config(media=folder)

    def add(severity: Literal["error", "warning"], place: str, code: str, message: str) -> None:
        session.report.add(severity, str(path), 0, code, message, field=place)

    try:
        config = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        add("error", "", "invalid_yaml", " ".join(str(error).split()))
        return _Config(media=folder)
    if not isinstance(config, dict):
        add("error", "", "invalid_yaml", "it must be a list of settings, NAME: VALUE")
        return _Config(media=folder)
    dataset_dir = _folder(config.get("dataset_dir"), folder)
    names: dict[str, list[str]] = {}
    for key in ("dataset", "eval_dataset"):
        value = config.get(key)
        listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
        names[key] = [name.strip() for name in listed if isinstance(name, str)]
        for name in names[key] if dataset_dir == folder.resolve() else ():
            if name not in info:
                add("error", key, "unknown_dataset", f"{INFO_FILE} has no data set {shown(name)}")
    if config.get("stage") == "pt":
        message = (
            f"this stage reads text only and would train on the word {IMAGE_PLACEHOLDER}; use sft and a raw template"
        )
        add("error", "stage", "text_only_stage", message)
    if config.get("train_on_prompt") is True:
        add("error", "train_on_prompt", "train_on_prompt", "image tokens would be part of the loss; leave it out")
    media = _folder(config.get("media_dir"), folder, default=dataset_dir)
    if not media.is_dir():
        add("error", "media_dir", "missing_folder", f"{shown(str(config.get('media_dir')))} is no folder")
        media = folder
    return _Config(frozenset(names["eval_dataset"]) - frozenset(names["dataset"]), media)


def _folder(setting: Any, folder: Path, default: Path | None = None) -> Path:
    """A folder named in the configuration, which is meant to be used from the folder it lies in."""
    if not isinstance(setting, str) or "\0" in setting:
        return default or folder.resolve()
    return (folder / setting).resolve()


def _files(folder: Path, name: str, entry: Mapping[str, Any], session: Session) -> Iterator[Path]:
    """The files of one data set, by their real paths."""

    def refuse(code: str, message: str) -> None:
        session.report.add("error", str(folder / INFO_FILE), 0, code, message, field=f"{name}.file_name")

    file_name = entry.get("file_name")
    if not isinstance(file_name, str) or "\0" in file_name:
        refuse("missing", "it must name the file or folder with the data")
        return
    path = (folder / file_name).resolve()
    if not path.is_relative_to(folder.resolve()):
        refuse("outside_root", f"{shown(file_name)} lies outside of this folder")
        return
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        refuse(
            "missing_file",
            f"{shown(file_name)} does not exist" if not path.is_dir() else "the folder must hold files only",
        )
        return
    types = {file.suffix.lower().removeprefix(".") for file in files}
    if len(types) > 1 or not types <= _FILE_TYPES:
        refuse("unsupported_file", f"all files must be of one type, which is one of {', '.join(sorted(_FILE_TYPES))}")
    elif types <= {"arrow", "txt"}:
        message = f"{types.pop()} files are not checked; write Parquet or JSON"
        session.report.add("warning", str(path), 0, "not_checked", message)
    else:
        yield from files


def check_columns(file: DataFile, session: Session) -> None:
    """Report columns that a Parquet file should have by ``dataset_info.json``: their absence stops the loader."""
    try:
        names = pq.read_schema(file.table.path).names if file.table.path.suffix.lower() == ".parquet" else None
    except (OSError, pa.ArrowException):
        return  # reading the rows says what is wrong
    for column in sorted(file.declared - set(names)) if names is not None else ():
        message = f"{INFO_FILE} names this column, and the file does not have it"
        session.report.add("error", file.table.file, 0, "missing_column", message, field=column)


def check_first_picture(file: DataFile, pictured: Pictured, session: Session) -> None:
    """Report a first picture so late that the loader has taken the column for empty by then."""
    by_bytes = file.table.path.suffix.lower() == ".jsonl" and pictured.offset >= _FIRST_BYTES
    if pictured.row > _FIRST_ROWS or by_bytes:
        start = f"{_FIRST_ROWS:,} rows" if pictured.row > _FIRST_ROWS else f"{_FIRST_BYTES // 2**20} MiB"
        message = (
            f"no row in the first {start} has a picture: the loader takes the column for empty and stops at this one; "
            "put the rows with pictures first"
        )
        session.report.add("error", file.table.file, pictured.row, "pictures_too_late", message, field="images")
