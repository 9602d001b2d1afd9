"""From what a person has at hand (an id, a row of raw data, a row of an export) to the sample that is meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson
import polars as pl

from curate.accounts.exported import corpus_of, data_files, export_around, id_of_row
from curate.accounts.lookup import first_line, is_file, objects_with
from curate.corpus import Corpus, UserError

_ID: Final = re.compile(r"[0-9a-fA-F]{1,64}")
_SHORTEST_PREFIX: Final = 6
_MERGED: Final = "duplicate"
"""The reason that an ingest gives for a row whose content it has already."""
_FILES_COMPARED: Final = 5_000
"""File names that a misspelt one is compared with; more would take seconds."""


@dataclass(frozen=True)
class Rejected:
    """A row that did not become a sample."""

    file: str
    row: int
    reason: str
    message: str


@dataclass(frozen=True)
class Found:
    """What a person meant: a sample, or a row that became none."""

    sample_id: str | None
    how: str
    """How it was found, for a person; empty for an id that was given whole."""
    rejected: Rejected | None = None
    """The row itself, when it was rejected or merged with an earlier one at ingest."""


def corpus_meant(text: str) -> Path | None:
    """The corpus that the row of an export says it was made from; None when ``text`` is no such row."""
    named = _file_row(text)
    directory = export_around(Path(named[0])) if named and is_file(Path(named[0])) else None
    return corpus_of(directory) if directory is not None else None


def find(corpus: Corpus, text: str) -> Found:
    """What ``text`` means: an id or its beginning, ``FILE:ROW`` of the raw data, or ``FILE:ROW`` of an export.

    Raises UserError when it means nothing or several things, with what comes nearest.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{text!r} is not UTF-8, and no id or file name of a corpus is anything else") from None
    named = _file_row(text)
    file, row = named if named is not None else (text, None)
    if is_file(Path(file)) and (directory := export_around(Path(file))) is not None:
        return _in_export(corpus, directory, Path(file), row)
    if named is None and _ID.fullmatch(text):
        return _by_id(corpus, text.lower())
    return _in_raw(corpus, file, row)


def merged_into(corpus: Corpus, sample_id: str) -> list[Rejected]:
    """The rows whose content was that of a sample already, so that an ingest merged them into it."""
    return [
        entry
        for entry in _rejects(corpus, sample_id.encode())
        if entry.reason == _MERGED and entry.message.endswith(sample_id)
    ]


def _file_row(text: str) -> tuple[str, int] | None:
    file, colon, row = text.rpartition(":")
    return (file, int(row)) if colon and file and row.isascii() and row.isdigit() and len(row) < 19 else None


def _in_export(corpus: Corpus, directory: Path, path: Path, row: int | None) -> Found:
    inside = path.absolute().relative_to(directory).as_posix()
    files = [file for file, _ in data_files(directory)]
    if inside not in files:
        raise UserError(f"{path} is no data file of the export in {directory}; those are: {', '.join(files)}")
    if row is None:
        raise UserError(f"{path} has many rows; say which, counted from 1: {path}:1")
    return Found(id_of_row(path, row), f"row {row:,} of {path}")


def _scan(corpus: Corpus) -> pl.LazyFrame:
    shards = corpus.shards()
    if not shards:
        raise UserError(f"{corpus.path} holds no samples; fill it with: curate ingest RAW -o {corpus.path}")
    return pl.scan_parquet(shards).select("id", "file", "row")


def _collect(corpus: Corpus, frame: pl.LazyFrame) -> pl.DataFrame:
    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"the samples in {corpus.path} cannot be read: {first_line(error)}; ingest again") from None


def _by_id(corpus: Corpus, prefix: str) -> Found:
    if len(prefix) < _SHORTEST_PREFIX:
        raise UserError(f"{prefix} is too short for an id; give at least {_SHORTEST_PREFIX} of its 64 characters")
    found = _collect(corpus, _scan(corpus).filter(pl.col("id").str.starts_with(prefix)))
    if len(found) == 1:
        return Found(found["id"][0], "" if len(prefix) == 64 else f"the one id that begins with {prefix}")
    if len(found) > 1:
        raise UserError(f"{len(found):,} ids begin with {prefix}: {_listed(found)}; give more of the one you mean")
    raise UserError(f"no sample of {corpus.path} has an id that begins with {prefix}{_nearest(corpus, prefix)}")


def _nearest(corpus: Corpus, prefix: str) -> str:
    """What comes nearest to an id that is not there: a former sample, or an id with the same beginning."""
    for path in sorted((corpus.path / "decisions").glob("*.parquet")):
        known = pl.scan_parquet(path).filter(pl.col("id").str.starts_with(prefix)).select("id")
        try:
            if len(known.collect()):
                return f"; the selection {path.stem} knows it, so it was in the corpus before the last ingest"
        except (pl.exceptions.PolarsError, OSError):
            continue
    for length in range(min(len(prefix) - 1, 16), 3, -2):
        near = _collect(corpus, _scan(corpus).filter(pl.col("id").str.starts_with(prefix[:length])).head(1))
        if len(near):
            return f"; the nearest is {_listed(near)}"
    return "; ids are in every export and in decisions/, and FILE:ROW of the raw data works too"


def _listed(frame: pl.DataFrame) -> str:
    shown = [f"{sample_id} ({file}:{row})" for sample_id, file, row in frame.head(5).iter_rows()]
    return ", ".join([*shown, *(["…"] if len(frame) > 5 else [])])


def _in_raw(corpus: Corpus, file: str, row: int | None) -> Found:
    """A sample or a reject by where it came from."""
    names = _names(corpus, file)
    at = _collect(corpus, _scan(corpus).filter(pl.col("file").is_in(names)))
    refused = [entry for name in names for entry in _rejects(corpus, _json_field("file", name)) if entry.file == name]
    if not len(at) and not refused and "/" not in file:
        at = _collect(corpus, _scan(corpus).filter(pl.col("file").str.ends_with(f"/{file}")))
    if not len(at) and not refused:
        raise UserError(f"no sample of {corpus.path} comes from {file}{_nearest_file(corpus, file)}")
    if row is None:
        if len(at) + len(refused) > 1:
            raise UserError(f"{file} has {_rows(at, refused)}; say which: {file}:ROW")
        row = int(at["row"][0]) if len(at) else refused[0].row
    samples = at.filter(pl.col("row") == row)
    if len(samples) > 1:
        raise UserError(f"{len(samples):,} samples come from {file}:{row}: {_listed(samples)}; give the id")
    if len(samples):
        return Found(samples["id"][0], f"made from {samples['file'][0]}:{row}")
    rejected = next((entry for entry in refused if entry.row in (row, 0)), None)
    if rejected is None:
        raise UserError(f"{file} has no row {row:,} in {corpus.path}; it has {_rows(at, refused)}")
    if rejected.reason == _MERGED and (into := re.search(r"[0-9a-f]{64}$", rejected.message)):
        return Found(into.group(), f"{file}:{row} has the same content and was merged into it", rejected)
    return Found(None, "", rejected)


def _names(corpus: Corpus, file: str) -> list[str]:
    """What the corpus may call a file: as it was written, or relative to one of its roots."""
    path = Path(file).absolute()
    roots = [Path(root) for root in corpus.info.roots]
    forms = [Path(file).as_posix(), file]
    for form in (path, path.resolve()):
        forms += [form.relative_to(root).as_posix() for root in roots if form.is_relative_to(root)]
    return list(dict.fromkeys(forms))


def _rows(at: pl.DataFrame, refused: list[Rejected]) -> str:
    samples, rejects = sorted(at["row"].to_list()), sorted(entry.row for entry in refused)
    said = [
        f"{len(rows):,} {what} ({'row' if len(rows) == 1 else 'rows'} {_range(rows)})"
        for what, rows in (("sample(s)", samples), ("reject(s)", rejects))
        if rows
    ]
    return " and ".join(said)


def _range(rows: list[int]) -> str:
    return f"{rows[0]}" if rows[0] == rows[-1] else f"{rows[0]} to {rows[-1]}"


def _nearest_file(corpus: Corpus, file: str) -> str:
    names = _collect(corpus, _scan(corpus).select(pl.col("file").unique()).head(_FILES_COMPARED))["file"].to_list()
    near = difflib.get_close_matches(file, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    shown = ", ".join(sorted(names)[:3])
    return f"; its samples come from files such as {shown}. A row is named FILE:ROW, counted from 1"


def _json_field(name: str, value: str) -> bytes:
    return orjson.dumps({name: value})[1:-1]


def _rejects(corpus: Corpus, text: bytes) -> Iterator[Rejected]:
    for path in sorted((corpus.path / "rejects").glob("*.jsonl")):
        for _, entry in objects_with(path, text):
            row = entry.get("row")
            yield Rejected(
                str(entry.get("file")),
                row if isinstance(row, int) else 0,
                str(entry.get("reason")),
                str(entry.get("message")),
            )
