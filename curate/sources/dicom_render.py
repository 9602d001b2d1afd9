"""Stored DICOM pixels to 8 bits: modality LUT, then VOI LUT or window, then MONOCHROME1 inversion (PS3.4 N.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import UID

from curate.sources.dicom import DicomError
from curate.sources.dicom_header import integer, items, numbers, value_of
from curate.sources.dicom_pixels import PixelLayout

Pixels = NDArray[Any]
Grey = NDArray[np.uint8]
Real = NDArray[np.float64]

_BLOCK = 2**22
"""Pixels of more than 16 bits that are computed at a time, to bound the memory of their 64-bit intermediates."""


@dataclass(frozen=True, slots=True)
class Lut:
    """A table from whole values to output levels (PS3.3 C.11.1.1, C.11.2.1.1)."""

    first: int
    """The input value of the first entry; lower values map to it, and values past the end to the last entry."""
    entries: Real
    top: int
    """The output level that means full scale."""

    def __call__(self, values: Real) -> Real:
        index = np.clip(np.nan_to_num(np.rint(values)) - self.first, 0, len(self.entries) - 1)
        levels: Real = self.entries[index.astype(np.intp)]
        return levels


@dataclass(frozen=True, slots=True)
class Window:
    """Centre and width in modality units, and one of LINEAR, LINEAR_EXACT, SIGMOID (PS3.3 C.11.2.1.2, C.11.2.1.3)."""

    center: float
    width: float
    function: str

    def __call__(self, values: Real) -> Real:
        """Brightness from 0 to 1."""
        if self.function == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (values - self.center) / self.width, -700, 700)))
        if self.function == "LINEAR_EXACT":
            return np.clip((values - self.center) / self.width + 0.5, 0, 1)
        if self.width == 1:
            return (values > self.center - 0.5).astype(np.float64)
        return np.clip((values - (self.center - 0.5)) / (self.width - 1) + 0.5, 0, 1)


@dataclass(frozen=True, slots=True)
class GreyTransform:
    """How one frame's stored values become grey levels."""

    slope: float
    intercept: float
    modality: Lut | None
    """Takes the place of slope and intercept."""
    voi: Lut | Window | None
    """None when the file says nothing: then the full range of its valid pixels is shown."""

    def rescaled(self, stored: Pixels) -> Real:
        """Stored values in modality units, such as Hounsfield units."""
        values = stored.astype(np.float64)
        return self.modality(values) if self.modality else values * self.slope + self.intercept


def grey_transform(dataset: Dataset, frame: int, layout: PixelLayout, encoding: UID) -> GreyTransform:
    """The transform of one frame: its own functional group, else the shared one, else the top of the data set.

    Of several alternatives the first valid one counts, and a VOI LUT comes before a window.
    """
    values = _group(dataset, frame, "PixelValueTransformationSequence") or dataset
    view = _group(dataset, frame, "FrameVOILUTSequence") or dataset
    modality = next((_lut(item, encoding, signed=layout.signed) for item in items(values, "ModalityLUTSequence")), None)
    slope, intercept = numbers(values, "RescaleSlope"), numbers(values, "RescaleIntercept")
    slope_value = slope[0] if slope and slope[0] else 1.0  # a slope of 0 would erase the picture
    intercept_value = intercept[0] if intercept else 0.0
    signed = modality is None and (layout.signed or intercept_value < 0)
    voi = next((_lut(item, encoding, signed=signed) for item in items(view, "VOILUTSequence")), None)
    return GreyTransform(slope_value, intercept_value, modality, voi or _window(view))


def padding_range(dataset: Dataset, layout: PixelLayout) -> tuple[int, int] | None:
    """Lowest and highest stored value that stands for "no image here" (PS3.3 C.7.5.1.1.2)."""
    value = integer(dataset, "PixelPaddingValue")
    if value is None:
        return None
    limit = integer(dataset, "PixelPaddingRangeLimit")
    # Writers disagree on whether the elements are signed: their bits count, as a pixel's would.
    stored = np.dtype(f"{'i' if layout.signed else 'u'}{max(layout.bits_allocated // 8, 1)}")
    ends = [int(np.int64(end).astype(stored)) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def full_range(
    frames: Iterable[Pixels], transforms: list[GreyTransform], padding: tuple[int, int] | None
) -> tuple[float, float]:
    """Lowest and highest valid value of all frames in modality units, so that frames keep their brightness relations.

    Padding and values that are not finite do not count; (0, 0) when nothing is left.
    """
    low, high = np.inf, -np.inf
    for frame, transform in zip(frames, transforms, strict=True):
        stored = _distinct(frame)
        if padding:
            stored = stored[(stored < padding[0]) | (stored > padding[1])]
        values = transform.rescaled(stored)
        values = values[np.isfinite(values)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def render_grey(
    frame: Pixels,
    transform: GreyTransform,
    *,
    span: tuple[float, float],
    padding: tuple[int, int] | None,
    inverted: bool,
) -> Grey:
    """One frame as 8-bit grey, black to white. ``span`` is the value range shown where the file gives no VOI.

    Padding and values that are not numbers become black, as the background of a viewer, also when ``inverted``
    (MONOCHROME1: the lowest value is white).
    """

    def levels(stored: Pixels) -> Grey:
        values = transform.rescaled(stored)
        voi = transform.voi
        if isinstance(voi, Lut):
            brightness = voi(values) / voi.top
        elif voi is not None:
            brightness = voi(values)
        elif span[1] > span[0]:
            brightness = np.clip((values - span[0]) / (span[1] - span[0]), 0, 1)
        else:
            brightness = np.zeros_like(values)
        if inverted:
            brightness = 1 - brightness
        hidden = ~np.isfinite(values)
        if padding:
            hidden |= (stored >= padding[0]) & (stored <= padding[1])
        brightness[hidden] = 0
        return np.floor(brightness * 255 + 0.5).astype(np.uint8)

    if (codes := _codes(frame)) is not None:
        # Every stored value is computed once, then looked up: exact, and far cheaper than float pixels.
        every = np.arange(2 ** (8 * frame.dtype.itemsize)).astype(codes.dtype)
        return levels(every.view(frame.dtype))[codes]
    flat = frame.reshape(-1)
    blocks = [levels(flat[start : start + _BLOCK]) for start in range(0, flat.size, _BLOCK)]
    return np.concatenate(blocks).reshape(frame.shape)


def render_colour(frame: Pixels, layout: PixelLayout) -> Grey:
    """One RGB frame as 8 bits a channel: the most significant bits of what is stored."""
    surplus = layout.bits_stored - 8 if frame.dtype.itemsize > 1 else 0
    picture: Grey = np.clip(frame >> max(surplus, 0), 0, 255).astype(np.uint8)
    return picture


def read_palette(dataset: Dataset, encoding: UID) -> tuple[int, Grey]:
    """First mapped stored value, and the RGB of it and those after it (PS3.3 C.7.6.3.1.5, segmented ones too)."""
    descriptor = numbers(dataset, "RedPaletteColorLookupTableDescriptor")
    if len(descriptor) != 3:
        raise DicomError("bad_header", "its palette has no descriptor")
    count, first = int(descriptor[0]) or 2**16, int(descriptor[1])
    keywords = (f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue"))
    columns = [data for keyword in keywords if (data := value_of(dataset, keyword))]
    if len(columns) == 3:
        table = np.stack([_entries(data, count, encoding) for data in columns], axis=1)
    else:
        table = apply_color_lut(np.arange(first, first + count, dtype=np.int32), dataset)[:, :3]
    # Entries of 16 bits carry the colour in the high byte; entries of 8 bits may be stored as words all the same.
    return first, (table >> (8 if table.max() > 255 else 0)).astype(np.uint8)


def render_palette(frame: Pixels, palette: tuple[int, Grey]) -> Grey:
    """One frame of palette indices as RGB."""
    first, table = palette
    pixels: Grey = table[np.clip(frame.astype(np.int32) - first, 0, len(table) - 1)]
    return pixels


def _group(dataset: Dataset, frame: int, macro: str) -> Dataset | None:
    """A functional group macro of an enhanced multi-frame file, which apply_modality_lut of pydicom 3 ignores."""
    own = items(dataset, "PerFrameFunctionalGroupsSequence")[frame : frame + 1]
    for group in (*own, *items(dataset, "SharedFunctionalGroupsSequence")):
        if found := items(group, macro):
            return found[0]
    return None


def _window(dataset: Dataset) -> Window | None:
    """The first window that the standard allows; None when there is none."""
    function = str(value_of(dataset, "VOILUTFunction") or "LINEAR").strip().upper()
    for center, width in zip(numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth"), strict=False):
        if width >= 1 or (width > 0 and function in ("LINEAR_EXACT", "SIGMOID")):
            return Window(center, width, function)
    return None


def _lut(item: Dataset, encoding: UID, *, signed: bool) -> Lut | None:
    """The table in an item of a Modality or VOI LUT Sequence; None when it is unusable."""
    descriptor, data = numbers(item, "LUTDescriptor"), value_of(item, "LUTData")
    if len(descriptor) != 3 or data is None:
        return None
    count, first = int(descriptor[0]) or 2**16, int(descriptor[1])
    entries = _entries(data, count, encoding)
    if not entries.size or not entries.max():
        return None
    if signed and first >= 2**15:
        first -= 2**16  # the descriptor is often written as unsigned although negative values are meant
    # Writers that declare 16 bits and use 12 would come out black: count the bits that are used.
    return Lut(first, entries.astype(np.float64), 2 ** int(entries.max()).bit_length() - 1)


def _entries(data: Any, count: int, encoding: UID) -> NDArray[np.uint16]:
    """The entries of a lookup table, stored as words, or as bytes when there is one byte for each."""
    if not isinstance(data, bytes):
        data = np.atleast_1d(np.asarray(data)).astype("<u2" if encoding.is_little_endian else ">u2").tobytes()
    if count <= len(data) <= count + 1:
        return np.frombuffer(data, np.uint8)[:count].astype(np.uint16)
    words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if encoding.is_little_endian else ">u2")
    return words[:count].astype(np.uint16)


def _codes(frame: Pixels) -> Pixels | None:
    """Values of at most 16 bits as the unsigned number with the same bits; None for wider or real values."""
    narrow = frame.dtype.kind in "iu" and frame.dtype.itemsize <= 2
    return frame.view(np.dtype(f"u{frame.dtype.itemsize}")) if narrow else None


def _distinct(frame: Pixels) -> Pixels:
    """The stored values that occur; all of them, repeated, where there are too many to tabulate."""
    if (codes := _codes(frame)) is None:
        return frame.reshape(-1)
    seen = np.zeros(2 ** (8 * frame.dtype.itemsize), dtype=bool)
    seen[codes] = True
    return np.flatnonzero(seen).astype(codes.dtype).view(frame.dtype)
