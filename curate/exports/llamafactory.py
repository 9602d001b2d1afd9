"""Rows for LLaMA-Factory: conversations for SFT, documents as raw-template turns for continual pretraining."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import SCHEMA, Image, from_table
from curate.exports.documents import SEPARATOR, Chunk, PicturesTooLargeError, chunks
from curate.exports.job import IDENTITY, Job, ParquetFile, Split
from curate.exports.llamafactory_config import write_configuration
from curate.exports.markers import defuse_text
from curate.exports.pictures import relative_path, relative_paths
from curate.exports.turns import (
    ASSISTANT,
    SYSTEM,
    Integers,
    Turns,
    alternates,
    flat_images,
    flatten_turns,
    lengths,
    list_array,
    speaks,
    system_shows_image,
    take,
)
from curate.schemas import IMAGE_PLACEHOLDER
from curate.select.tokens import image_tokens, many_image_tokens, many_text_tokens, most_text_tokens, text_tokens

END_OF_TEXT: Final = "<|endoftext|>"
"""Closes a document. Qwen's tokenizers read it as the one token they were pretrained with."""

_MESSAGES: Final = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_COMMON: Final = [("id", pa.string()), ("source", pa.string()), ("messages", _MESSAGES)]
SFT_SCHEMA: Final = pa.schema([*_COMMON, ("system", pa.string()), ("images", pa.list_(pa.string()))])
CPT_SCHEMA: Final = pa.schema(
    [*_COMMON, ("images", pa.list_(pa.string())), ("chunk", pa.int32()), ("chunks", pa.int32())]
)


_FAST: Final = pa.ipc.IpcWriteOptions(compression="lz4")


class _PicturesFirst:
    """A Parquet file in which all rows with pictures come before all rows without.

    LLaMA-Factory lets the datasets library infer the type of the images column from the first 1,000 rows it maps, in
    each worker: if those have no picture and a later one does, loading fails ("Couldn't cast array of type list to
    null"). The rows without pictures wait in a file of their own until the end.
    """

    def __init__(self, job: Job, split: Split, schema: pa.Schema) -> None:
        self._job = job
        self._file = ParquetFile(job, split, f"{split}.parquet", schema)
        self._waiting_path = job.directory / f".{split}-without-pictures.arrow"
        self._schema = schema
        self._waiting: pa.ipc.RecordBatchFileWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        pictured = lengths(table.column("images").combine_chunks()) > 0
        if pictured.all():
            self._append(table)
            return
        self._append(table.filter(pa.array(pictured)))
        if self._waiting is None:
            self._waiting = pa.ipc.new_file(self._waiting_path, self._schema, options=_FAST)
        self._waiting.write_table(table.filter(pa.array(~pictured)).combine_chunks())

    def close(self) -> None:
        """Append the rows that waited and finish the file."""
        if self._waiting is not None:
            self._waiting.close()
            with pa.ipc.open_file(self._waiting_path) as waiting:
                for number in range(waiting.num_record_batches):
                    self._append(pa.Table.from_batches([waiting.get_batch(number)]))
            self._waiting_path.unlink()
        self._file.close()

    def _append(self, table: pa.Table) -> None:
        self._file.write(table, table.column("id"))


_LEAST_CUTOFF: Final = 2048
"""LLaMA-Factory's default."""
_SHORT: Final = int(_LEAST_CUTOFF / 1.5)
"""Tokens up to which a row needs no other."""


_NO_SYSTEM: Final = pa.scalar("")


class SftWriter:
    """Conversations as sharegpt messages, the system message in a column of its own."""

    columns: ClassVar[Sequence[str]] = (*IDENTITY, "source", "turns")

    def __init__(self, job: Job) -> None:
        self._job = job
        self._files: dict[Split, _PicturesFirst] = {}
        self._longest = _SHORT
        """Tokens of the longest row so far, estimated; shorter ones than this do not matter."""

    def add(self, table: pa.Table, split: Split) -> None:
        """Write the conversations of ``table``."""
        turns = flatten_turns(table)
        problems = {
            "turns out of order": ~(alternates(turns) & (turns.role[turns.last] == ASSISTANT)),
            "no text to learn from": ~speaks(turns, ASSISTANT),
            "picture in the system message, which trainers leave out": system_shows_image(turns),
        }
        usable = self._job.without(table, problems)
        usable = self._job.without_failed(usable, self._job.pictures.copy(flat_images(usable)))
        if not usable.num_rows:
            return
        if usable is not table:
            turns = flatten_turns(usable)
        self._job.defused += int(turns.defused.sum())
        self._note_longest(turns)
        if split not in self._files:
            self._files[split] = _PicturesFirst(self._job, split, SFT_SCHEMA)
        self._files[split].write(_sft_rows(usable, turns))

    def finish(self) -> None:
        """Close the files and write ``dataset_info.json`` and ``train.yaml``."""
        for file in self._files.values():
            file.close()
        write_configuration(self._job, stage="sft", cutoff_len=_cutoff(self._longest))

    def _note_longest(self, turns: Turns) -> None:
        image_row = np.repeat(np.arange(turns.rows), turns.images_per_row)
        pictures = _sums(image_row, many_image_tokens(turns.images), turns.rows)
        most = pictures + _sums(turns.row, most_text_tokens(turns.content) + _TURN_MARKUP, turns.rows)
        # Counting tokens costs more than the rest of an export, and few rows can be the longest.
        counted = np.flatnonzero((most > self._longest)[turns.row])
        if counted.size:
            tokens = np.zeros(len(turns.row), np.int64)
            tokens[counted] = many_text_tokens(take(turns.content, counted)) + _TURN_MARKUP
            self._longest = max(self._longest, int((pictures + _sums(turns.row, tokens, turns.rows)).max()))


_TURN_MARKUP: Final = 6
"""Tokens that the chat template puts around a turn."""


def _sums(row: Integers, values: Integers, rows: int) -> Integers:
    """The sum of the values of each row."""
    return np.bincount(row, weights=values, minlength=rows).astype(np.int64)


def _sft_rows(table: pa.Table, turns: Turns) -> pa.Table:
    messages = pa.StructArray.from_arrays([turns.roles(), turns.content], ["role", "content"])
    per_row = np.bincount(turns.row, minlength=turns.rows)
    # An empty string, not null: the datasets library would infer a null column from rows without a system message.
    system = pa.repeat(_NO_SYSTEM, turns.rows)
    if turns.has_system.any():
        messages = messages.filter(pa.array(turns.role != SYSTEM))
        per_row -= turns.has_system
        system = pc.if_else(pa.array(turns.has_system), take(turns.content, turns.first), _NO_SYSTEM)
    return pa.table(
        [
            table.column("id"),
            table.column("source"),
            list_array(per_row, messages),
            system,
            list_array(turns.images_per_row, relative_paths(turns.images)),
        ],
        schema=SFT_SCHEMA,
    )


class CptWriter:
    """Documents as turns of a raw template: the user shows pictures, the assistant is the text."""

    columns: ClassVar[Sequence[str]] = tuple(SCHEMA.names)

    def __init__(self, job: Job) -> None:
        self._job = job
        self._files: dict[Split, _PicturesFirst] = {}
        self._longest = 0
        self._cut = 0

    def add(self, table: pa.Table, split: Split) -> None:
        """Write the documents of ``table``, in chunks."""
        table = self._job.without_failed(table, self._job.pictures.copy(flat_images(table)))
        if not table.num_rows:
            return
        columns: dict[str, list[object]] = {name: [] for name in CPT_SCHEMA.names}
        too_large = np.zeros(table.num_rows, dtype=bool)
        textless = np.zeros(table.num_rows, dtype=bool)
        for position, sample in enumerate(from_table(table)):
            parts = [p if isinstance(p, str) else sample.images[p] for turn in sample.turns for p in turn.parts]
            harmless = [defuse_text(part) if isinstance(part, str) else part for part in parts]
            try:
                found = chunks(harmless, self._job.options.max_tokens or 0)
            except PicturesTooLargeError:
                too_large[position] = True
                continue
            textless[position] = not found
            self._job.defused += harmless != parts
            self._cut += len(found) > 1
            for number, chunk in enumerate(found, start=1):
                messages = list(_raw_turns(chunk, ends=number == len(found)))
                images = [piece for piece in chunk if isinstance(piece, Image)]
                self._longest = max(self._longest, _chunk_tokens(chunk))
                row = (sample.id, sample.source, messages, [relative_path(i) for i in images], number, len(found))
                for name, value in zip(CPT_SCHEMA.names, row, strict=True):
                    columns[name].append(value)
        self._job.skip(table, too_large, "pictures of one text exceed the token budget")
        self._job.skip(table, textless, "no text to learn from")
        if split not in self._files:
            self._files[split] = _PicturesFirst(self._job, split, CPT_SCHEMA)
        self._files[split].write(pa.table(columns, schema=CPT_SCHEMA))

    def finish(self) -> None:
        """Close the files and write ``dataset_info.json`` and ``train.yaml``."""
        for file in self._files.values():
            file.close()
        write_configuration(self._job, stage="cpt", cutoff_len=_cutoff(self._longest))
        if self._cut:
            self._job.notes.append(
                f"{self._cut:,} document(s) are longer than {self._job.options.max_tokens:,} tokens (estimated) and "
                "were cut into several rows with the same id"
            )


def _raw_turns(chunk: Chunk, *, ends: bool) -> Iterator[dict[str, str]]:
    """The chunk as messages that alternate, user first; ``ends`` when the document ends with it."""
    shown, text = 0, ""
    for position, piece in enumerate(chunk):
        if not isinstance(piece, str):
            shown += 1
            continue
        text = f"{text}{SEPARATOR}{piece}" if text else piece
        following = chunk[position + 1] if position + 1 < len(chunk) else None
        if isinstance(following, str):
            continue
        yield {"role": "user", "content": IMAGE_PLACEHOLDER * shown}
        yield {"role": "assistant", "content": text + (END_OF_TEXT if ends and following is None else "")}
        shown, text = 0, ""
    if shown:
        yield {"role": "user", "content": IMAGE_PLACEHOLDER * shown}
        yield {"role": "assistant", "content": END_OF_TEXT if ends else ""}


def _chunk_tokens(chunk: Chunk) -> int:
    return 1 + sum(
        text_tokens(piece) + 2 if isinstance(piece, str) else image_tokens(piece.width, piece.height) for piece in chunk
    )


def _cutoff(longest: int) -> int:
    """``cutoff_len`` that no row reaches: half as much again as the estimate, which letters without words can exceed.

    A multiple of 8, without which ``neat_packing`` crashes in LLaMA-Factory 0.9.5.
    """
    return max(_LEAST_CUTOFF, 512 * math.ceil(1.5 * longest / 512))
