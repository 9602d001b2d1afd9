"""Signals of one picture. It is decoded once, to the last pixel, and everything is measured on that.

A picture whose long side is more than 512 pixels is halved until it is not (JPEG by the decoder itself, which still
reads every byte; PNG by averaging), because sharpness is comparable only between pictures of about one size.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image as Picture
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from curate.signals.phash import perceptual_hashes

LONG_SIDE = 512
"""Pixels that sharpness is measured on, at most."""
MAX_PIXELS = 178_956_970
"""Larger pictures are not decoded: the bound at which Pillow speaks of a decompression bomb."""

_PNG = b"\x89PNG\r\n\x1a\n"
_DAMAGE = ("Corrupt JPEG data", "Premature end")
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")


@dataclass(frozen=True, slots=True)
class ImageSignals:
    """What was measured of one picture; ``problem`` says why nothing was."""

    problem: str | None = None
    entropy: float | None = None
    """Bits, 0 to 8."""
    sharpness: float | None = None
    """Squared grey levels."""
    bits: int | None = None
    """Grey depth really used, 0 to 8."""
    phash: int | None = None
    """64 bits, as all hashes."""
    phash_mirrored: int | None = None
    """Of the left-right mirror image."""
    phash_trimmed: int | None = None
    """Without uniform borders."""
    content_box: tuple[float, float, float, float] | None = None
    """What that leaves: left, top, right and bottom as shares of width and height."""
    phashes_cropped: tuple[int, ...] | None = None
    """Of 16 crops."""

    @property
    def readable(self) -> bool:
        return self.problem is None


class _DamageError(Exception):
    """The file is broken in a way that its decoder would pass over in silence."""


def measure_image(data: bytes) -> ImageSignals:
    """Measure the PNG or JPEG file ``data``. Never raises for bad bytes: what is wrong becomes ``problem``."""
    try:
        grey = _decode_png(data) if data.startswith(_PNG) else _decode_jpeg(data)
        histogram = np.array(grey.histogram(), dtype=np.int64)
        small = grey.reduce(2 ** _halvings(*grey.size))
        hashes = perceptual_hashes(small)
        return ImageSignals(
            entropy=_entropy(histogram),
            sharpness=_sharpness(np.asarray(small)),
            bits=int(np.count_nonzero(histogram) - 1).bit_length(),
            phash=hashes.whole,
            phash_mirrored=hashes.mirrored,
            phash_trimmed=hashes.trimmed,
            content_box=hashes.box,
            phashes_cropped=hashes.cropped,
        )
    except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on damaged files
        text = " ".join(str(error).split())[:200]
        return ImageSignals(problem=text or type(error).__name__)


def _halvings(width: int, height: int) -> int:
    """How often a picture must be halved for its long side to be at most LONG_SIDE."""
    return (-(-max(width, height) // LONG_SIDE) - 1).bit_length()


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise _DamageError(f"{width} x {height} pixels are too many; the limit is {MAX_PIXELS:,}")


def _decode_png(data: bytes) -> Picture.Image:
    _check_chunks(data)
    with PngImageFile(io.BytesIO(data)) as picture:
        _check_size(*picture.size)
        return picture.convert("L")


def _check_chunks(data: bytes) -> None:
    """Compare the checksums of a PNG file's critical chunks (PNG 3rd ed., 5.3); Pillow skips those of pixel data."""
    view, start, kind = memoryview(data), len(_PNG), b""
    while kind != b"IEND":
        if start + 12 > len(data):
            raise _DamageError("the PNG file is cut off")
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 8 + length
        if end + 4 > len(data):
            raise _DamageError(f"the PNG file is cut off in its {kind.decode('latin-1')!r} chunk")
        critical = not kind[0] & 0x20
        if critical and zlib.crc32(view[start + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise _DamageError(f"the PNG file is damaged: wrong checksum of the {kind.decode('latin-1')!r} chunk")
        start = end + 4


def _decode_jpeg(data: bytes) -> Picture.Image:
    """The luma of a JPEG file, halved by the decoder.

    Pillow hides that libjpeg filled in for missing or garbled data; libjpeg-turbo's own interface tells.
    """
    try:
        height, width = simplejpeg.decode_jpeg_header(data)[:2]
        _check_size(width, height)
        scale = min(8, 2 ** _halvings(width, height))
        pixels = simplejpeg.decode_jpeg(
            data, "gray", min_width=-(-width // scale), min_height=-(-height // scale), min_factor=scale
        )
    except ValueError as error:
        message = str(error)
        if message.startswith(_DAMAGE) and not _is_padding(message, data):
            raise _DamageError(f"the JPEG file is damaged: {message}") from None
        return _decode_unusual_jpeg(data)
    return Picture.fromarray(pixels[:, :, 0])


def _is_padding(message: str, data: bytes) -> bool:
    """Whether libjpeg only found filling before the end mark, as some encoders write, and no pixel data left over."""
    left_over, end = _LEFT_OVER.search(message), data.rfind(b"\xff\xd9")
    return left_over is not None and len(set(data[max(0, end - int(left_over[1])) : end])) <= 1


def _decode_unusual_jpeg(data: bytes) -> Picture.Image:
    """The same by Pillow, for files with padding between their parts or a layout that TurboJPEG does not take."""
    with JpegImageFile(io.BytesIO(data)) as picture:
        width, height = picture.size
        _check_size(width, height)
        scale = min(8, 2 ** _halvings(width, height))
        picture.draft("L", (max(1, width // scale), max(1, height // scale)))
        return picture.convert("L")


def _entropy(histogram: npt.NDArray[np.int64]) -> float:
    shares = histogram[histogram > 0] / histogram.sum()
    return round(abs(float(-(shares * np.log2(shares)).sum())), 4)


def _sharpness(grey: npt.NDArray[np.uint8]) -> float:
    """Variance of the Laplacian, in whole numbers up to the last step so that it is the same on every machine."""
    if min(grey.shape) < 3:
        return 0.0
    values = grey.astype(np.int16)
    laplacian = values[1:-1, 1:-1] * np.int16(-4)
    laplacian += values[1:-1, :-2]
    laplacian += values[1:-1, 2:]
    laplacian += values[:-2, 1:-1]
    laplacian += values[2:, 1:-1]
    wide = laplacian.astype(np.int32)
    total = int(wide.sum())
    np.multiply(wide, wide, out=wide)
    squares = int(wide.sum(axis=1, dtype=np.int32).sum(dtype=np.int64))  # a row of 512 stays below 2**31
    return round((squares - total * total / wide.size) / wide.size, 2)
