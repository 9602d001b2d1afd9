"""The stored pixels of a DICOM file: measured against the header first, decoded one frame at a time after."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from curate.sources import dicom_jpeg
from curate.sources.dicom import DicomError
from curate.sources.dicom_header import Header, integer, value_of

GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")

# One decoder for each transfer syntax, so that the same file gives the same pixels whatever else is installed.
_DECODERS = {
    JPEGBaseline8Bit: "pillow",
    JPEGExtended12Bit: dicom_jpeg.NAME,
    JPEGLossless: dicom_jpeg.NAME,
    JPEGLosslessSV1: dicom_jpeg.NAME,
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pydicom",  # the one in pylibjpeg-rle is faster, and panics on damaged frames
}
dicom_jpeg.register()

_ITEM, _DELIMITER = 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_JPEG_START, _JPEG_END, _J2K_START = b"\xff\xd8", b"\xff\xd9", b"\xff\x4f\xff\x51"


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How the stored pixels are arranged, as the header says and within what can be rendered."""

    rows: int
    columns: int
    frames: int
    samples: int
    """Values a pixel: 1 for greyscale and palette, 3 for colour."""
    photometric: str
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: int
    """0 when the samples of a pixel lie together, 1 when each colour is a plane."""

    def stored_bytes(self) -> int:
        """Bytes of all frames when they are not compressed."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return math.ceil(self.rows * self.columns * self.frames * samples * self.bits_allocated / 8)


def check_transfer_syntax(header: Header) -> None:
    """Check that the pixels can be decoded here. Raises DicomError (unsupported_transfer_syntax, missing_decoder)."""
    syntax = header.encoding
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise DicomError("unsupported_transfer_syntax", "its transfer syntax is private or unknown")
    if not syntax.is_encapsulated:
        return
    plugin = _DECODERS.get(syntax)
    if plugin is None:
        raise DicomError("unsupported_transfer_syntax", f"its pixels are {syntax.name}, which is not read")
    if plugin not in get_decoder(syntax).available_plugins:
        raise DicomError("missing_decoder", f"its pixels are {syntax.name}: install the package {plugin}")


def read_layout(header: Header) -> PixelLayout:
    """Check and complete the attributes of the pixel data. Raises DicomError (bad_header, unsupported_pixels)."""
    dataset = header.dataset
    photometric = str(value_of(dataset, "PhotometricInterpretation") or "").strip().upper()
    rows, columns = integer(dataset, "Rows", 0), integer(dataset, "Columns", 0)
    allocated = integer(dataset, "BitsAllocated", 0)
    if not (photometric and rows and columns and allocated and rows > 0 and columns > 0):
        raise DicomError("bad_header", "its header lacks the photometric interpretation, the size or the bits a pixel")
    if photometric not in (*GREY, *COLOUR, "PALETTE COLOR"):
        raise DicomError("unsupported_pixels", "its photometric interpretation is none that can be rendered")
    samples = 3 if photometric in COLOUR else 1
    if integer(dataset, "SamplesPerPixel", samples) != samples:
        raise DicomError("bad_header", f"its samples per pixel do not fit {photometric} pixels")
    stored = integer(dataset, "BitsStored") or allocated
    if allocated not in (1, 8, 16, 32, 64) or not 1 <= stored <= allocated:
        raise DicomError("unsupported_pixels", f"it has {stored} bits stored in {allocated} bits allocated a sample")
    frames = integer(dataset, "NumberOfFrames", 1) or 1
    if frames < 0:
        raise DicomError("bad_header", f"its header declares {frames} frames")
    signed = integer(dataset, "PixelRepresentation") == 1
    planar = 1 if integer(dataset, "PlanarConfiguration") == 1 else 0
    return PixelLayout(rows, columns, frames, samples, photometric, allocated, stored, signed, planar)


def check_size(layout: PixelLayout, *, max_pixels: int, max_frames: int) -> None:
    """Refuse what would take too much memory or time. Raises DicomError (too_large, too_many_frames)."""
    if layout.frames > max_frames:
        raise DicomError(
            "too_many_frames",
            f"it has {layout.frames} frames and the limit is {max_frames}: "
            "extract the frames worth keeping into files of their own, or raise the limit",
        )
    total = layout.rows * layout.columns * layout.frames
    if total > max_pixels:
        raise DicomError(
            "too_large",
            f"{layout.columns} x {layout.rows} pixels x {layout.frames} frames are {total:,}"
            f" and the limit is {max_pixels:,}",
        )


def check_stored(header: Header, layout: PixelLayout) -> None:
    """Check that the pixel data is whole, before anything is decoded.

    Decoders fill what is missing with grey instead of failing, and allocate what the compressed stream asks for rather
    than what the header does, so both are looked at first. ``header.file`` is left where it was.
    Raises DicomError (truncated, decode_failed).
    """
    file = header.file
    start = file.tell()
    length = _enter_pixel_data(header)
    if not header.encoding.is_encapsulated:
        if length == _UNDEFINED:
            raise DicomError("decode_failed", "its pixels are compressed but its transfer syntax says they are not")
        present = min(length, _size_of(file) - file.tell())
        if present < layout.stored_bytes():
            raise DicomError("truncated", f"it holds {present:,} of the {layout.stored_bytes():,} bytes of its pixels")
    else:
        pixels = file.tell()
        _check_fragments(file)
        file.seek(pixels)
        for frame in _encoded_frames(header, layout):
            _check_codestream(frame, layout)
    file.seek(start)


def iter_frames(header: Header, layout: PixelLayout) -> Iterator[NDArray[Any]]:
    """Decode one frame after the other: rows x columns, or rows x columns x 3 in RGB, in native byte order.

    Values are as stored, before any rescale. Raises what the decoders raise, and DicomError (truncated) when there are
    fewer frames than declared.
    """
    count = 0
    # pydicom parses the file anew from its beginning and then returns to where it was; these options win over the
    # attributes it finds.
    decoded = iter_pixels(
        header.file,
        decoding_plugin=_DECODERS.get(header.encoding, ""),
        transfer_syntax_uid=header.encoding,
        rows=layout.rows,
        columns=layout.columns,
        number_of_frames=layout.frames,
        samples_per_pixel=layout.samples,
        photometric_interpretation=layout.photometric,
        bits_allocated=layout.bits_allocated,
        bits_stored=layout.bits_stored,
        pixel_representation=int(layout.signed),
        planar_configuration=layout.planar,
    )
    for frame in itertools.islice(decoded, layout.frames):
        count += 1
        yield np.ascontiguousarray(frame, dtype=frame.dtype.newbyteorder("="))
    if count < layout.frames:
        raise DicomError("truncated", f"it holds {count} of the {layout.frames} frames it declares")


def _enter_pixel_data(header: Header) -> int:
    """Move past the tag, VR and length of the pixel data element, and tell the length."""
    size = 8 if header.encoding.is_implicit_VR else 12
    start = header.file.read(size)
    if len(start) < size:
        raise DicomError("truncated", "it ends where its pixel data begins")
    (length,) = struct.unpack("<L" if header.encoding.is_little_endian else ">L", start[-4:])
    return int(length)


def _size_of(file: BinaryIO) -> int:
    here = file.tell()
    size = file.seek(0, 2)
    file.seek(here)
    return size


def _check_fragments(file: BinaryIO) -> None:
    """Walk the items of compressed pixel data: each must end within the file."""
    size = _size_of(file)
    while len(start := file.read(8)) == 8:
        group, element, length = struct.unpack("<HHL", start)
        tag = group << 16 | element
        if tag == _DELIMITER:
            return
        if tag != _ITEM:
            raise DicomError("decode_failed", "its compressed pixels are not in DICOM items")
        if file.tell() + length > size:
            raise DicomError("truncated", f"its compressed pixels end {file.tell() + length - size:,} bytes early")
        file.seek(length, 1)
    if start:
        raise DicomError("truncated", "its compressed pixels end within an item")


def _encoded_frames(header: Header, layout: PixelLayout) -> Iterator[bytes]:
    offsets = (
        value_of(header.dataset, "ExtendedOffsetTable"),
        value_of(header.dataset, "ExtendedOffsetTableLengths"),
    )
    frames = generate_frames(
        header.file, number_of_frames=layout.frames, extended_offsets=offsets if all(offsets) else None
    )
    return itertools.islice(frames, layout.frames)


def _check_codestream(frame: bytes, layout: PixelLayout) -> None:
    """Compare the picture size inside a JPEG or JPEG 2000 stream with the header's; RLE carries none."""
    found = _jpeg_2000_size(frame) if _J2K_START in frame[:4096] else _jpeg_size(frame)
    expected = (layout.columns, layout.rows, layout.samples)
    if found is not None and found != expected:
        raise DicomError(
            "decode_failed",
            "its compressed picture is {} x {} with {} samples and its header says {} x {} with {}".format(
                *found, *expected
            ),
        )
    if frame.startswith(_JPEG_START) and _JPEG_END not in frame[-16:]:
        raise DicomError("truncated", "a compressed picture in it ends early")


def _jpeg_2000_size(frame: bytes) -> tuple[int, int, int]:
    """Width, height and components from the SIZ marker segment (ISO/IEC 15444-1, A.5.1)."""
    siz = frame.index(_J2K_START) + 4
    right, bottom, left, top = struct.unpack_from(">4L", frame, siz + 4)
    (components,) = struct.unpack_from(">H", frame, siz + 36)
    return right - left, bottom - top, components


def _jpeg_size(frame: bytes) -> tuple[int, int, int] | None:
    """Width, height and components from the first frame header of JPEG or JPEG-LS (ISO/IEC 10918-1, B.2.2)."""
    if not frame.startswith(_JPEG_START):
        return None
    at = 2
    while at + 10 <= len(frame):
        marker = frame[at + 1]
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            height, width = struct.unpack_from(">HH", frame, at + 5)
            return width, height, frame[at + 9]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        at += 2 + struct.unpack_from(">H", frame, at + 2)[0]
    return None
