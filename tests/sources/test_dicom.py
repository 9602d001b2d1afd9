"""Real DICOM files: what is rendered, what is refused and why, and what leaves the file."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import FILES, data_set, outcome, pictures, real, save
from PIL import Image

from curate.sources.dicom import DicomError, DicomFile, is_dicom, read_dicom

# Everything that pydicom and pydicom-data install and that is not a picture; the rest must render.
REFUSED = {
    "not_dicom": "README README.txt crayons.icc no_meta.dcm rtplan.dump rtstruct.dump test1.json test_PN.json zipMR.gz",
    "no_pixels": "UN_sequence.dcm empty_charset_LEI.dcm no_meta_group_length.dcm priv_SQ.dcm",
    "bad_header": "meta_missing_tsyntax.dcm nested_priv_SQ.dcm",
    "truncated": "MR_truncated.dcm",
    "decode_failed": "JPEG2000-embedded-sequence-delimiter.dcm SC_rgb_jpeg.dcm",
    "not_an_image:rt_dose": "badVR.dcm rtdose.dcm rtdose_1frame.dcm rtdose_expb.dcm rtdose_expb_1frame.dcm"
    " rtdose_rle.dcm rtdose_rle_1frame.dcm",
    "not_an_image:rt_plan": "rtplan.dcm rtplan_truncated.dcm",
    "not_an_image:rt_ion_plan": "ExplVR_BigEndNoMeta.dcm ExplVR_LitEndNoMeta.dcm",
    "not_an_image:rt_structure_set": "rtstruct.dcm",
    "not_an_image:segmentation": "liver.dcm liver_1frame.dcm liver_expb.dcm liver_expb_1frame.dcm",
    "not_an_image:basic_text_sr": "reportsi.dcm reportsi_with_empty_number_tags.dcm",
    "not_an_image:comprehensive_sr": "test-SR.dcm",
    "not_an_image:12_lead_ecg_waveform": "waveform_ecg.dcm",
    "not_an_image:media_storage_directory": "DICOMDIR DICOMDIR-bigEnd DICOMDIR-empty.dcm DICOMDIR-implicit"
    " DICOMDIR-nooffset DICOMDIR-nopatient DICOMDIR-reordered",
}
REASONS = {name: reason for reason, names in REFUSED.items() for name in names.split()}
LOSSLESS_OR_12_BIT_JPEG = (
    *("JPGExtended.dcm", "JPEG-lossy.dcm", "JPEG-LL.dcm"),
    *("JPGLosslessP14SV1_1s_1f_8b.dcm", "SC_rgb_jpeg_gdcm.dcm", "bad_sequence.dcm"),
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_installed_file_renders_or_is_refused_for_the_right_reason(path: Path) -> None:
    if path.name in LOSSLESS_OR_12_BIT_JPEG:
        pytest.importorskip("imagecodecs", reason="lossless and 12-bit JPEG need imagecodecs")
    result = outcome(path)
    expected = "no_pixels" if path.name == "IM000000" else REASONS.get(path.name)
    if isinstance(result, DicomError):
        assert result.reason == expected, str(result)
        return
    assert expected is None
    header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
    count = int(header.get("NumberOfFrames") or 1)
    assert len(result.images) == count
    assert [image.frame for image in result.images] == (list(range(count)) if count > 1 else [None])
    for image in result.images:
        with Image.open(io.BytesIO(image.png)) as opened:
            opened.load()
            assert opened.format == "PNG"
            assert opened.mode == ("L" if header.PhotometricInterpretation.startswith("MONOCHROME") else "RGB")
            assert opened.size == (image.width, image.height) == (header.Columns, header.Rows)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_that_identifies_a_patient_reaches_the_metadata(path: Path) -> None:
    result = outcome(path)
    if isinstance(result, DicomError):
        return
    # Two files call their patient "Perfusion" and "LUT", which an image type and our own word for grey levels are too.
    text = re.sub('"PERFUSION"|"LUT"', "", json.dumps(list(result.meta.values()), allow_nan=False).upper())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = pydicom.dcmread(path, force=True, stop_before_pixels=True)
        for element in header.iterall():
            named = element.keyword in ("PatientID", "AccessionNumber", "InstitutionName", "StudyID", "StationName")
            instance = element.VR == "UI" and not pydicom.uid.UID(str(element.value)).keyword
            if not (named or instance or element.VR in ("PN", "DA", "TM", "DT")):
                continue
            for word in re.split(r"[\^=\\\s]+", str(element.value or "")):
                assert len(word) < 3 or word.upper() not in text, f"{element.keyword} leaks"


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_free_text_and_long_numbers_are_kept_out_even_of_coded_attributes(tmp_path: Path) -> None:
    made = data_set(
        np.zeros((4, 4), np.uint8), PatientName="DOE^JANE", PatientID="4711", ManufacturerModelName="Jane's"
    )
    made.StudyDescription, made.BodyPartExamined, made.ViewPosition = "Jane Doe", "chest", "PA 19790314"
    made.PatientAge, made.PatientSex, made.ImageType = "093Y", "female", ["ORIGINAL", "PRIMARY", "DOE^JANE"]
    meta = read_dicom(save(made, tmp_path / "a.dcm")).meta
    assert re.fullmatch(r"[0-9a-f]{16}", meta.pop("patient")), "a pseudonym, and no study or series where none is named"
    assert meta == {
        "sop_class": "Secondary Capture Image Storage",
        "image_type": ["ORIGINAL", "PRIMARY"],
        "body_part": "CHEST",
        "patient_age": 90,
        "rows": 4,
        "columns": 4,
        "frames": 1,
        "photometric": "MONOCHROME2",
        "bits_stored": 8,
        "transfer_syntax": "1.2.840.10008.1.2.1",
        "grey_levels": "full_range",
    }


@pytest.mark.parametrize(
    ("age", "years"), [("042Y", 42), ("018M", 1), ("003W", 0), ("400D", 1), ("090Y", 90), ("101Y", 90)]
)
def test_age_in_years(tmp_path: Path, age: str, years: int) -> None:
    path = save(data_set(np.zeros((2, 2), np.uint8), PatientAge=age), tmp_path / "a.dcm")
    assert read_dicom(path).meta["patient_age"] == years


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("age", ["000Y", "", "42", "Y042", "old"])
def test_an_age_that_says_nothing_is_left_out(tmp_path: Path, age: str) -> None:
    path = save(data_set(np.zeros((2, 2), np.uint8), PatientAge=age), tmp_path / "a.dcm")
    assert "patient_age" not in read_dicom(path).meta


@pytest.mark.parametrize(
    ("removed", "burned_in", "expected"),
    [("YES", None, True), ("YES", "NO", True), ("YES", "YES", False), ("NO", "NO", False), (None, "NO", False)],
)
def test_deidentified_needs_the_mark_and_no_burned_in_text(
    tmp_path: Path, removed: str | None, burned_in: str | None, expected: bool
) -> None:
    made = data_set(np.zeros((2, 2), np.uint8))
    if removed:
        made.PatientIdentityRemoved = removed
    if burned_in:
        made.BurnedInAnnotation = burned_in
    assert read_dicom(save(made, tmp_path / "a.dcm")).deidentified is expected


def test_what_the_metadata_of_a_real_file_says() -> None:
    ct = outcome(real("693_UNCR.dcm"))
    assert isinstance(ct, DicomFile)
    assert ct.deidentified
    assert ct.meta["modality"] == "CT"
    assert ct.meta["window"] == [40.0, 100.0]
    assert ct.meta["grey_levels"] == "window"
    assert ct.meta["transfer_syntax"] == "1.2.840.10008.1.2.1"
    assert ct.meta["pixel_spacing"] == pytest.approx([0.478516, 0.478516])
    enhanced = outcome(real("eCT_Supplemental.dcm"))
    assert isinstance(enhanced, DicomFile)
    assert enhanced.meta["frames"] == 2
    assert enhanced.meta["pixel_spacing"] == pytest.approx([0.388672, 0.388672])


# Grey levels by hand: ((stored - 599.5) / 1599 + 0.5) x 255 for the MR (window 600/1600, PS3.3 C.11.2.1.2), and
# (stored - 128) / (2191 - 128) x 255 for the CT, whose stored values run from 128 to 2191 and which has no window.
@pytest.mark.parametrize(
    ("name", "row", "column", "stored", "grey"),
    [
        ("MR_small.dcm", 0, 0, 905, 176),
        ("MR_small.dcm", 10, 50, 1104, 208),
        ("MR_small.dcm", 60, 10, 239, 70),
        ("CT_small.dcm", 0, 0, 175, 6),
        ("CT_small.dcm", 64, 64, 1928, 222),
        ("CT_small.dcm", 100, 30, 1089, 119),
    ],
)
def test_grey_levels_of_real_files_by_hand(name: str, row: int, column: int, stored: int, grey: int) -> None:
    assert pydicom.dcmread(real(name)).pixel_array[row, column] == stored
    assert pictures(read_dicom(real(name)))[0][row, column] == grey


def test_monochrome1_radiographs_show_air_black_and_bone_white() -> None:
    (leg,) = pictures(read_dicom(real("RG3_UNCR.dcm")))
    stored = pydicom.dcmread(real("RG3_UNCR.dcm")).pixel_array
    air, tibia = (880, 1100), (880, 880)
    assert stored[air] > stored[tibia]
    assert leg[air] < 20
    assert leg[tibia] > 180


@pytest.mark.parametrize(
    "names",
    [
        ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_jpeg_ls_lossless.dcm"),
        ("MR_small.dcm", "MR_small_expb.dcm", "MR_small_implicit.dcm", "MR_small_padded.dcm"),
        ("emri_small.dcm", "emri_small_RLE.dcm", "emri_small_jpeg_2k_lossless.dcm", "emri_small_big_endian.dcm"),
        ("SC_rgb.dcm", "SC_rgb_rle.dcm", "SC_rgb_16bit.dcm", "SC_rgb_expb_32bit.dcm"),
        ("US1_UNCR.dcm", "US1_J2KR.dcm"),
        ("RG1_UNCR.dcm", "RG1_J2KR.dcm"),
        ("OBXXXX1A.dcm", "OBXXXX1A_rle.dcm", "OBXXXX1A_expb.dcm"),
        ("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"),
        ("color-px.dcm", "color-pl.dcm"),
    ],
    ids=lambda names: names[0],
)
def test_the_same_picture_in_every_encoding(names: tuple[str, ...]) -> None:
    first, *others = (outcome(real(name)) for name in names)
    assert isinstance(first, DicomFile)
    for other in others:
        assert isinstance(other, DicomFile)
        assert [image.png for image in other.images] == [image.png for image in first.images]


@pytest.mark.skipif(shutil.which("dcm2pnm") is None, reason="dcmtk is not installed")
@pytest.mark.parametrize(
    ("name", "option"),
    [
        *(("693_UNCR.dcm", "+Wi 1"), ("RG1_UNCR.dcm", "+Wi 1"), ("MR2_UNCR.dcm", "+Wi 1"), ("CT_small.dcm", "+Wm")),
        *(("vlut_04.dcm", "+Wl 1"), ("mlut_18.dcm", "+Wm")),
        *(("OT-PAL-8-face.dcm", ""), ("SC_ybr_full_uncompressed.dcm", "")),
    ],
)
def test_dcmtk_renders_the_same(tmp_path: Path, name: str, option: str) -> None:
    target = tmp_path / "dcmtk.png"
    subprocess.run(["dcm2pnm", *option.split(), "+on", str(real(name)), str(target)], check=True, capture_output=True)
    theirs = np.asarray(Image.open(target)).astype(int)
    (ours,) = pictures(read_dicom(real(name)))
    assert np.abs(ours.astype(int) - theirs).max() <= 2  # dcmtk cuts fractions off where curate rounds


def test_reading_twice_gives_the_same_bytes() -> None:
    for name in ("693_J2KI.dcm", "examples_ybr_color.dcm", "RG3_J2KI.dcm"):
        first, second = read_dicom(real(name)), read_dicom(real(name))
        assert first == second


def test_a_multi_frame_file_is_never_held_uncompressed() -> None:
    path = real("examples_ybr_color.dcm")
    uncompressed = 30 * 240 * 320 * 3
    tracemalloc.start()
    try:
        images = read_dicom(path).images
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(images) == 30
    assert peak - sum(len(image.png) for image in images) < uncompressed / 2


@pytest.mark.parametrize("name", ["OT-PAL-8-face.dcm", "rtstruct.dcm", "ExplVR_BigEndNoMeta.dcm", "CT_small.dcm"])
def test_dicom_is_recognised_with_and_without_a_preamble(name: str) -> None:
    assert is_dicom(real(name).read_bytes()[:132])


def test_other_files_are_not_taken_for_dicom(tmp_path: Path) -> None:
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    Image.new("L", (9, 9)).save(tmp_path / "a.jpg")
    others = [path.read_bytes() for path in tmp_path.iterdir()]
    others += [b"", b"DICM", b'{"image": "a.png"}', b"PAR1" * 40, b"\0" * 200, b"\x5c\x01\0\0" * 99, b"PK\3\4" * 40]
    assert not [content[:8] for content in others if is_dicom(content[:1024])]
