"""Reading a DICOM header: only the attributes that rendering and the allow-list need, whatever state the file is in."""

from __future__ import annotations

import logging
import math
import os
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from curate.corpus import UserError
from curate.sources.dicom import DicomError, is_dicom

# Libraries log what they fail on, and that may quote a patient's data: errors reach the user through DicomError alone.
for _library in ("pydicom", "pylibjpeg", "openjpeg"):
    logging.getLogger(_library).setLevel(logging.CRITICAL + 1)

DESCRIPTION = (
    *("SOPClassUID", "Modality", "ImageType", "BodyPartExamined", "ViewPosition", "ImageLaterality", "Laterality"),
    *("PixelSpacing", "PatientSex", "PatientAge", "PatientIdentityRemoved", "BurnedInAnnotation"),
)
IDENTITY = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
"""Read only to be replaced by pseudonyms at once; see :mod:`curate.sources.pseudonyms`."""
PIXELS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
GREY_LEVELS = (
    *("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
PALETTE = tuple(
    f"{prefix}{colour}PaletteColorLookupTable{part}"
    for colour in ("Red", "Green", "Blue")
    for prefix, part in (("", "Descriptor"), ("", "Data"), ("Segmented", "Data"))
)

_PIXEL_DATA_VR = (b"OB", b"OW", b"OF", b"OD", b"UN")

_MAX_INFLATED = 512 * 2**20
"""Bytes that a deflated data set may grow to; the transfer syntax is rare and meant for small objects."""


@contextmanager
def refusing(reason: str, sentence: str, *, quote: bool = False) -> Iterator[None]:
    """Turn whatever the libraries raise into a DicomError, and keep their warnings off the terminal.

    pydicom and the decoders raise nearly every built-in exception on damaged files, and decoders in Rust panic with a
    BaseException. The text of an error, like the traceback it hangs on, may hold header values: only its kind is told,
    unless ``quote`` says that the last line of the text is safe.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (DicomError, UserError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except MemoryError:
        raise DicomError("too_large", "it needs more memory than there is") from None
    except BaseException as error:  # noqa: BLE001
        if isinstance(error, OSError) and error.errno is not None:
            raise DicomError("unreadable", f"it cannot be read: {error.strerror}") from None
        lines = str(error).splitlines() if quote else []
        cause = lines[-1].strip()[:160] if lines else type(error).__name__
        raise DicomError(reason, f"{sentence} ({cause})") from None


@dataclass(frozen=True, slots=True)
class Header:
    """The attributes read, and the file positioned at its pixel data element, or at its end when there is none."""

    dataset: Dataset
    file: BinaryIO
    transfer_syntax: UID
    """As declared by the file, or inferred from the first bytes when it declares none."""
    encoding: UID
    """How ``file`` is encoded: differs from ``transfer_syntax`` for a deflated data set, which is inflated here."""
    has_pixels: bool
    """Whether there is a pixel data element, of any length."""


@contextmanager
def opened(path: Path) -> Iterator[Header]:
    """Read the header of the file at ``path``, and keep it open for its pixels.

    Only DESCRIPTION, IDENTITY, PIXELS, GREY_LEVELS and PALETTE are read: no name or date is there to slip out later.
    Raises DicomError (unreadable, not_dicom, too_large, truncated) and what pydicom raises.
    """
    try:
        if not path.is_file():
            raise DicomError("unreadable", "it is not a regular file")
        stream = path.open("rb")
    except OSError as error:
        raise DicomError("unreadable", f"it cannot be opened: {error.strerror}") from None
    with stream:
        yield _read(stream, path)


def _read(stream: BinaryIO, path: Path) -> Header:
    head = stream.read(1024)
    stream.seek(0)
    if not is_dicom(head):
        raise DicomError("not_dicom", "it has no DICOM preamble and does not start like a DICOM data set")
    declared = None
    if DeflatedExplicitVRLittleEndian.encode() in head:
        meta = read_file_meta_info(path)
        declared = meta.TransferSyntaxUID
        stream = _inflate(stream, 144 + meta.FileMetaInformationGroupLength)
    dataset = dcmread(
        stream,
        stop_before_pixels=True,
        force=True,
        specific_tags=[*DESCRIPTION, *IDENTITY, *PIXELS, *GREY_LEVELS, *PALETTE],
    )
    encoding = value_of(dataset.file_meta, "TransferSyntaxUID")
    if not encoding:
        encoding = ExplicitVRLittleEndian if dataset.original_encoding[1] else ExplicitVRBigEndian
    encoding = UID(str(encoding))
    pixel_data = stream.read(8)
    stream.seek(-len(pixel_data), os.SEEK_CUR)
    # Some writers declare explicit VR and write implicit, or the other way round. An even length never looks like a VR.
    if encoding in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        encoding = ExplicitVRLittleEndian if pixel_data[4:6] in _PIXEL_DATA_VR else ImplicitVRLittleEndian
    return Header(dataset, stream, declared or encoding, encoding, len(pixel_data) == 8)


def _inflate(stream: BinaryIO, start: int) -> BytesIO:
    """The data set of a deflated file, which begins at ``start``, with a bound on how far it may grow."""
    stream.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(stream.read(), _MAX_INFLATED + 1)
    if len(content) > _MAX_INFLATED:
        raise DicomError("too_large", f"its deflated data set grows beyond {_MAX_INFLATED // 2**20} MiB")
    if not inflater.eof:
        raise DicomError("truncated", "its deflated data set ends early")
    return BytesIO(content)


def value_of(dataset: Dataset, keyword: str) -> Any:
    """The value of an attribute; None when it is absent, empty, or written so badly that it cannot be converted."""
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001 - converting a garbled element raises anything, and means "no value"
        return None
    return None if value in ("", b"") else value


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """The values of a numeric attribute; empty unless every one of them is a finite number."""
    value = value_of(dataset, keyword)
    several = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    try:
        found = [float(item) for item in several]
    except (TypeError, ValueError, OverflowError):
        return []
    return found if all(math.isfinite(item) for item in found) else []


def integer(dataset: Dataset, keyword: str, default: int | None = None) -> int | None:
    """The first value of an attribute that holds whole numbers; ``default`` when there is none."""
    found = numbers(dataset, keyword)
    return int(found[0]) if found and found[0].is_integer() else default


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; empty when it is absent or not a sequence."""
    value = value_of(dataset, keyword)
    return [item for item in value if isinstance(item, Dataset)] if isinstance(value, Sequence) else []
