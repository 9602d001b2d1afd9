"""Intake of pictures: from a file or inline bytes to an :class:`~curate.corpus.Image`.

Inside a corpus every picture is a PNG or JPEG file with 8 bits a channel, upright, one frame. A file that is so already
is left where it lies and never decoded here; anything else (DICOM, TIFF, 16-bit PNG, a photo stored sideways) is
rendered once into the corpus' image store.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image as Picture
from PIL import ImageOps

from curate.corpus import Image, Privacy, stored_image_path
from curate.sources.dicom import DicomError, is_dicom, read_dicom
from curate.sources.rejects import RejectError

MAX_PIXELS = 178_956_970
"""Larger pictures are rejected before decoding: the bound at which Pillow speaks of a decompression bomb."""
MAX_BYTES = 512 * 2**20
MAX_DICOM_FRAMES = 64

_DATA_URI = re.compile(r"^data:(?P<type>[\w.+-]+/[\w.+-]+)?(;[\w=.+-]+)*;base64,", re.IGNORECASE)
_ORIENTATION = 0x0112
_ORDINARY_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr"}


@dataclass(frozen=True, slots=True)
class Intake:
    """What one reference brought in: usually one picture, several for a multi-frame DICOM file."""

    images: tuple[Image, ...]
    spelling: str | None
    """None for a path; the text before the base64 data (empty, or ``data:…;base64,``) for an inline picture."""
    privacy: Privacy = "unknown"
    dicom: dict[str, Any] | None = None
    """Attributes of the DICOM file that identify nobody."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """The bytes of a PNG or JPEG file."""

    data: bytes
    format: Literal["png", "jpeg"]
    width: int
    height: int
    rendered: bool
    """Whether the bytes are others than those that came in."""


def inline_prefix(reference: str) -> str | None:
    """The text before the base64 data if ``reference`` is a picture written inline, None if it is a path."""
    uri = _DATA_URI.match(reference)
    if uri:
        return uri.group()
    if len(reference) < 64:
        return None
    try:
        head = base64.b64decode(reference[:48], validate=True)
    except (binascii.Error, ValueError):
        return None
    return "" if sniff(head) else None


def sniff(head: bytes) -> str | None:
    """Image format by the first bytes, or None."""
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    marks = ((b"\x89PNG\r\n\x1a\n", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"BM", "bmp"))
    tiff = ((b"II*\0", "tiff"), (b"MM\0*", "tiff"), (b"II+\0", "tiff"), (b"MM\0+", "tiff"))
    return next((name for mark, name in (*marks, *tiff) if head.startswith(mark)), None)


def intake_file(path: Path, *, root: int, relative: str, name: str, corpus: Path) -> Intake:
    """Take in the picture (or DICOM file) at ``path``; raises RejectError with what is wrong.

    ``root`` and ``relative`` say where the file lies, ``name`` how the record referred to it.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise RejectError("unreadable_file", f"{relative}: {error.strerror}") from None
    if status.st_size > MAX_BYTES:
        size = f"{status.st_size / 2**20:.0f} MiB"
        raise RejectError("too_large", f"{relative}: {size}; the limit is {MAX_BYTES // 2**20} MiB")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RejectError("unreadable_file", f"{relative}: {error.strerror}") from None
    place = {"root": root, "path": relative, "mtime_ns": status.st_mtime_ns, "name": name}
    if is_dicom(data[:256]):
        return _intake_dicom(path, relative, place, corpus)
    encoded = as_png_or_jpeg(data, relative)
    if encoded.rendered:
        store(corpus, encoded.data, encoded.format)
    return Intake((_image(encoded, stored=encoded.rendered, **place),), spelling=None)


def _intake_dicom(path: Path, relative: str, place: dict[str, Any], corpus: Path) -> Intake:
    try:
        scan = read_dicom(path, max_pixels=MAX_PIXELS, max_frames=MAX_DICOM_FRAMES)
    except DicomError as error:
        raise RejectError(f"dicom_{error.reason}", f"{relative}: {error}") from None
    frames = [EncodedImage(frame.png, "png", frame.width, frame.height, rendered=True) for frame in scan.images]
    for frame in frames:
        store(corpus, frame.data, "png")
    return Intake(
        images=tuple(_image(frame, stored=True, **place) for frame in frames),
        spelling=None,
        privacy="deidentified" if scan.deidentified else "identified",
        dicom=scan.meta,
    )


def intake_inline(reference: str, prefix: str, *, corpus: Path) -> Intake:
    """Take in a picture written as base64 after ``prefix``; raises RejectError with what is wrong."""
    try:
        data = base64.b64decode(reference[len(prefix) :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RejectError("invalid_base64", f"the inline image is no valid base64: {error}") from None
    return intake_bytes(data, spelling=prefix, corpus=corpus)


def intake_bytes(data: bytes, *, spelling: str, corpus: Path) -> Intake:
    """Take in the bytes of a picture that came inside a record."""
    encoded = as_png_or_jpeg(data, "the inline image")
    store(corpus, encoded.data, encoded.format)
    return Intake((_image(encoded, stored=True, root=-1, path=None, mtime_ns=0, name=None),), spelling=spelling)


def _image(encoded: EncodedImage, **place: Any) -> Image:
    return Image(
        sha256=hashlib.sha256(encoded.data).hexdigest(),
        format=encoded.format,
        width=encoded.width,
        height=encoded.height,
        size=len(encoded.data),
        **place,
    )


def store(corpus: Path, data: bytes, image_format: str) -> None:
    """Keep a picture in the corpus' image store under the hash of its bytes.

    No fsync: a picture that a power cut damaged is found by its hash, and ingest makes it again.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    place = stored_image_path(corpus, sha256, image_format)
    if place.exists() and hashlib.sha256(place.read_bytes()).hexdigest() == sha256:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    waiting = corpus / "tmp"
    waiting.mkdir(exist_ok=True)
    temporary = waiting / f"{place.name}.{os.getpid()}.{id(data)}"
    temporary.write_bytes(data)
    temporary.replace(place)


def as_png_or_jpeg(data: bytes, shown: str) -> EncodedImage:
    """The picture as PNG or JPEG: its own bytes when they will do, else rendered to an 8-bit PNG."""
    if not data:
        raise RejectError("empty_image", f"{shown}: 0 bytes")
    kind = sniff(data[:16])
    if kind is None:
        raise RejectError("not_an_image", f"{shown}: {_looks_like(data)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Picture.open(io.BytesIO(data), formats=[kind.upper()]) as picture:
                return _upright_8_bit(picture, data, kind, shown)
        except RejectError:
            raise
        except Picture.DecompressionBombError:
            raise RejectError("too_large", f"{shown}: more than {MAX_PIXELS:,} pixels") from None
        except Exception as error:  # noqa: BLE001 - Pillow raises nearly anything on damaged files
            raise RejectError("unreadable_image", f"{shown}: {_plain(error)}") from None


def _upright_8_bit(picture: Picture.Image, data: bytes, kind: str, shown: str) -> EncodedImage:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise RejectError("too_large", f"{shown}: {width} x {height} pixels; the limit is {MAX_PIXELS:,}")
    if getattr(picture, "n_frames", 1) > 1 and not getattr(picture, "default_image", False):
        raise RejectError("several_frames", f"{shown}: animated or of several pages; split it into single images")
    _check_end(data, kind, shown)
    # Pillow decodes a whole PNG to look for EXIF data behind the pixels, so ask only when there is any.
    upright = (kind == "png" and b"eXIf" not in data) or picture.getexif().get(_ORIENTATION, 1) == 1
    if kind in ("png", "jpeg") and upright and picture.mode in _ORDINARY_MODES and not _see_through(picture):
        return EncodedImage(data, kind, width, height, rendered=False)  # type: ignore[arg-type]
    drawn = ImageOps.exif_transpose(picture)
    if drawn.mode not in _ORDINARY_MODES:
        drawn = drawn.convert("RGB") if drawn.mode in ("CMYK", "LAB", "HSV", "RGBX") else _to_8_bit(drawn)
    file = io.BytesIO()
    _opaque(drawn).save(file, "PNG", compress_level=1)
    return EncodedImage(file.getvalue(), "png", drawn.width, drawn.height, rendered=True)


def _see_through(picture: Picture.Image) -> bool:
    """Whether some pixels are transparent: LLaMA-Factory would show what lies under them, verl white paper."""
    if picture.mode not in ("RGBA", "LA", "PA") and "transparency" not in picture.info:
        return False
    alpha = np.asarray(picture.convert("RGBA").getchannel("A"))
    return bool(alpha.min() < 255)


def _opaque(picture: Picture.Image) -> Picture.Image:
    """The picture on white paper, as greyscale if it is grey, else as RGB."""
    if _see_through(picture):
        paper = Picture.new("RGBA", picture.size, "white")
        paper.alpha_composite(picture.convert("RGBA"))
        return paper.convert("RGB")
    return picture.convert("L" if picture.mode in ("1", "L", "LA") else "RGB")


def _to_8_bit(picture: Picture.Image) -> Picture.Image:
    """Grey values of 16 or 32 bits stretched from their own range to 0-255; Pillow alone would clip them to white."""
    values = np.asarray(picture, dtype=np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scale = 255.0 / (high - low) if high > low else 0.0
    grey = np.nan_to_num((values - low) * scale, nan=0.0, posinf=255.0, neginf=0.0)
    return Picture.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))


def _check_end(data: bytes, kind: str, shown: str) -> None:
    """Find files that were cut off, without decoding them: PNG ends with an IEND chunk, JPEG has an end mark."""
    if kind == "png" and b"IEND" not in data[-64:] and b"IEND\xaeB`\x82" not in data:
        raise RejectError("truncated_image", f"{shown}: the PNG file is cut off (no end chunk)")
    if kind == "jpeg" and data.rfind(b"\xff\xd9", max(0, len(data) - 65536)) < 0:
        raise RejectError("truncated_image", f"{shown}: the JPEG file is cut off (no end mark)")


def _looks_like(data: bytes) -> str:
    head = data[:512].lstrip().lower()
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "a web page or XML, not an image (a failed download?)"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the image; run git lfs pull"
    return "not an image format that curate knows"


def _plain(error: Exception) -> str:
    text = re.sub(r"<_io\.BytesIO object at 0x[0-9a-f]+>", "the file", str(error)) or type(error).__name__
    return f"it can't be read as an image: {text}"
