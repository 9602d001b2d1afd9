"""The journal: every answer that was received, on disk before it counts, so that none is paid for twice.

Append-only JSONL segments in ``CORPUS/journal``. A line starts with ``{"key":"<64 hex>","ok":true`` so that it can be
indexed without parsing. Images and keys are never in it.
"""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from curate.corpus import UserError, sync_directory

SEGMENT_BYTES = 256 * 1024 * 1024
_PREFIX, _KEY_END = b'{"key":"', 72
_GOOD = b'","ok":true,'
_OFFSET_BITS = 40
_RECENT = 50_000


class Journal:
    """Answers by request key. One process writes at a time (the corpus' lock sees to that)."""

    def __init__(self, folder: Path) -> None:
        """Open the journal in ``folder`` and index it. A line that a crash left unfinished is cut off.

        Raises UserError when it cannot be read or written.
        """
        self._folder = folder
        self._segments: list[int] = []  # File descriptors for reading.
        # Starts of keys, sorted, and where the answers are. Replaced as one, since other threads look things up.
        self._sorted = np.empty(0, np.uint64), np.empty(0, np.uint64)
        self._recent: dict[bytes, int] = {}
        self._waiting: list[tuple[bytes, bytes, bool, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._unwritten = 0
        self._problem: UserError | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paths = sorted(folder.glob("segment-*.jsonl")) or [self._path(0)]
            if paths != [self._path(number) for number in range(len(paths))]:
                raise UserError(f"{folder}: segments of the journal are missing; restore them, or move the folder away")
            self._file = os.open(paths[-1], os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._end = _whole_lines(self._file)
            sync_directory(folder)
            self._segments = [os.open(path, os.O_RDONLY) for path in paths]
            self._index()
        except OSError as error:
            raise UserError(f"{folder}: {error.strerror}") from None

    async def finish(self) -> None:
        """Wait until everything is written, then close."""
        if self._writing is not None:
            await self._writing
        self.close()

    def close(self) -> None:
        """Release the files."""
        for descriptor in {*self._segments, self._file}:
            os.close(descriptor)

    def __len__(self) -> int:
        return len(self._sorted[0]) + len(self._recent)

    def find(self, key: str) -> dict[str, Any] | None:
        """The latest good answer to a request, or None. May be called from any thread."""
        name = bytes.fromhex(key)
        place = self._recent.get(name)
        for candidate in self._candidates(name) if place is None else [place]:
            line = self._read(candidate)
            if line.startswith(b'{"key":"' + key.encode() + _GOOD):
                entry: dict[str, Any] = orjson.loads(line)
                return entry
        return None

    async def append(self, key: str, entry: dict[str, Any], *, ok: bool) -> None:
        """Store an answer; returns when it is on the disk. Answers that come meanwhile share the next write.

        Raises UserError when it cannot be written; the journal then ends with the last answer that could.
        """
        line = orjson.dumps({"key": key, "ok": ok, **entry}) + b"\n"
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((bytes.fromhex(key), line, ok, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_waiting())
        self._unwritten += 1
        try:
            await asyncio.shield(done)
        finally:
            self._unwritten -= 1

    async def room(self, most: int) -> None:
        """Wait for the disk while ``most`` answers are on their way to it: they are what a crash would lose.

        Raises UserError once an answer could not be written: the next one would be paid for and lost as well.
        """
        while self._writing is not None and not self.has_room(most):
            await asyncio.wait({self._writing})
        if self._problem is not None:
            raise self._problem

    def has_room(self, most: int) -> bool:
        """Whether :meth:`room` would let an answer come without waiting or raising."""
        return self._problem is None and (self._unwritten < most or self._writing is None)

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                try:
                    await asyncio.to_thread(self._write, b"".join(line for _, line, _, _ in batch))
                except OSError as error:
                    self._problem = UserError(
                        f"{self._folder}: {error.strerror}; answers up to here are kept, run again"
                    )
                    for _, _, _, done in batch:
                        if not done.done():
                            done.set_exception(self._problem)
                    continue
                self._batch_is_safe(batch)
        finally:
            self._writing = None

    def _write(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, self._end)
            raise

    def _batch_is_safe(self, batch: list[tuple[bytes, bytes, bool, asyncio.Future[None]]]) -> None:
        for name, line, ok, done in batch:
            if ok:
                self._recent[name] = (len(self._segments) - 1) << _OFFSET_BITS | self._end
            self._end += len(line)
            if not done.done():
                done.set_result(None)
        if len(self._recent) > _RECENT:
            self._sort_in(array("Q", map(_start, self._recent)), array("Q", self._recent.values()))
            self._recent = {}
        if self._end > SEGMENT_BYTES:
            self._next_segment()

    def _next_segment(self) -> None:
        path = self._path(len(self._segments))
        os.close(self._file)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self._segments.append(os.open(path, os.O_RDONLY))
        self._end = 0
        sync_directory(self._folder)

    def _path(self, number: int) -> Path:
        return self._folder / f"segment-{number:05d}.jsonl"

    def _index(self) -> None:
        """Note where the good answers are: 16 bytes an answer, the first 64 bits of its key and its place."""
        keys, places = array("Q"), array("Q")
        for number, descriptor in enumerate(self._segments):
            for offset, head in _heads(descriptor):
                if head[_KEY_END:] != _GOOD or not head.startswith(_PREFIX):
                    continue
                try:
                    keys.append(int(head[len(_PREFIX) : len(_PREFIX) + 16], 16))
                except ValueError:
                    continue
                places.append(number << _OFFSET_BITS | offset)
        self._sort_in(keys, places)

    def _sort_in(self, keys: array[int], places: array[int]) -> None:
        all_keys = np.concatenate([self._sorted[0], np.frombuffer(keys, np.uint64)])
        all_places = np.concatenate([self._sorted[1], np.frombuffer(places, np.uint64)])
        order = np.argsort(all_keys, kind="stable")
        self._sorted = all_keys[order], all_places[order]

    def _candidates(self, name: bytes) -> Iterator[int]:
        """Places of answers whose key starts like this one, the latest first."""
        keys, places = self._sorted
        start = np.uint64(_start(name))
        first, last = np.searchsorted(keys, start, "left"), np.searchsorted(keys, start, "right")
        return (int(place) for place in places[first:last][::-1])

    def _read(self, place: int) -> bytes:
        descriptor, offset = self._segments[place >> _OFFSET_BITS], place & ((1 << _OFFSET_BITS) - 1)
        line = b""
        while True:
            chunk = os.pread(descriptor, 4096, offset + len(line))
            head, newline, _ = chunk.partition(b"\n")
            line += head
            if newline or not chunk:
                return line


def _start(name: bytes) -> int:
    return int.from_bytes(name[:8], "big")


def _whole_lines(descriptor: int) -> int:
    """Cut off what comes after the last newline; the size that remains."""
    size = os.fstat(descriptor).st_size
    end = size
    while end:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end != size:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
    return end


def _heads(descriptor: int) -> Iterator[tuple[int, bytes]]:
    """Where each line starts and its first bytes."""
    length = _KEY_END + len(_GOOD)
    with os.fdopen(os.dup(descriptor), "rb", buffering=1 << 20) as file:
        file.seek(0)
        offset = 0
        for line in file:
            yield offset, line[:length]
            offset += len(line)
