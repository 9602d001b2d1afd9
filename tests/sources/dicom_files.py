"""DICOM files to test with: the real ones that pydicom and pydicom-data install, and small ones made to order."""

from __future__ import annotations

import functools
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from curate.sources.dicom import DicomError, DicomFile, read_dicom


def _folder(package: str, *parts: str) -> Path:
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]).joinpath(*parts)


SMALL = _folder("pydicom", "data", "test_files")
LARGE = _folder("data_store", "data")


def real(name: str) -> Path:
    """The installed file called ``name``."""
    return SMALL / name if (SMALL / name).exists() else LARGE / name


def real_files() -> list[Path]:
    """Every installed test file, DICOM or not, in a fixed order."""
    return [path for folder in (SMALL, LARGE) for path in sorted(folder.rglob("*")) if path.is_file()]


FILES = [path for path in real_files() if "TINY_ALPHA" not in path.parts or path.name in ("DICOMDIR", "IM000000")]
"""All but 49 of the 50 files of a DICOMDIR that have no pixels."""


@functools.cache
def outcome(path: Path) -> DicomFile | DicomError:
    """What reading a file gives; any other exception is a failure."""
    try:
        return read_dicom(path)
    except DicomError as error:
        return error


def data_set(pixels: np.ndarray[Any, Any] | bytes, **attributes: Any) -> Dataset:
    """A single-frame data set around ``pixels`` (rows x columns, or with a last axis of 3); attributes override."""
    made = Dataset()
    made.SOPClassUID = SecondaryCaptureImageStorage
    made.SOPInstanceUID = generate_uid()
    if isinstance(pixels, np.ndarray):
        colour = pixels.ndim == 3
        made.Rows, made.Columns = pixels.shape[:2]
        made.SamplesPerPixel = 3 if colour else 1
        made.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        if colour:
            made.PlanarConfiguration = 0
        made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
        made.PixelRepresentation = int(pixels.dtype.kind == "i")
        pixels = pixels.tobytes()
    made.PixelData = pixels + b"\0" * (len(pixels) % 2)
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    if "BitsStored" in made:
        made.HighBit = made.BitsStored - 1
    return made


def save(made: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """Write a data set as a DICOM file."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    made["PixelData"].VR = "OB" if made.BitsAllocated <= 8 or syntax.is_encapsulated else "OW"
    made.save_as(path, enforce_file_format=True)
    return path


def pictures(file: DicomFile) -> list[np.ndarray[Any, Any]]:
    """The rendered frames as arrays."""
    return [np.asarray(Image.open(io.BytesIO(image.png))) for image in file.images]


def picture(made: Dataset, path: Path, syntax: UID = ExplicitVRLittleEndian) -> np.ndarray[Any, Any]:
    """Write a data set, read it back and give its only picture."""
    (only,) = pictures(read_dicom(save(made, path, syntax)))
    return only
