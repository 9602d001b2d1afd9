"""Pictures on their way out: copied or embedded byte for byte, never decoded, each checked against its hash."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.corpus import Corpus, Image, UserError
from curate.engine import usable_cores
from curate.exports.background import ahead
from curate.exports.turns import Integers, flat_images

FOLDER: Final = "images"
_SUFFIX: Final = {"png": "png", "jpeg": "jpg"}
_FOLDER, _SLASH, _NOTHING = (pa.scalar(text) for text in (f"{FOLDER}/", "/", ""))

Result = TypeVar("Result")
Failures = dict[str, str]
"""What went wrong with pictures, by their SHA-256."""


def relative_path(image: Image) -> str:
    """Where a picture lies in an export: ``images/ab/abcd….png``, named by the SHA-256 of its bytes."""
    return f"{FOLDER}/{image.sha256[:2]}/{image.sha256}.{_SUFFIX[image.format]}"


def relative_paths(images: pa.StructArray) -> pa.StringArray:
    """:func:`relative_path` of many pictures at once."""
    name, kinds = images.field("sha256"), images.field("format").dictionary_encode()
    suffix = pa.array([f".{_SUFFIX[kind]}" for kind in kinds.dictionary.to_pylist()], pa.string()).take(kinds.indices)
    return pc.binary_join_element_wise(_FOLDER, pc.utf8_slice_codeunits(name, 0, 2), _SLASH, name, suffix, _NOTHING)


def data_uri(image: Image, data: bytes | memoryview) -> str:
    """A picture written inline."""
    return f"data:image/{image.format};base64,{base64.b64encode(data).decode()}"


class Contents:
    """The bytes of pictures by their hash, one after the other in one block, as an Arrow column wants them."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        ends = np.cumsum([0, *sizes.values()])
        # From Arrow, which hands out the memory of the block before: new pages would have to be cleared by the kernel.
        block = pa.allocate_buffer(int(ends[-1]))
        self._block = memoryview(block)
        self._start = dict(zip(sizes, ends[:-1].tolist(), strict=True))
        self._size = sizes
        offsets = pa.py_buffer(ends.astype(np.int32))
        self._column = pa.Array.from_buffers(pa.binary(), len(sizes), [None, offsets, block])

    def place(self, sha256: str) -> memoryview:
        """Where a picture's bytes are, or are to be put."""
        return self._block[self._start[sha256] : self._start[sha256] + self._size[sha256]]

    def column(self, hashes: Sequence[str]) -> pa.BinaryArray:
        """The bytes of pictures in this order; not copied when it is that of the block."""
        if list(hashes) == list(self._start):
            return self._column
        position = {sha256: number for number, sha256 in enumerate(self._start)}
        return self._column.take(pa.array([position[sha256] for sha256 in hashes], pa.int64()))


class Pictures:
    """Reads pictures of a corpus, several at a time; a context manager, because it holds threads."""

    def __init__(self, corpus: Corpus, directory: Path) -> None:
        self._corpus = corpus
        self._directory = directory
        self._threads = min(16, 4 * usable_cores())
        self._pool = ThreadPoolExecutor(self._threads)
        self._ahead = ThreadPoolExecutor(1)
        self._last: Set[str] = frozenset()
        """Pictures of the latest call of :meth:`copy`: neighbouring shards often show the same."""
        self.copied = 0
        """Distinct pictures written to the export's own image folder."""

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, *_: object) -> None:
        self._ahead.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def copy(self, images: pa.StructArray) -> Failures:
        """Copy the pictures that are not there yet; what could not be copied, and why."""
        distinct = distinct_images(images)
        new = {sha256: copies for sha256, copies in distinct.items() if sha256 not in self._last}
        folders = [self._directory / FOLDER / name for name in sorted({sha256[:2] for sha256 in new})]
        for folder in folders:  # not in the threads, which would wait for each other inside the kernel
            folder.mkdir(parents=True, exist_ok=True)
        done, failed = self._each(new, self._copy_one)
        if failed:
            _remove_empty([*folders, self._directory / FOLDER])
        self.copied += sum(done.values())
        self._last = distinct.keys() - failed.keys()
        return failed

    def read(self, images: pa.StructArray) -> tuple[Contents, Failures]:
        """The bytes of every picture by its hash, and what could not be read."""
        distinct = distinct_images(images)
        contents = Contents({sha256: copies[0].size for sha256, copies in distinct.items()})
        _, failed = self._each(distinct, lambda image: self._read_one(image, contents.place(image.sha256)))
        return contents, failed

    def read_ahead(self, tables: Iterable[pa.Table]) -> Iterator[tuple[pa.Table, Contents, Failures]]:
        """:meth:`read` the pictures of each table of samples, the next table's while the caller works on one."""
        return ahead(self._ahead, lambda table: (table, *self.read(flat_images(table))), tables)

    def _copy_one(self, image: Image) -> bool:
        target = self._directory / relative_path(image)
        if target.exists():
            return False
        data = self._corpus.image_bytes(image)
        target.write_bytes(data)
        return True

    def _read_one(self, image: Image, place: memoryview) -> None:
        """Read a picture straight to its place, and check it there."""
        try:
            with self._corpus.image_path(image).open("rb", buffering=0) as file:
                whole = file.readinto(place) == len(place) and not file.read(1)
        except OSError:
            whole = False
        if not whole or hashlib.sha256(place).hexdigest() != image.sha256:
            place[:] = self._corpus.image_bytes(image)  # which says what is wrong, or reads it after all

    def _each(
        self, distinct: Mapping[str, list[Image]], action: Callable[[Image], Result]
    ) -> tuple[dict[str, Result], Failures]:
        """``action`` on every distinct picture, in threads: reading and hashing both leave Python's lock."""

        def attempt(copies: Sequence[Image]) -> tuple[Result | None, str | None]:
            problems = []
            for image in copies:
                try:
                    return action(image), None
                except UserError as error:
                    problems.append(str(error))
            return None, problems[0]

        def attempt_all(pictures: Sequence[Sequence[Image]]) -> list[tuple[Result | None, str | None]]:
            return [attempt(copies) for copies in pictures]

        done: dict[str, Result] = {}
        failed: Failures = {}
        # Several at once: handing a picture to a thread costs as much as reading it.
        size = max(1, len(distinct) // (4 * self._threads))
        pictures = list(distinct.values())
        pieces = [pictures[start : start + size] for start in range(0, len(pictures), size)]
        results = chain.from_iterable(self._pool.map(attempt_all, pieces))
        for sha256, (result, problem) in zip(distinct, results, strict=True):
            if problem is None:
                done[sha256] = result  # type: ignore[assignment]
            else:
                failed[sha256] = problem
        return done, failed


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def distinct_images(images: pa.StructArray) -> dict[str, list[Image]]:
    """Every picture once, by its hash and in the order of first use, with each place where it can be read."""
    place: Integers = np.zeros(len(images), np.int64)
    for name in ("sha256", "root", "path"):
        codes = images.field(name).dictionary_encode("encode").indices.to_numpy()
        numbered = pa.array(place * (len(images) + 1) + codes).dictionary_encode()  # by their first use
        place = numbered.indices.to_numpy().astype(np.int64)
    first = np.zeros(place.max(initial=-1) + 1, np.int64)
    first[place[::-1]] = np.arange(len(images))[::-1]
    found: dict[str, list[Image]] = {}
    for row in images.take(pa.array(first)).to_pylist():
        found.setdefault(row["sha256"], []).append(Image(**row))
    return found
