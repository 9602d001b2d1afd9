"""The rows of everything under the inputs, in chunks, in an order that depends on nothing but their content."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from curate.sources.article_files import ALLOWED_LICENSES
from curate.sources.chunks import Chunk, Rows
from curate.sources.locations import real_path
from curate.sources.readers import BadRow, Line, Row, read_lines, read_rows
from curate.sources.rejects import Reject, RejectError
from curate.sources.staging import location_key
from curate.sources.walk import Item, walk

_MAX_BYTES = 8 * 2**20
"""Of a chunk: of a larger row there is one in a chunk."""
_MAX_ROWS, _MAX_PARSED = 512, 64
_SECONDS = 0.1
"""Work in a chunk: much more than it costs to send it, little to wait for at the end."""


class Inputs:
    """Reads the inputs, once, from the start to the end."""

    def __init__(
        self,
        inputs: Sequence[Path],
        roots: tuple[Path, ...],
        columns: Mapping[str, str],
        licenses: Collection[str] = ALLOWED_LICENSES,
    ) -> None:
        self._inputs, self._roots, self._columns, self._licenses = inputs, roots, columns, licenses
        # Images without sidecars wait here, not in memory, until all records have been seen.
        self._bare = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the reader goes
        self._chunk_rows = 16

    def chunks(self, skip: int = 0) -> Iterator[Chunk]:
        """Every row but the first ``skip``, in lists that are worth a process' while but never hold much memory."""
        chunk = Chunk()
        for root, file, rows in self._files():
            part: Rows | None = None
            for row in rows:
                if skip:
                    skip -= 1
                    continue
                if part is None:
                    chunk.files.append(part := Rows(root, file))
                part.rows.append(row)
                chunk.rows += 1
                if isinstance(row, Line):
                    chunk.size += len(row.text)
                elif isinstance(row, Row):
                    chunk.size += _weight(row.fields) + _MAX_BYTES // _MAX_PARSED
                if chunk.rows >= self._chunk_rows or chunk.size >= _MAX_BYTES:
                    yield chunk
                    chunk, part = Chunk(), None
        if chunk.rows:
            yield chunk

    def adapt(self, rows: int, seconds: float) -> None:
        """Make chunks larger or smaller by the time that one took: a row may be a sentence or a volume of DICOM."""
        if rows >= self._chunk_rows or seconds > _SECONDS:
            wanted = int(rows * _SECONDS / max(seconds, 1e-9))
            self._chunk_rows = max(1, min(wanted, 2 * self._chunk_rows, _MAX_ROWS))

    def _files(self) -> Iterator[tuple[int, str, Iterator[Line | Row | BadRow]]]:
        """For every file with rows the number of its input, its name, and its rows."""
        for number, place in enumerate(self._inputs):
            root = self._roots[number]
            for item in walk(place):
                if isinstance(item, Reject):
                    yield number, item.file, iter([BadRow(item.row, item.reason, item.message)])
                elif item.use == "captioned":
                    yield number, item.path, sidecar_rows(root, item, self._columns)
                elif item.use == "bare_image":
                    self._bare.write(orjson.dumps((number, item.path), option=orjson.OPT_APPEND_NEWLINE))
                else:
                    yield number, item.path, read_lines(root / item.path, self._columns, self._licenses)

    def undescribed_images(self, is_referenced: Callable[[int], bool]) -> Iterator[Reject]:
        """Images among the inputs, once the :meth:`chunks` are through, that no record and no sidecar speaks of."""
        self._bare.seek(0)
        for line in self._bare:
            number, path = orjson.loads(line)
            root = self._roots[number]
            try:
                real = real_path(root / path)
            except RejectError as error:  # it has become something else since it was listed
                yield Reject(path, 0, error.reason, str(error))
                continue
            if real is None:
                continue
            shown = real.relative_to(root).as_posix() if real.is_relative_to(root) else path
            if not is_referenced(location_key(number, shown)):
                yield undescribed_image(path)


def _weight(value: Any) -> int:
    """Characters and bytes in a row: nearly all of its memory."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    return sum(map(_weight, value)) if isinstance(value, list) else 0


def undescribed_image(shown: str) -> Reject:
    """What to say of an image that nothing describes."""
    message = "no usable record refers to this image, and no .txt or .json beside it describes it"
    return Reject(shown, 0, "image_without_text", message)


def sidecar_rows(root: Path, item: Item, columns: Mapping[str, str]) -> Iterator[Row | BadRow]:
    """The records that an image's sidecar files describe; a ``.txt`` gives the text that a ``.json`` may lack."""
    name = item.path.rsplit("/", 1)[-1]
    text: str | None = None
    rows: list[Row | BadRow] = []
    for sidecar in item.sidecars:
        if sidecar.endswith(".json"):
            rows += read_rows(root / sidecar, columns)
            continue
        try:
            text = (root / sidecar).read_bytes().decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            yield BadRow(0, "not_utf8", f"{sidecar}: byte {error.start + 1} is not UTF-8")
            return
        except OSError as error:
            yield BadRow(0, "unreadable_file", f"{sidecar}: {error.strerror}")
            return
    for row in rows or [Row(1, {})]:
        if isinstance(row, BadRow):
            yield row
            continue
        fields = {"text": text, **row.fields} if text is not None and "text" not in row.fields else dict(row.fields)
        if "query" in fields:
            fields.setdefault("images", [name])
        elif not {"image", "images", "image_info", "turns", "prompt"} & fields.keys():
            fields["image"] = name
        yield Row(row.number, fields)
