"""Perceptual hashes of one picture, of its mirror image, and of what is left when borders are taken off.

A hash is 64 bits (Zauner 2010): the lowest 8 x 8 frequencies of the DCT-II of the 32 x 32 grey picture, each compared
with their median. Re-encoding, resizing and slight changes of brightness leave nearly all bits as they are; mirroring
and cropping do not, so pictures that were mirrored or cropped are found by hashes of their own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

CROPS = (0.0125, 0.0375)
"""Shares of the width or height that are cut off a side: the middles of 0 to 2.5 % and of 2.5 to 5 %."""

_SIDE, _HASHED = 32, 8
_MIDDLE = 64
"""Pixels a side of the picture that crops are cut out of."""
_FREQUENCIES: npt.NDArray[np.float64] = np.cos(
    np.pi * np.outer(np.arange(_HASHED), 2 * np.arange(_SIDE) + 1) / (2 * _SIDE)
)
_MIRRORING: npt.NDArray[np.float64] = np.where(np.arange(_HASHED) % 2, -1.0, 1.0)
"""What mirroring multiplies the frequencies across by: cosines of odd frequency are odd about the middle."""

_UNIFORM = 12
"""Grey levels by which a border may stray from its own, as JPEG compression makes it."""
_STRAY = 100
"""One pixel in so many of a border's line may be anything."""
_STEP = 4
"""Every so many-th pixel of a line is looked at."""
_NESTED = 2
"""Frames within one another that are taken off."""


class Hashes(NamedTuple):
    """The hashes of one picture, 64 bits each."""

    whole: int
    mirrored: int
    """Of the left-right mirror image."""
    trimmed: int
    """Of the picture without uniform borders; equal to ``whole`` where there are none."""
    box: tuple[float, float, float, float]
    """What ``trimmed`` is the hash of: left, top, right and bottom as shares of width and height."""
    cropped: tuple[int, ...]
    """Of the picture with ``CROPS`` cut off each side: 16, left slowest, then right, top and bottom."""


def perceptual_hashes(grey: Picture.Image) -> Hashes:
    """The hashes of a picture in mode L."""
    lowest = _lowest(grey)
    box = content_box(np.asarray(grey))
    trimmed = lowest if box == (0, 0, *grey.size) else _lowest(grey, box)
    whole, mirrored, inner = _bits(np.stack([lowest, lowest * _MIRRORING, trimmed]))
    width, height = grey.size
    shares = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
    return Hashes(whole, mirrored, inner, shares, tuple(_cropped(grey)))


def _lowest(grey: Picture.Image, box: tuple[int, int, int, int] | None = None) -> npt.NDArray[np.float64]:
    """The lowest 8 x 8 frequencies of a picture, or of a part of it."""
    tiny = grey.resize((_SIDE, _SIDE), Picture.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    # Rounding keeps the float noise of a uniform picture from deciding bits.
    lowest: npt.NDArray[np.float64] = (_FREQUENCIES @ np.asarray(tiny, dtype=np.float64) @ _FREQUENCIES.T).round(3)
    return lowest


def _bits(lowest: npt.NDArray[np.float64]) -> list[int]:
    """For each 8 x 8 block of frequencies the hash: which are above their median, first bit highest."""
    flat = lowest.reshape(-1, _HASHED**2)
    ordered = np.sort(flat, axis=1)
    median = ordered[:, _HASHED**2 // 2 - 1 : _HASHED**2 // 2 + 1].mean(axis=1, keepdims=True)
    packed = np.packbits(flat > median, axis=1)
    hashes: list[int] = packed.view(">u8").ravel().tolist()
    return hashes


def _crop_matrix() -> npt.NDArray[np.float64]:
    """Rows of 64 pixels to the 8 lowest frequencies of each interval that is left when both ends are cut."""
    unit = Picture.fromarray(np.eye(_MIDDLE, dtype=np.float32))
    parts = []
    for start in CROPS:
        for end in CROPS:
            box = (0, start * _MIDDLE, _MIDDLE, _MIDDLE - end * _MIDDLE)
            resampling = unit.resize((_MIDDLE, _SIDE), Picture.Resampling.LANCZOS, box=box)
            parts.append(_FREQUENCIES @ np.asarray(resampling, dtype=np.float64))
    return np.concatenate(parts)


_CROPPING = _crop_matrix()


def _cropped(grey: Picture.Image) -> list[int]:
    """Resizing is linear, so all crops of a picture come out of one small one by two products of matrices."""
    middle = grey.resize((_MIDDLE, _MIDDLE), Picture.Resampling.BILINEAR, reducing_gap=1.0)
    lowest = (_CROPPING @ np.asarray(middle, dtype=np.float64) @ _CROPPING.T).round(3)
    intervals = len(CROPS) ** 2
    blocks = lowest.reshape(intervals, _HASHED, intervals, _HASHED).transpose(2, 0, 1, 3)
    return _bits(np.ascontiguousarray(blocks))


def content_box(pixels: npt.NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a picture without its uniform borders, black, white or any other grey.

    Borders are taken off as they come from outside: a white page around a black frame around the picture. They are
    left where they would take more than half of the width or height, as around a small spot on a blank ground.
    """
    height, width = pixels.shape
    left, top, right, bottom = 0, 0, width, height
    for _ in range(_NESTED):
        inner = pixels[top:bottom, left:right]
        above, below = _ends(inner[:, ::_STEP])
        before, after = _ends(inner[::_STEP].T)
        if not (above or below or before or after):
            break
        left, top, right, bottom = left + before, top + above, right - after, bottom - below
        if 2 * (right - left) < width or 2 * (bottom - top) < height:
            return 0, 0, width, height
    return left, top, right, bottom


def _ends(lines: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """How many lines at the start and at the end are uniform and of one grey."""
    return _uniform(lines), _uniform(lines[::-1])


def _uniform(lines: npt.NDArray[np.uint8]) -> int:
    """How many of the first lines are of the first one's grey; 0 when that has none of its own."""
    allowed = lines.shape[1] // _STRAY
    grey = int(np.sort(lines[0])[lines.shape[1] // 2])
    low, high = max(0, grey - _UNIFORM), min(255, grey + _UNIFORM)
    start, step = 0, 1
    # Most borders are narrow: lines are looked at in growing steps, not all at once.
    while start < len(lines):
        block = lines[start : start + step]
        strays = np.count_nonzero((block < low) | (block > high), axis=1)
        beyond = np.flatnonzero(strays > allowed)
        if beyond.size:
            return start + int(beyond[0])
        start, step = start + step, step * 4
    return len(lines)
