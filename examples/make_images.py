"""Make every image file under ``examples/raw`` from the packages that ship the originals.

Usage::

    pip install pydicom pydicom-data scikit-image python-gdcm pylibjpeg-openjpeg
    python examples/make_images.py [SITE_PACKAGES ...]

Each SITE_PACKAGES is a directory that holds one or more of the packages; without any, they are looked up where this
Python imports from. Nothing is downloaded. Pixels come out the same everywhere; compressed bytes may differ with the
version of Pillow. LICENSES.md names the origin and licence of every file.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

RAW = Path(__file__).parent / "raw"
LONGEST_SIDE = 640
JPEG_QUALITY = 88

PYDICOM_DATA = "data_store/data"
PYDICOM = "pydicom/data/test_files"
SKIMAGE = "skimage/data"


class Picture(NamedTuple):
    """One file to make: where it comes from and how it is rendered."""

    target: str
    """Path below ``raw``; the suffix decides the encoding."""
    source: str
    """Path below a site-packages directory."""
    window: tuple[float, float] | None = None
    """Centre and width in the units of the modality LUT; None: the file's own window."""
    frame: int = 0
    crop: tuple[int, int, int, int] | None = None
    """Left, top, right, bottom in pixels of the original, after it was turned upright."""
    longest: int = LONGEST_SIDE


CHEST = f"{PYDICOM_DATA}/RG1_J2KR.dcm"
LOWER_LEG = f"{PYDICOM_DATA}/RG3_J2KR.dcm"
ABDOMEN_CT = f"{PYDICOM_DATA}/explicit_VR-UN.dcm"
HEAD_CT = f"{PYDICOM}/J2K_pixelrep_mismatch.dcm"
SPINE_CT = f"{PYDICOM_DATA}/bad_sequence.dcm"
SHOULDER_MR = f"{PYDICOM_DATA}/MR2_J2KR.dcm"
ABDOMEN_MR = f"{PYDICOM_DATA}/MR-SIEMENS-DICOM-WithOverlays.dcm"
BONE_SCAN = f"{PYDICOM_DATA}/JPEG-LL.dcm"
LYMPH_NODE = f"{PYDICOM_DATA}/US1_J2KR.dcm"
PELVIS_US = f"{PYDICOM_DATA}/gdcm-US-ALOKA-16.dcm"
AORTA_US = f"{PYDICOM_DATA}/JPGLosslessP14SV1_1s_1f_8b.dcm"
APICAL_US = f"{PYDICOM_DATA}/color3d_jpeg_baseline.dcm"
SLIDE_GLASS = f"{PYDICOM}/SC_jpeg_no_color_transform_2.dcm"
RETINA = f"{SKIMAGE}/retina.jpg"
MICROANEURYSMS = f"{SKIMAGE}/microaneurysms.png"
COLON = f"{SKIMAGE}/ihc.png"
CELL = f"{SKIMAGE}/cell.png"

SOFT_TISSUE, BRAIN, BONE = (40.0, 400.0), (40.0, 80.0), (400.0, 1800.0)
BONE_SCAN_COUNTS = (30.0, 60.0)
CHEST_WINDOW = (12000.0, 22000.0)
"""Narrower than the file's 15000/30000, which leaves the upper quarter of the grey scale unused."""
BODY = (60, 110, 470, 420)
"""The patient in the abdominal CT, without the empty field around."""
LESION = (700, 950, 1100, 1300)
"""The lesion of the distal tibia."""
NO_BURNED_IN_TEXT = {LYMPH_NODE: (0, 104, 640, 384), PELVIS_US: (0, 26, 640, 416), APICAL_US: (70, 34, 570, 414)}
"""Crops that leave out institution, date and menu lines burned into the frame."""

PICTURES = (
    Picture("radiology/chest-pa.png", CHEST, CHEST_WINDOW),
    Picture("radiology/lower-leg-ap.png", LOWER_LEG),
    Picture("radiology/ct-abdomen.png", ABDOMEN_CT, SOFT_TISSUE, crop=BODY),
    Picture("radiology/ct-head.png", HEAD_CT, BRAIN),
    Picture("radiology/mr-shoulder.jpg", SHOULDER_MR),
    Picture("radiology/mr-abdomen.png", ABDOMEN_MR),
    Picture("radiology/bone-scan.png", BONE_SCAN, BONE_SCAN_COUNTS),
    Picture("radiology/us-lymph-node.jpg", LYMPH_NODE, crop=NO_BURNED_IN_TEXT[LYMPH_NODE]),
    Picture("radiology/us-pelvis.jpg", PELVIS_US, crop=NO_BURNED_IN_TEXT[PELVIS_US]),
    Picture("radiology/ct-spine-soft-tissue.png", SPINE_CT, SOFT_TISSUE, longest=448),
    Picture("radiology/ct-spine-bone.png", SPINE_CT, BONE, longest=448),
    Picture("radiology/echo-valve-closed.jpg", APICAL_US, frame=60, crop=NO_BURNED_IN_TEXT[APICAL_US]),
    Picture("radiology/echo-valve-open.jpg", APICAL_US, frame=10, crop=NO_BURNED_IN_TEXT[APICAL_US]),
    Picture("radiology/study-07.png", ABDOMEN_CT, BONE, crop=BODY),
    Picture("radiology/ankle-detail.jpg", LOWER_LEG, crop=(600, 1250, 1200, 1760), longest=448),
    Picture("pathology-captions/ihc-colon.png", COLON),
    Picture("pathology-captions/ihc-gland.jpg", COLON, crop=(270, 0, 470, 310)),
    Picture("pathology-captions/ihc-stroma.jpg", COLON, crop=(100, 210, 400, 400)),
    Picture("pathology-captions/retina.jpg", RETINA),
    Picture("pathology-captions/optic-disc.jpg", RETINA, crop=(30, 430, 530, 930), longest=448),
    Picture("pathology-captions/microaneurysms.png", MICROANEURYSMS),
    Picture("pathology-captions/phase-cell.png", CELL, crop=(270, 240, 550, 520)),
    Picture("pathology-captions/slide-background.png", SLIDE_GLASS),
    Picture("case-reports/lower-leg.jpg", LOWER_LEG, longest=512),
    Picture("case-reports/lower-leg-lesion.jpg", LOWER_LEG, crop=LESION, longest=448),
    Picture("case-reports/head-brain-window.jpg", HEAD_CT, BRAIN, longest=448),
    Picture("case-reports/head-bone-window.jpg", HEAD_CT, BONE, longest=448),
    Picture("instructions/chest.jpg", CHEST, CHEST_WINDOW, longest=512),
    Picture("instructions/shoulder.jpg", SHOULDER_MR, longest=512),
    Picture("instructions/abdomen.jpg", ABDOMEN_CT, SOFT_TISSUE, crop=BODY, longest=512),
    Picture("instructions/spine-soft-tissue.jpg", SPINE_CT, SOFT_TISSUE, longest=384),
    Picture("instructions/spine-bone.jpg", SPINE_CT, BONE, longest=384),
    Picture("vqa/images/chest.jpg", CHEST, CHEST_WINDOW, longest=448),
    Picture("vqa/images/lower-leg.jpg", LOWER_LEG, longest=448),
    Picture("vqa/images/abdomen-ct.jpg", ABDOMEN_CT, SOFT_TISSUE, crop=BODY, longest=448),
    Picture("vqa/images/abdomen-mr.jpg", ABDOMEN_MR, longest=448),
    Picture("vqa/images/head-ct.jpg", HEAD_CT, BRAIN, longest=448),
    Picture("vqa/images/shoulder-mr.jpg", SHOULDER_MR, longest=448),
    Picture("vqa/images/lymph-node.jpg", LYMPH_NODE, crop=NO_BURNED_IN_TEXT[LYMPH_NODE], longest=448),
    Picture("vqa/images/aorta.jpg", AORTA_US),
    Picture("vqa/images/bone-scan.png", BONE_SCAN, BONE_SCAN_COUNTS, longest=448),
    Picture("vqa/images/fundus.jpg", RETINA, longest=448),
    Picture("vqa/images/colon-ihc.jpg", COLON, longest=448),
)

DICOM_FILES = {
    "dicom/ct-thorax-crop.dcm": f"{PYDICOM}/CT_small.dcm",
    "dicom/mr-crop.dcm": f"{PYDICOM}/MR_small.dcm",
    "dicom/mr-head-10-frames.dcm": f"{PYDICOM_DATA}/emri_small.dcm",
    "dicom/us-colour-doppler.dcm": f"{PYDICOM_DATA}/color-pl.dcm",
    "dicom/nm-whole-body.dcm": BONE_SCAN,
}
"""Copied byte for byte."""

EMBEDDED = {
    "case-reports/cases.jsonl": Picture("fundus.jpg", RETINA, longest=288),
    "pathology-captions/captions.jsonl": Picture("disc.png", MICROANEURYSMS, crop=(0, 0, 64, 64)),
}
"""Record file -> the picture that its one base64 string holds."""


def find_source(relative: str, site_packages: list[Path]) -> Path:
    """The file ``relative`` names, below one of ``site_packages`` or beside the installed packages."""
    package = relative.partition("/")[0]
    roots = list(site_packages)
    if not roots:
        spec = find_spec(package)
        roots = [Path(place).parent for place in (spec.submodule_search_locations or ())] if spec else []
    for root in roots:
        if (root / relative).is_file():
            return root / relative
    raise SystemExit(f"make_images: {relative} is in none of: {', '.join(map(str, roots)) or 'the installed packages'}")


def upright(pixels: npt.NDArray[Any], dataset: pydicom.Dataset) -> npt.NDArray[Any]:
    """Turn axial slices and radiographs so that the patient's right is on the left and anterior or the head is up."""
    cosines = dataset.get("ImageOrientationPatient")
    directions = dataset.get("PatientOrientation")
    if cosines and abs(cosines[0]) > 0.9 and abs(cosines[4]) > 0.9:
        pixels = pixels[:: -1 if cosines[4] < 0 else 1, :: -1 if cosines[0] < 0 else 1]
    elif directions and directions[0] == "R":
        pixels = pixels[:, ::-1]
    return pixels


def render_dicom(path: Path, window: tuple[float, float] | None, frame: int) -> Image.Image:
    """One frame as 8-bit grey or RGB: modality LUT, linear window (PS3.3 C.11.2.1.2), then MONOCHROME1 inversion."""
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array
    if int(dataset.get("NumberOfFrames", 1)) > 1:
        pixels = pixels[frame]
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(pixels, dataset)
        return Image.fromarray((colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours)
    if dataset.SamplesPerPixel > 1:
        return Image.fromarray(pixels)
    values = apply_modality_lut(upright(pixels, dataset), dataset).astype(np.float64)
    if window is None:
        first = [
            value[0] if isinstance(value, MultiValue) else value
            for value in (dataset.WindowCenter, dataset.WindowWidth)
        ]
        window = float(first[0]), float(first[1])
    centre, width = window
    grey = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        grey = 1 - grey
    return Image.fromarray(np.rint(grey * 255).astype(np.uint8))


def make(picture: Picture, site_packages: list[Path]) -> bytes:
    """The encoded file that ``picture`` describes."""
    source = find_source(picture.source, site_packages)
    if source.suffix == ".dcm":
        image = render_dicom(source, picture.window, picture.frame)
    else:
        image = Image.open(source).copy()
    if picture.crop:
        image = image.crop(picture.crop)
    image.thumbnail((picture.longest, picture.longest), Image.Resampling.LANCZOS)
    image.info.clear()
    encoded = io.BytesIO()
    if picture.target.endswith(".jpg"):
        image.save(encoded, "JPEG", quality=JPEG_QUALITY, optimize=True)
    else:
        image.save(encoded, "PNG", optimize=True)
    return encoded.getvalue()


def embed(record_file: Path, encoded: bytes, suffix: str) -> None:
    """Replace the base64 string of the one record in ``record_file`` that carries its picture inside."""
    text = base64.b64encode(encoded).decode()
    lines = []
    for line in record_file.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if str(record.get("image", "")).startswith("data:"):
            record["image"] = f"data:image/{suffix};base64,{text}"
        for slot in record.get("image_info", ()):
            if slot and "image_base64" in slot:
                slot["image_base64"] = text
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    record_file.write_text("".join(lines), encoding="utf-8")


def make_broken_files(site_packages: list[Path]) -> None:
    """The files that are wrong on purpose: no content, cut short, and a JPEG that is called PNG."""
    Image.new("L", (512, 512), 0).save(RAW / "radiology/slice-blank.png", optimize=True)
    chest = make(Picture("chest.png", CHEST, CHEST_WINDOW, longest=320), site_packages)
    (RAW / "radiology/chest-lateral.png").write_bytes(chest[: len(chest) // 2])
    (RAW / "radiology/us-aorta.png").write_bytes(make(Picture("aorta.jpg", AORTA_US, longest=512), site_packages))


def main(arguments: list[str]) -> None:
    """Write every file below ``raw`` and print its size."""
    site_packages = [Path(argument) for argument in arguments]
    for picture in PICTURES:
        target = RAW / picture.target
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(make(picture, site_packages))
        print(f"{target.stat().st_size:>8} {picture.target}")
    for target_name, source in DICOM_FILES.items():
        (RAW / target_name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(find_source(source, site_packages), RAW / target_name)
        print(f"{(RAW / target_name).stat().st_size:>8} {target_name}")
    make_broken_files(site_packages)
    for record_name, picture in EMBEDDED.items():
        if (RAW / record_name).exists():
            suffix = "jpeg" if picture.target.endswith(".jpg") else "png"
            embed(RAW / record_name, make(picture, site_packages), suffix)


if __name__ == "__main__":
    main(sys.argv[1:])
