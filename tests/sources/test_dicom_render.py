"""Stored values to grey levels and colours, on data sets small enough to compute by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import data_set, picture, pictures, save
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, HTJ2KLossless, ImplicitVRLittleEndian

from curate.sources.dicom import read_dicom

RAMP = np.arange(0, 1024, 4, dtype=np.uint16).reshape(16, 16)


def item(**attributes: Any) -> Dataset:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def table(first: int, entries: list[int], bits: int, *, signed: bool = False) -> Sequence:
    made = Dataset()
    made.add_new("LUTDescriptor", "SS" if signed else "US", [len(entries), first, bits])
    made.add_new("LUTData", "US", entries)
    return Sequence([made])


def test_without_a_window_the_full_range_is_shown(tmp_path: Path) -> None:
    shown = picture(data_set(RAMP + 100), tmp_path / "a.dcm")
    assert np.array_equal(shown, np.floor(RAMP / 1020 * 255 + 0.5))


def test_a_constant_picture_is_black(tmp_path: Path) -> None:
    assert not picture(data_set(np.full((4, 4), 7, np.uint16)), tmp_path / "a.dcm").any()


def test_monochrome1_is_the_negative(tmp_path: Path) -> None:
    window = {"WindowCenter": 300, "WindowWidth": 200}
    positive = picture(data_set(RAMP, **window), tmp_path / "a.dcm")
    negative = picture(data_set(RAMP, PhotometricInterpretation="MONOCHROME1", **window), tmp_path / "b.dcm")
    assert np.abs(255 - positive.astype(int) - negative).max() <= 1  # rounding at exact halves


def test_presentation_lut_shape_does_not_invert_a_second_time(tmp_path: Path) -> None:
    plain = data_set(RAMP, PhotometricInterpretation="MONOCHROME1")
    marked = data_set(RAMP, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    assert np.array_equal(picture(plain, tmp_path / "a.dcm"), picture(marked, tmp_path / "b.dcm"))


@pytest.mark.parametrize(
    ("function", "width", "expected"),
    [
        # PS3.3 C.11.2.1.2: ((x - (100 - 0.5)) / (40 - 1) + 0.5) x 255 for x = 79, 80, 100, 119, 120
        (None, 40, [0, 0, 131, 255, 255]),
        ("LINEAR", 40, [0, 0, 131, 255, 255]),
        # C.11.2.1.3.2: ((x - 100) / 40 + 0.5) x 255
        ("LINEAR_EXACT", 40, [0, 0, 128, 249, 255]),
        # C.11.2.1.3.1: 255 / (1 + exp(-4 (x - 100) / 40))
        ("SIGMOID", 40, [28, 30, 128, 222, 225]),
        # A width of 1 is a threshold.
        ("LINEAR", 1, [0, 0, 255, 255, 255]),
    ],
)
def test_window_functions(tmp_path: Path, function: str | None, width: float, expected: list[int]) -> None:
    made = data_set(np.array([[79, 80, 100, 119, 120]], np.int16), WindowCenter=100, WindowWidth=width)
    if function:
        made.VOILUTFunction = function
    assert picture(made, tmp_path / "a.dcm")[0].tolist() == expected


def test_the_first_window_that_is_allowed_counts(tmp_path: Path) -> None:
    made = data_set(RAMP, WindowCenter=[50, 300, 500], WindowWidth=[0, 200, 100])
    meta = read_dicom(save(made, tmp_path / "a.dcm")).meta
    assert (meta["grey_levels"], meta["window"]) == ("window", [300.0, 200.0])
    made = data_set(RAMP, WindowCenter=50, WindowWidth=0)
    assert read_dicom(save(made, tmp_path / "a.dcm")).meta["grey_levels"] == "full_range"


def test_rescale_comes_before_the_window(tmp_path: Path) -> None:
    hounsfield = np.array([[-160, 39, 240]])
    stored = ((hounsfield + 1024) / 2).astype(np.uint16)
    made = data_set(stored, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    assert picture(made, tmp_path / "a.dcm")[0].tolist() == [0, 127, 255]


@pytest.mark.parametrize("slope", [0, "1E400"])
def test_a_slope_that_would_erase_the_picture_is_ignored(tmp_path: Path, slope: Any) -> None:
    made = data_set(RAMP, RescaleIntercept=0)
    made.add_new("RescaleSlope", "DS", slope)
    assert picture(made, tmp_path / "a.dcm").max() == 255


def test_signed_values_with_unused_high_bits(tmp_path: Path) -> None:
    values = np.array([[-2048, -1, 0, 2047]], np.int16)
    dirty = (values.view(np.uint16) & 0x0FFF | 0x3000).view(np.int16)
    made = data_set(dirty, BitsStored=12)
    assert picture(made, tmp_path / "a.dcm")[0].tolist() == [0, 127, 128, 255]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("element", ["SS", "US"])
def test_padding_is_black_and_out_of_the_range(tmp_path: Path, photometric: str, element: str) -> None:
    made = data_set(np.array([[-2000, 0, 50, 100]], np.int16), PhotometricInterpretation=photometric)
    made.add_new("PixelPaddingValue", element, -2000 if element == "SS" else 65536 - 2000)
    shown = picture(made, tmp_path / "a.dcm", ImplicitVRLittleEndian)[0].tolist()
    assert shown == ([0, 255, 128, 0] if photometric == "MONOCHROME1" else [0, 0, 128, 255])


def test_padding_range(tmp_path: Path) -> None:
    made = data_set(np.array([[10, 11, 12, 20, 40]], np.uint16))
    made.add_new("PixelPaddingValue", "US", 12)
    made.add_new("PixelPaddingRangeLimit", "US", 10)
    assert picture(made, tmp_path / "a.dcm")[0].tolist() == [0, 0, 0, 0, 255]


def test_a_modality_lut_takes_the_place_of_rescale(tmp_path: Path) -> None:
    made = data_set(np.array([[0, 1, 2, 3, 9]], np.uint8), ModalityLUTSequence=table(1, [0, 300, 100], 16))
    made.RescaleSlope, made.RescaleIntercept = 5, 5
    assert picture(made, tmp_path / "a.dcm")[0].tolist() == [0, 0, 255, 85, 85]


@pytest.mark.parametrize("bits", [12, 16], ids=["as declared", "declared too wide"])
def test_a_voi_lut_comes_before_a_window(tmp_path: Path, bits: int) -> None:
    made = data_set(np.array([[0, 10, 11, 12, 40]], np.uint16), VOILUTSequence=table(10, [4095, 2048, 0], bits))
    made.WindowCenter, made.WindowWidth = 20, 10
    path = save(made, tmp_path / "a.dcm")
    assert pictures(read_dicom(path))[0][0].tolist() == [255, 255, 128, 0, 0]
    assert read_dicom(path).meta["grey_levels"] == "lut"


def test_a_voi_lut_on_negative_values_with_an_unsigned_descriptor(tmp_path: Path) -> None:
    made = data_set(np.array([[0, 1, 2]], np.uint16), RescaleSlope=1, RescaleIntercept=-1000)
    made.VOILUTSequence = table(65536 - 1000, [0, 128, 255], 8)
    assert picture(made, tmp_path / "a.dcm")[0].tolist() == [0, 128, 255]


def test_voi_lut_entries_two_to_a_word(tmp_path: Path) -> None:
    packed = item()
    packed.add_new("LUTDescriptor", "US", [4, 0, 8])
    packed.add_new("LUTData", "OW", bytes([0, 50, 100, 255]))
    made = data_set(np.array([[0, 1, 2, 3]], np.uint8), VOILUTSequence=Sequence([packed]))
    assert picture(made, tmp_path / "a.dcm")[0].tolist() == [0, 50, 100, 255]


def enhanced(frames: list[Dataset], shared: Dataset | None = None) -> Dataset:
    stored = np.array([[[0, 100]], [[0, 100]]], np.uint16)
    made = data_set(stored[0], NumberOfFrames=2, PixelData=stored.tobytes())
    made.PerFrameFunctionalGroupsSequence = Sequence(frames)
    if shared is not None:
        made.SharedFunctionalGroupsSequence = Sequence([shared])
    return made


def test_each_frame_of_an_enhanced_file_has_its_own_transform(tmp_path: Path) -> None:
    frames = [
        item(
            PixelValueTransformationSequence=[item(RescaleSlope=slope, RescaleIntercept=0)],
            FrameVOILUTSequence=[item(WindowCenter=100, WindowWidth=width, VOILUTFunction="LINEAR_EXACT")],
        )
        for slope, width in ((1, 200), (2, 400))
    ]
    file = read_dicom(save(enhanced(frames), tmp_path / "a.dcm"))
    assert [frame[0].tolist() for frame in pictures(file)] == [[0, 128], [64, 191]]
    assert file.meta["grey_levels"] == "window"
    assert "window" not in file.meta  # no single one was used


def test_shared_groups_count_where_a_frame_has_none(tmp_path: Path) -> None:
    shared = item(
        PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=-50)],
        FrameVOILUTSequence=[item(WindowCenter=0, WindowWidth=100, VOILUTFunction="LINEAR_EXACT")],
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.25])],
    )
    own = item(FrameVOILUTSequence=[item(WindowCenter=0, WindowWidth=200, VOILUTFunction="LINEAR_EXACT")])
    file = read_dicom(save(enhanced([own], shared), tmp_path / "a.dcm"))
    assert [frame[0].tolist() for frame in pictures(file)] == [[64, 191], [0, 255]]
    assert file.meta["pixel_spacing"] == [0.5, 0.25]


def test_frames_without_a_window_share_one_range(tmp_path: Path) -> None:
    stored = np.array([[[0, 50]], [[0, 100]]], np.uint16)
    made = data_set(stored[0], NumberOfFrames=2, PixelData=stored.tobytes())
    file = read_dicom(save(made, tmp_path / "a.dcm"))
    assert [frame[0].tolist() for frame in pictures(file)] == [[0, 128], [0, 255]]


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_real_valued_pixels(tmp_path: Path, keyword: str) -> None:
    values = np.array([[-0.5, 0.0, 0.5, np.nan, np.inf]], np.float32 if keyword.startswith("F") else np.float64)
    made = data_set(values)
    path = save(made, tmp_path / "a.dcm")
    del made.PixelData, made.BitsStored, made.HighBit, made.PixelRepresentation
    setattr(made, keyword, values.tobytes())
    made.save_as(path, enforce_file_format=True)
    assert pictures(read_dicom(path))[0][0].tolist() == [0, 128, 255, 0, 0]


def test_wide_integers(tmp_path: Path) -> None:
    made = data_set(np.array([[-(2**31), 0, 2**31 - 1]], np.int32))
    assert picture(made, tmp_path / "a.dcm")[0].tolist() == [0, 128, 255]


def test_single_bits(tmp_path: Path) -> None:
    made = data_set(bytes([0b10100101]), Rows=2, Columns=4, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = made.PixelRepresentation = 0
    assert picture(made, tmp_path / "a.dcm").tolist() == [[255, 0, 255, 0], [0, 255, 0, 255]]


COLOURS = np.array([[[255, 0, 0], [0, 128, 0], [0, 0, 64], [9, 8, 7]]], np.uint8)


def test_planes_and_pixels_give_the_same_colours(tmp_path: Path) -> None:
    planes = data_set(COLOURS, PlanarConfiguration=1, PixelData=COLOURS.transpose(2, 0, 1).tobytes())
    assert np.array_equal(picture(data_set(COLOURS), tmp_path / "a.dcm"), COLOURS)
    assert np.array_equal(picture(planes, tmp_path / "b.dcm"), COLOURS)


def test_deep_colours_keep_their_most_significant_bits(tmp_path: Path) -> None:
    deep = data_set(COLOURS.astype(np.uint16) * 16 + 15, BitsStored=12)
    assert np.array_equal(picture(deep, tmp_path / "a.dcm"), COLOURS)


def test_luminance_and_chrominance_become_rgb(tmp_path: Path) -> None:
    made = data_set(np.array([[[76, 85, 255], [128, 128, 128]]], np.uint8), PhotometricInterpretation="YBR_FULL")
    red, grey = picture(made, tmp_path / "a.dcm")[0].astype(int)
    assert np.abs(red - [254, 0, 0]).max() <= 1
    assert grey.tolist() == [128, 128, 128]


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=["little endian", "big endian"])
@pytest.mark.parametrize("kind", ["16 bits", "8 bits in words", "bytes"])
def test_palette(tmp_path: Path, kind: str, syntax: Any) -> None:
    order = "<" if syntax.is_little_endian else ">"
    made = data_set(np.array([[0, 5, 6, 7, 8]], np.uint8), PhotometricInterpretation="PALETTE COLOR")
    for colour, entries in (("Red", [1, 2, 3, 255]), ("Green", [10, 20, 30, 40]), ("Blue", [0, 128, 0, 200])):
        words = np.array(entries) * (257 if kind == "16 bits" else 1)
        made.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [4, 5, 16 if kind == "16 bits" else 8])
        data = words.astype(np.uint8 if kind == "bytes" else f"{order}u2").tobytes()
        made.add_new(f"{colour}PaletteColorLookupTableData", "OW", data)
    shown = picture(made, tmp_path / "a.dcm", syntax)[0].tolist()
    assert shown == [[1, 10, 0], [1, 10, 0], [2, 20, 128], [3, 30, 0], [255, 40, 200]]


def test_a_palette_of_bytes_with_more_than_256_entries(tmp_path: Path) -> None:
    made = data_set(np.array([[0, 255, 256, 4095]], np.uint16), PhotometricInterpretation="PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        made.add_new(f"{colour}PaletteColorLookupTableDescriptor", "US", [4096, 0, 8])
        entries = (np.arange(4096) // 16).astype(np.uint8)
        made.add_new(f"{colour}PaletteColorLookupTableData", "OW", entries.tobytes())
    assert picture(made, tmp_path / "a.dcm")[0, :, 0].tolist() == [0, 15, 16, 255]


def test_high_throughput_jpeg_2000(tmp_path: Path) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    made = data_set(RAMP, WindowCenter=512, WindowWidth=1024)
    expected = picture(made, tmp_path / "a.dcm")
    made.PixelData = encapsulate([imagecodecs.htj2k_encode(RAMP)])
    assert np.array_equal(picture(made, tmp_path / "b.dcm", HTJ2KLossless), expected)
