"""DICOM files to training images: 8-bit PNGs, and the few attributes that describe them without identifying anyone.

This module needs no other package. The rest is imported when the first file is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_PIXELS = 200_000_000
"""Rows x columns x frames of a file: 8 mammograms, or 760 CT slices."""
MAX_FRAMES = 256

_DATA_SET_START = re.compile(
    rb"[\x02\x08]\x00[\x00-\x18]\x00(?:UL|CS|UI|DA|TM|OB)"  # explicit VR, little endian
    rb"|\x00[\x02\x08]\x00[\x00-\x18](?:UL|CS|UI|DA|TM|OB)"  # explicit VR, big endian
    rb"|\x08\x00[\x00\x01\x05\x08\x12-\x14\x16\x18]\x00[\x00-\x80]\x00\x00\x00",  # implicit VR
    re.DOTALL,
)


class DicomError(ValueError):
    """A file that gives no training image. ``str()`` is a sentence for a person and never quotes the patient's data.

    ``reason`` is a short code to count by: unreadable, not_dicom, bad_header, not_an_image:KIND, no_pixels,
    unsupported_transfer_syntax, missing_decoder, unsupported_pixels, too_large, too_many_frames, truncated,
    decode_failed.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that the error survives the way out of a worker process
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class DicomImage:
    """One rendered frame."""

    png: bytes
    """Greyscale or RGB, 8 bits a channel."""
    width: int
    height: int
    frame: int | None
    """Position from 0 in a multi-frame file, None in a file with a single frame."""


@dataclass(frozen=True, slots=True)
class DicomFile:
    """What a DICOM file gives to a dataset."""

    images: list[DicomImage]
    """In the order of the file."""
    meta: dict[str, Any]
    """JSON values of coded and numeric attributes; no free text, no date and no identifier is among them."""
    deidentified: bool
    """PatientIdentityRemoved (0012,0062) is YES, and BurnedInAnnotation (0028,0301) is not YES."""


def is_dicom(head: bytes) -> bool:
    """Whether a file is DICOM, from its first bytes (132 or more).

    True with ``DICM`` after the 128-byte preamble, and for files without a preamble whose first bytes are an element
    of group 0002 or 0008 in any of the three encodings, as old modalities and research exports write them.
    """
    return head[128:132] == b"DICM" or _DATA_SET_START.match(head) is not None


def read_dicom(path: Path, *, max_pixels: int = MAX_PIXELS, max_frames: int = MAX_FRAMES) -> DicomFile:
    """Render every frame of the DICOM file at ``path``.

    Order: decode, modality LUT or rescale, VOI LUT or first window (full range of the valid pixels where there is
    none), MONOCHROME1 inversion, 8 bits. ``max_pixels`` bounds rows x columns x frames and is checked, like
    ``max_frames``, before anything is decoded. Raises DicomError and nothing else.
    """
    try:
        from curate.sources.dicom_read import read
    except ModuleNotFoundError as error:
        raise DicomError("missing_decoder", f"DICOM needs the package {error.name}: install medcurate[dicom]") from None
    return read(path, max_pixels=max_pixels, max_frames=max_frames)
