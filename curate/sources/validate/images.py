"""Checks of the pictures that records refer to: what ingest would refuse, without writing anything."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import time
import warnings
from array import array
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

from curate.engine import usable_cores
from curate.sources.dicom import DicomError, is_dicom, read_dicom
from curate.sources.images import MAX_BYTES, MAX_DICOM_FRAMES, MAX_PIXELS, as_png_or_jpeg, inline_prefix, sniff
from curate.sources.locations import resolve
from curate.sources.rejects import RejectError
from curate.sources.staging import location_key

_CONTENT = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "jpeg"),
    **dict.fromkeys((".tif", ".tiff"), "tiff"),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), "dicom"),
    **{f".{name}": name for name in ("png", "webp", "gif", "bmp")},
}
"""What a file with this suffix should hold."""


_AT_ONCE = 8
_SLOW = 0.001
"""Seconds for a picture from which on threads are faster: with small ones they only get into each other's way."""


class Place(NamedTuple):
    """Where the references of a record are looked up."""

    beside: Path
    """Folder that they are relative to, by its real path."""
    roots: tuple[Path, ...]
    """Real paths of the folders they may lead into; the first is searched too."""
    trainer: bool
    """Whether a trainer reads them, which opens no DICOM."""


class Verdict(NamedTuple):
    """What was found out about one reference."""

    code: str
    """Empty when nothing is wrong."""
    message: str
    digest: bytes
    """128-bit hash of the picture's bytes; empty when it can't be read."""


class ImageChecks:
    """Checks pictures in threads; a context manager."""

    def __init__(self, *, decode: bool) -> None:
        self._decode = decode
        self._pool = ThreadPoolExecutor(2 * usable_cores())
        self._found = array("Q")
        """Keys of the files that references led to, 8 bytes each."""
        self._sorted: npt.NDArray[np.uint64] | None = None

    def __enter__(self) -> ImageChecks:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def verdicts(self, references: Sequence[str | bytes], place: Place) -> Iterator[Verdict]:
        """What is wrong with each reference (a path, inline base64, or a picture's bytes), in order."""
        position, quick = 0, True
        while quick and position < len(references):
            began = time.monotonic()
            part = references[position : position + _AT_ONCE]
            yield from [self._check(reference, place) for reference in part]
            position += len(part)
            quick = time.monotonic() - began < _SLOW * len(part)
        yield from self._pool.map(lambda reference: self._check(reference, place), references[position:])

    def _check(self, reference: str | bytes, place: Place) -> Verdict:
        data, path = b"", None
        try:
            if isinstance(reference, bytes):
                data, shown, suffix = reference, "the embedded picture", ""
            elif (prefix := inline_prefix(reference)) is not None:
                data, shown, suffix = _decoded(reference[len(prefix) :]), "the inline image", ""
            else:
                root, relative = resolve(reference, place.beside, place.roots)
                path, shown, suffix = place.roots[root] / relative, relative.as_posix(), relative.suffix.lower()
                self._found.append(_key(path))
                data = _read(path, shown)
            if is_dicom(data[:256]):
                _check_dicom(None if place.trainer else path, shown)
                _check_suffix("dicom", suffix, shown)
            else:
                as_png_or_jpeg(data, shown)
                if self._decode:
                    _decode_fully(data, shown)
                _check_suffix(sniff(data[:16]) or "", suffix, shown)
        except RejectError as error:
            return Verdict(error.reason, str(error), _digest(data) if data else b"")
        return Verdict("", "", _digest(data))

    def take_located(self) -> array[int]:
        """Keys of the files that references led to since the last call."""
        located, self._found = self._found, array("Q")
        return located

    def add_located(self, located: array[int]) -> None:
        """Take over what another process :meth:`took <take_located>`."""
        self._found.extend(located)

    def among_found(self, paths: Sequence[Path]) -> list[bool]:
        """For each real path whether any reference so far led to it."""
        if self._sorted is None or len(self._sorted) != len(self._found):
            self._sorted = np.sort(np.frombuffer(self._found, dtype=np.uint64))
        keys = np.array([_key(path) for path in paths], dtype=np.uint64)
        last = np.searchsorted(self._sorted, keys, side="right")
        return [bool(end and self._sorted[end - 1] == key) for end, key in zip(last, keys, strict=True)]


def _key(path: Path) -> int:
    return location_key(0, str(path))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RejectError("invalid_base64", f"the inline image is no valid base64: {error}") from None


def _read(path: Path, shown: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RejectError("too_large", f"{shown}: {size / 2**20:.0f} MiB; the limit is {MAX_BYTES // 2**20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise RejectError("unreadable_file", f"{shown}: {error.strerror}") from None


def _check_dicom(path: Path | None, shown: str) -> None:
    """Check a DICOM file; without a ``path`` nobody who reads the record could open it."""
    if path is None:
        raise RejectError("not_an_image", f"{shown}: a DICOM file, which can't be opened here; write a PNG or JPEG")
    try:
        read_dicom(path, max_pixels=MAX_PIXELS, max_frames=MAX_DICOM_FRAMES)
    except DicomError as error:
        raise RejectError(f"dicom_{error.reason}", f"{shown}: {error}") from None


def _check_suffix(content: str, suffix: str, shown: str) -> None:
    expected = _CONTENT.get(suffix)
    if expected is not None and expected != content:
        names = {"dicom": "a DICOM file"}
        kind = names.get(content, f"a {content.upper()} picture")
        raise RejectError("wrong_extension", f"{shown}: the content is {kind}; rename the file")


def _decode_fully(data: bytes, shown: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Picture.open(io.BytesIO(data)) as picture:
                picture.load()
        except Exception as error:  # noqa: BLE001 - Pillow raises nearly anything on damaged files
            raise RejectError("unreadable_image", f"{shown}: it can't be decoded: {error}") from None
