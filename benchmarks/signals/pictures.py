"""Real pictures for the benchmark, cut from a retina photograph, a histology slide, chest radiographs and CT slices.

``jpeg/`` 2,400 pictures of 1024 x 1024: 2,000 apart, 200 that are copies of others, 200 that are others brightened and
encoded anew. ``png/`` 600 of 512 x 512, grey and colour. ``dicom/`` uncompressed files of
pydicom-data, a block of pixels of each changed, and ``dicom-jpeg2000/`` the same ones compressed without loss.
"""

from __future__ import annotations

import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pydicom
import simplejpeg
import skimage
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import JPEG2000Lossless

JPEGS, COPIES, NEAR = 2000, 200, 200
PNGS = 600
DICOM_COPIES = 40
_DICOM = ("693_UNCR.dcm", "MR2_UNCR.dcm", "RG3_UNCR.dcm", "US1_UNCR.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm")


def make_pictures(folder: Path) -> None:
    """Fill ``folder`` unless that was done before."""
    if (folder / "done").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("jpeg", "png", "dicom", "dicom-jpeg2000"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    bases = _bases()
    for number in range(JPEGS):
        pixels = _cut(bases[number % len(bases)], 1024, rng)
        _jpeg(folder, number, pixels, quality=90)
        if number < NEAR:
            brighter = np.clip(pixels.astype(np.int16) + 6, 0, 255).astype(np.uint8)
            _jpeg(folder, JPEGS + number, brighter, quality=75)
        elif number < NEAR + COPIES:
            shutil.copy(folder / "jpeg" / f"{number:05}.jpg", folder / "jpeg" / f"{JPEGS + number:05}.jpg")
    for number in range(PNGS):
        pixels = _cut(bases[number % len(bases)], 512, rng)
        picture = Image.fromarray(pixels if number % 2 else pixels[:, :, 1])
        picture.save(folder / "png" / f"{number:05}.png", compress_level=6)
    _make_dicom(folder)
    (folder / "done").touch()


def _make_dicom(folder: Path) -> None:
    for name in _DICOM:
        dataset = pydicom.dcmread(dicom_file(name))
        for copy in range(DICOM_COPIES):
            # Other pixels make another picture, which has to be decoded by itself: a block of them moves, so that
            # something is left of the change when a window has cut off the extremes.
            middle = len(dataset.PixelData) // 2
            moved = dataset.PixelData[middle : middle + 64 * (copy + 1)]
            dataset.PixelData = moved + dataset.PixelData[len(moved) :]
            file = f"{Path(name).stem}-{copy:03}.dcm"
            dataset.save_as(folder / "dicom" / file)
            compressed = deepcopy(dataset)
            compressed.compress(JPEG2000Lossless, generate_instance_uid=False)
            compressed.save_as(folder / "dicom-jpeg2000" / file)


def make_photographs(folder: Path, count: int) -> list[str]:
    """``count`` JPEG files of 1024 x 1024 in ``folder``; their names."""
    (folder / "jpeg").mkdir(parents=True)
    rng, bases = np.random.default_rng(0), _bases()
    for number in range(count):
        _jpeg(folder, number, _cut(bases[number % len(bases)], 1024, rng), quality=90)
    return [f"jpeg/{number:05}.jpg" for number in range(count)]


def dicom_file(name: str) -> Path:
    """A file of the package pydicom-data."""
    import data_store

    return Path(data_store.__file__).parent / "data" / name


def _bases() -> list[NDArray[np.uint8]]:
    """Pictures of at least 1400 pixels a side, in colour."""
    skimages = Path(skimage.__file__).parent / "data"
    found = [Image.open(skimages / "retina.jpg"), Image.open(skimages / "ihc.png").resize((1536, 1536), Image.BICUBIC)]
    for name in ("RG3_UNCR.dcm", "RG1_UNCR.dcm", "693_UNCR.dcm"):
        values = pydicom.dcmread(dicom_file(name)).pixel_array.astype(np.float64)
        grey = (values - values.min()) / np.ptp(values) * 255
        picture = Image.fromarray(grey.astype(np.uint8))
        found.append(picture if min(picture.size) >= 1400 else picture.resize((1536, 1536), Image.BICUBIC))
    return [np.asarray(picture.convert("RGB")) for picture in found]


def _cut(base: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square out of a picture, turned and mirrored at random."""
    top, left = (int(rng.integers(0, length - side + 1)) for length in base.shape[:2])
    square = np.rot90(base[top : top + side, left : left + side], int(rng.integers(4)))
    return np.ascontiguousarray(square[:, ::-1] if rng.integers(2) else square)


def _jpeg(folder: Path, number: int, pixels: NDArray[np.uint8], quality: int) -> None:
    data = simplejpeg.encode_jpeg(pixels, quality=quality, colorsubsampling="420")
    (folder / "jpeg" / f"{number:05}.jpg").write_bytes(data)
