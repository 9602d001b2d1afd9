"""One DICOM file from its header to PNGs and the attributes that may leave it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom import Dataset
from pydicom.uid import UID

from curate.sources.dicom import DicomError, DicomFile, DicomImage
from curate.sources.dicom_header import (
    Header,
    items,
    numbers,
    opened,
    refusing,
    value_of,
)
from curate.sources.dicom_pixels import (
    GREY,
    PixelLayout,
    check_size,
    check_stored,
    check_transfer_syntax,
    iter_frames,
    read_layout,
)
from curate.sources.dicom_render import (
    GreyTransform,
    Pixels,
    Window,
    full_range,
    grey_transform,
    padding_range,
    read_palette,
    render_colour,
    render_grey,
    render_palette,
)
from curate.sources.pseudonyms import pseudonym

_PNG_LEVEL = 1
"""On radiographs a fifth larger than level 6 with filters that adapt to each row, in a tenth of the time."""
_CODE = re.compile(r"[A-Z0-9][A-Z0-9 _/&.-]{0,31}")
_LONG_NUMBER = re.compile(r"\d{5}")
_NOT_PICTURES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation",
    "1.2.840.10008.5.1.4.1.1.481.2": "RT Dose",
}
"""SOP classes with pixel data whose values are labels or doses."""


def read(path: Path, *, max_pixels: int, max_frames: int) -> DicomFile:
    """What :func:`curate.sources.dicom.read_dicom` promises."""
    with refusing("bad_header", "its header cannot be parsed"), opened(path) as header:
        _check_kind(header)
        check_transfer_syntax(header)
        layout = read_layout(header)
        check_size(layout, max_pixels=max_pixels, max_frames=max_frames)
        # Decoders know the pixels and the numbers that describe them, so what they say identifies nobody.
        with refusing("decode_failed", f"its {header.encoding.name} pixels cannot be decoded", quote=True):
            check_stored(header, layout)
            images, shown = _render(header, layout)
        return DicomFile(images, _describe(header, layout, shown), _is_deidentified(header.dataset))


def _check_kind(header: Header) -> None:
    """Refuse objects that are no pictures, by the name of their SOP class."""
    uid = _sop_class(header)
    name = _NOT_PICTURES.get(uid)
    if name is None and header.has_pixels:
        return
    if name is None and ("Image" in uid.name or not uid.keyword):
        raise DicomError("no_pixels", "it ends before its pixel data, or never had any")
    name = name or uid.name.removesuffix(" Storage")
    kind = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    raise DicomError(f"not_an_image:{kind}", f"it is no picture but a DICOM object of the kind {name}")


def _sop_class(header: Header) -> UID:
    stated = value_of(header.dataset, "SOPClassUID") or value_of(header.dataset.file_meta, "MediaStorageSOPClassUID")
    return UID(str(stated or ""))


def _render(header: Header, layout: PixelLayout) -> tuple[list[DicomImage], list[GreyTransform]]:
    """All frames as PNG, and the grey transforms they were shown with (none for colour)."""
    dataset, encoding = header.dataset, header.encoding
    # A single frame is kept rather than decoded twice; several are decoded anew for each pass.
    single = list(iter_frames(header, layout)) if layout.frames == 1 else []

    def frames() -> Iterable[Pixels]:
        return single or iter_frames(header, layout)

    transforms: list[GreyTransform] = []
    pictures: Iterator[Pixels]
    if layout.photometric in GREY:
        transforms = [grey_transform(dataset, index, layout, encoding) for index in range(layout.frames)]
        padding = padding_range(dataset, layout)
        unwindowed = any(transform.voi is None for transform in transforms)
        span = full_range(frames(), transforms, padding) if unwindowed else (0.0, 0.0)
        inverted = layout.photometric == "MONOCHROME1"
        pictures = (
            render_grey(frame, transform, span=span, padding=padding, inverted=inverted)
            for frame, transform in zip(frames(), transforms, strict=True)
        )
    elif layout.photometric == "PALETTE COLOR":
        palette = read_palette(dataset, encoding)
        pictures = (render_palette(frame, palette) for frame in frames())
    else:
        pictures = (render_colour(frame, layout) for frame in frames())
    images = [
        DicomImage(_png(picture), layout.columns, layout.rows, index if layout.frames > 1 else None)
        for index, picture in enumerate(pictures)
    ]
    return images, transforms


def _png(picture: Pixels) -> bytes:
    rows = np.ascontiguousarray(picture)
    return bytes(imagecodecs.png_encode(rows, level=_PNG_LEVEL, filter=imagecodecs.PNG.FILTER.UP))


def _describe(header: Header, layout: PixelLayout, shown: list[GreyTransform]) -> dict[str, Any]:
    """The allow-list. Coded strings and numbers only: free text, even a model name, may say who or where."""
    dataset = header.dataset
    sex = _code(value_of(dataset, "PatientSex"))
    found: dict[str, Any] = {
        "modality": _code(value_of(dataset, "Modality")),
        "sop_class": _sop_class(header).name if _sop_class(header).keyword else None,
        "image_type": _codes(value_of(dataset, "ImageType")),
        "body_part": _code(value_of(dataset, "BodyPartExamined")),
        "view_position": _code(value_of(dataset, "ViewPosition")),
        "laterality": _code(value_of(dataset, "ImageLaterality") or value_of(dataset, "Laterality")),
        "patient": pseudonym("patient", str(value_of(dataset, "PatientID") or "")),
        "study": pseudonym("study", str(value_of(dataset, "StudyInstanceUID") or "")),
        "series": pseudonym("series", str(value_of(dataset, "SeriesInstanceUID") or "")),
        "patient_sex": sex if sex in ("M", "F", "O") else None,
        "patient_age": _age_in_years(value_of(dataset, "PatientAge")),
        "rows": layout.rows,
        "columns": layout.columns,
        "frames": layout.frames,
        "photometric": layout.photometric,
        "bits_stored": layout.bits_stored,
        "pixel_spacing": _spacing(dataset),
        "transfer_syntax": str(header.transfer_syntax),
    }
    if shown:
        voi = shown[0].voi
        found["grey_levels"] = "window" if isinstance(voi, Window) else "lut" if voi else "full_range"
        if isinstance(voi, Window) and all(transform.voi == voi for transform in shown):
            found["window"] = [voi.center, voi.width]
    return {key: value for key, value in found.items() if value is not None}


def _code(value: object) -> str | None:
    """A coded string in upper case; None when it is something else, such as text with a long number in it."""
    text = str(value or "").strip().upper()
    return text if _CODE.fullmatch(text) and not _LONG_NUMBER.search(text) else None


def _codes(value: object) -> list[str] | None:
    """The values of a multi-valued coded string that pass as codes; None when there is none."""
    several = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    return [code for item in several if (code := _code(item))] or None


def _age_in_years(value: object) -> int | None:
    """Whole years from an age string such as 042Y or 006M; 90 stands for 90 and older (45 CFR 164.514)."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", str(value or "").strip().upper())
    if not match or not int(match[1]):  # 000Y is what writers put when they do not know
        return None
    return min(int(match[1]) // {"D": 365, "W": 52, "M": 12, "Y": 1}[match[2]], 90)


def _spacing(dataset: Dataset) -> list[float] | None:
    """Distance of rows and of columns in the patient, in mm; for enhanced files the one that all frames share."""
    groups = items(dataset, "SharedFunctionalGroupsSequence")
    shared = [measure for group in groups for measure in items(group, "PixelMeasuresSequence")]
    for source in (dataset, *shared):
        spacing = numbers(source, "PixelSpacing")
        if len(spacing) == 2 and min(spacing) > 0:
            return spacing
    return None


def _is_deidentified(dataset: Dataset) -> bool:
    removed, burned_in = (value_of(dataset, key) for key in ("PatientIdentityRemoved", "BurnedInAnnotation"))
    return _code(removed) == "YES" and _code(burned_in) != "YES"
