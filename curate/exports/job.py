"""What the writers of all formats share while an export runs: where to write, what was left out, what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Any, ClassVar, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.exports.background import Behind
from curate.exports.options import ExportOptions
from curate.exports.pictures import Failures, Pictures
from curate.exports.turns import Flags, Integers, lengths
from curate.select.utf8 import characters

Split = Literal["train", "val"]

IDENTITY: Final = ("id", "file", "row", "images")
"""Columns that say which sample was left out and why."""

BATCH_BYTES = 32 * 2**20
"""Pictures held in memory at a time, and so the size of a row group with embedded pictures."""


@dataclass
class ExportedFile:
    """One data file of an export."""

    path: str
    """Relative to the export."""
    split: Split
    rows: int = 0
    sample_count: int = 0
    """Samples in it: fewer than rows where long documents are cut into several, or samples are repeated."""
    samples: str = ""
    """SHA-256 over the ids of its samples, in order: equal content gives an equal hash."""


@dataclass
class Job:
    """One running export."""

    directory: Path
    """Where files are written; it is renamed to ``destination`` when all of them are."""
    destination: Path
    options: ExportOptions
    pictures: Pictures
    files: list[ExportedFile] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """Selected samples that could not be written, by reason."""
    examples: list[str] = field(default_factory=list)
    """The first of them, as sentences."""
    defused: int = 0
    """Samples in whose text a marker such as ``<image>`` was written as ``< image>``."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user about what was written."""
    writing: Behind = field(default_factory=Behind)
    """Where Parquet is written, while the rows after it are made."""
    again: bool = False
    """Whether what is written now was written, and counted, before."""
    _stack: ExitStack = field(default_factory=ExitStack)
    _skipped_file: IO[bytes] | None = None

    def __enter__(self) -> Job:
        self._stack.enter_context(self.writing)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    @contextmanager
    def repeating(self) -> Iterator[None]:
        """While samples are written once more: rows are counted, samples and what was found in them are not."""
        defused, self.again = self.defused, True
        try:
            yield
        finally:
            self.defused, self.again = defused, False

    def open(self, path: str) -> IO[bytes]:
        """A new file of the export, closed with it."""
        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return self._stack.enter_context(target.open("wb"))

    def skip(self, table: pa.Table, rows: Flags, reason: str, detail: list[str] | None = None) -> None:
        """Note the flagged samples of ``table`` as left out, with one sentence each in ``skipped.jsonl``."""
        chosen = np.flatnonzero(rows)
        if not chosen.size or self.again:
            return
        self.skipped[reason] += chosen.size
        if self._skipped_file is None:
            self._skipped_file = self.open("skipped.jsonl")
        known = table.select(["id", "file", "row"]).take(pa.array(chosen)).to_pylist()
        for place, row in zip(chosen, known, strict=True):
            sentence = detail[place] if detail is not None else reason
            self._skipped_file.write(orjson.dumps({**row, "reason": sentence}, option=orjson.OPT_APPEND_NEWLINE))
            if len(self.examples) < 10:
                self.examples.append(f"{row['file']}:{row['row']}: {sentence}")

    def without(self, table: pa.Table, problems: Mapping[str, Flags]) -> pa.Table:
        """``table`` without the samples flagged under any reason, each noted under the first."""
        left_out = np.zeros(table.num_rows, dtype=bool)
        for reason, flags in problems.items():
            self.skip(table, flags & ~left_out, reason)
            left_out |= flags
        return table.filter(pa.array(~left_out)) if left_out.any() else table

    def without_failed(self, table: pa.Table, failed: Failures) -> pa.Table:
        """``table`` without the samples that have a picture in ``failed``."""
        if not failed:
            return table
        detail = [
            next((failed[image["sha256"]] for image in images if image["sha256"] in failed), "")
            for images in table.column("images").to_pylist()
        ]
        left_out = np.array([bool(text) for text in detail])
        self.skip(table, left_out, "picture missing or changed", detail)
        return table.filter(pa.array(~left_out))


class RowWriter(Protocol):
    """Writes samples in one format."""

    columns: ClassVar[Sequence[str]]
    """What it reads of ``curate.corpus.SCHEMA``."""

    def add(self, table: pa.Table, split: Split) -> None:
        """Write the samples of ``table``, which has :attr:`columns`, to one side of the split."""

    def finish(self) -> None:
        """Write what belongs beside the data: descriptions and configurations."""


class ParquetFile:
    """One Parquet file of an export; it is created with its first row."""

    def __init__(self, job: Job, split: Split, path: str, schema: pa.Schema, **options: Any) -> None:
        self._job, self._path, self._schema = job, path, schema
        # As pyarrow and datasets write by default: zstd makes texts a third smaller and takes 1.6 times as long.
        self._options = {"compression": "snappy", **options}
        self._writer: pq.ParquetWriter | None = None
        self._ids = sha256()
        self._starts: list[npt.NDArray[np.bytes_]] = []
        """The first 16 characters of each row's id: they tell samples apart, of which one may have several rows."""
        self.description = ExportedFile(path, split)

    def write(self, table: pa.Table, ids: pa.ChunkedArray) -> None:
        """Append rows as one row group. ``ids`` are the samples they come from."""
        if not table.num_rows:
            return
        self._job.writing.run(partial(self._append, table, ids))
        self.description.rows += table.num_rows

    def _append(self, table: pa.Table, ids: pa.ChunkedArray) -> None:
        if self._writer is None:
            # By path: through a Python file Arrow writes at half the speed.
            self._writer = pq.ParquetWriter(self._job.directory / self._path, self._schema, **self._options)
        self._writer.write_table(table, row_group_size=table.num_rows)
        for chunk in ids.chunks:
            text = characters(chunk)
            self._ids.update(text.data)
            self._starts.append(np.ascontiguousarray(text.reshape(len(chunk), -1)[:, :16]).view("S16").ravel())

    def close(self) -> None:
        """Finish the file and, if it has any rows, list it in the export."""
        self._job.writing.wait()
        if self._writer is not None:
            self._writer.close()
            self.description.samples = self._ids.hexdigest()
            self.description.sample_count = len(np.unique(np.concatenate(self._starts)))
            self._job.files.append(self.description)


def batches_by_picture_size(table: pa.Table, limit: int = BATCH_BYTES) -> Iterator[pa.Table]:
    """``table`` cut into slices whose pictures have at most ``limit`` bytes together, or a single sample."""
    images = table.column("images").combine_chunks()
    per_row = lengths(images)
    sizes = images.flatten().field("size").to_numpy(zero_copy_only=False)
    row = np.repeat(np.arange(table.num_rows), per_row)
    total: Integers = np.cumsum(np.bincount(row, weights=sizes, minlength=table.num_rows)).astype(np.int64)
    start, spent = 0, 0
    while start < table.num_rows:
        stop = max(start + 1, int(np.searchsorted(total, spent + limit, side="right")))
        yield table.slice(start, stop - start)
        start, spent = stop, int(total[stop - 1])
