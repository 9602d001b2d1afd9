"""Small grey versions of the pictures that are compared, read once and kept in a temporary file."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as Picture

from curate.corpus import Corpus, Image, UserError
from curate.engine import usable_cores
from curate.select.duplicates.hamming import Positions
from curate.select.duplicates.images_compare import MIN_CONTRAST, SIDE, Bytes, Floats, coarse_profiles, slack_of

_READ = 256
"""Pictures handed to the threads at a time; a thread holds the bytes of one."""
_ENOUGH = 4 * SIDE
"""Pixels a side that a JPEG decoder need not go beyond."""


@dataclass
class Thumbnails:
    """Small grey versions of some pictures, whole and without borders, kept in a temporary file."""

    place: Positions
    """For each picture its row, -1 when there is none."""
    pixels: Bytes
    """Shape (rows, 2, 64, 64)."""
    profiles: Floats
    """Shape (rows, 2, 64)."""
    slack: Floats
    bordered: npt.NDArray[np.bool_]
    """Whether there are borders."""
    unreadable: int = 0
    low_contrast: int = 0


def read_thumbnails(
    corpus: Corpus, wanted: Positions, images: Sequence[Image], boxes: npt.NDArray[np.float32], count: int
) -> Thumbnails:
    """Read the pictures numbered ``wanted`` of ``count``; ``images`` and ``boxes`` (n, 4) describe those."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as what is mapped into it
    rows = max(1, wanted.size)
    pixels = np.memmap(file, np.uint8, "w+", shape=(rows, 2, SIDE, SIDE))
    profiles = np.zeros((rows, 2, 64), np.float32)
    usable = np.zeros(rows, bool)
    unreadable = low_contrast = 0
    with ThreadPoolExecutor(usable_cores()) as threads:
        for start in range(0, wanted.size, _READ):
            chosen = range(start, min(start + _READ, wanted.size))
            read = threads.map(lambda row: _thumbnail(corpus, images[row], boxes[row]), chosen)
            for row, found in zip(chosen, read, strict=True):
                if found is None:
                    unreadable += 1
                elif found[0].std() < MIN_CONTRAST:
                    low_contrast += 1
                else:
                    pixels[row], usable[row] = found, True
            block = slice(chosen.start, chosen.stop)
            profiles[block] = coarse_profiles(pixels[block].reshape(-1, SIDE, SIDE)).reshape(-1, 2, 64)
    place = np.full(count, -1, np.int64)
    place[wanted[usable[: wanted.size]]] = np.flatnonzero(usable)
    shortest = np.ones(rows, np.int64)
    shortest[: wanted.size] = [min(image.width, image.height) for image in images]
    bordered = np.zeros(rows, bool)
    bordered[: wanted.size] = (boxes != np.array([0, 0, 1, 1], np.float32)).any(axis=1)
    return Thumbnails(place, pixels, profiles, slack_of(shortest), bordered, unreadable, low_contrast)


def _thumbnail(corpus: Corpus, image: Image, box: npt.NDArray[np.float32]) -> Bytes | None:
    """The picture, and its part inside ``box`` (shares of its sides), as 64 x 64 grey pixels; None if unreadable."""
    try:
        data = corpus.image_bytes(image)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Picture.open(io.BytesIO(data), formats=["PNG", "JPEG"]) as picture:
                picture.draft("L", (_ENOUGH, _ENOUGH))
                grey = picture.convert("L")
    except (UserError, MemoryError):
        return None
    except Exception:  # noqa: BLE001 - decoders raise nearly anything on damaged files
        return None
    # A triangle as wide as the pixels it makes: resizing the picture by any factor first changes little.
    whole = np.asarray(grey.resize((SIDE, SIDE), Picture.Resampling.BILINEAR))
    left, top, right, bottom = (float(share) for share in box)
    if (left, top, right, bottom) == (0, 0, 1, 1):
        return np.stack([whole, whole])
    part = (left * grey.width, top * grey.height, right * grey.width, bottom * grey.height)
    return np.stack([whole, np.asarray(grey.resize((SIDE, SIDE), Picture.Resampling.BILINEAR, box=part))])
