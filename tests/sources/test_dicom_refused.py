"""DICOM files that must not be rendered: bombs, cut and damaged files, encodings that are not read."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import FILES, data_set, outcome, pictures, real, save
from pydicom.uid import MPEG2MPML, DeflatedExplicitVRLittleEndian, JPEG2000Lossless

from curate.sources import dicom_header, dicom_pixels
from curate.sources.dicom import DicomError, DicomFile, read_dicom


def refusal(path: Path, **limits: int) -> DicomError:
    with pytest.raises(DicomError) as caught:
        read_dicom(path, **limits)
    return caught.value


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_pixels, "iter_pixels", lambda *_, **__: pytest.fail("it was decoded"))
    made = data_set(b"\0" * 8, Rows=65535, Columns=65535, SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    made.BitsAllocated, made.BitsStored, made.PixelRepresentation = 16, 16, 0
    error = refusal(save(made, tmp_path / "a.dcm"))
    assert error.reason == "too_large"
    assert "4,294,836,225" in str(error)
    error = refusal(real("emri_small.dcm"), max_frames=9)
    assert error.reason == "too_many_frames"
    assert "10 frames" in str(error)
    assert "9" in str(error)
    assert refusal(real("emri_small.dcm"), max_pixels=64 * 64 * 10 - 1).reason == "too_large"


def test_a_stream_that_is_larger_than_its_header_says_is_refused_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom_pixels, "iter_pixels", lambda *_, **__: pytest.fail("it was decoded"))
    for name, start, size in (
        ("MR_small_jp2klossless.dcm", b"\xff\x4f\xff\x51", 8),
        ("SC_rgb_dcmtk_+eb+cr.dcm", b"\xff\xc0", 5),
        ("MR_small_jpeg_ls_lossless.dcm", b"\xff\xf7", 5),
    ):
        content = bytearray(real(name).read_bytes())
        at = content.index(start) + size
        content[at : at + 2] = b"\x7f\xff"
        (tmp_path / name).write_bytes(content)
        error = refusal(tmp_path / name)
        assert error.reason == "decode_failed"
        assert "its header says" in str(error)


def test_a_deflated_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(data_set(np.zeros((2000, 2000), np.uint8)), tmp_path / "a.dcm", DeflatedExplicitVRLittleEndian)
    assert path.stat().st_size < 10_000
    assert len(read_dicom(path).images) == 1
    monkeypatch.setattr(dicom_header, "_MAX_INFLATED", 2**20)
    assert refusal(path).reason == "too_large"
    path.write_bytes(path.read_bytes()[:-4])
    monkeypatch.undo()
    assert refusal(path).reason == "truncated"


def test_a_compressed_picture_that_ends_early_is_truncated(tmp_path: Path) -> None:
    # Decoders fill the missing half with grey, so neither a file cut short nor a stream cut short may reach them.
    for name in ("SC_rgb_dcmtk_+eb+cr.dcm", "examples_ybr_color.dcm", "693_J2KR.dcm", "MR_small_RLE.dcm"):
        content = real(name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) * 3 // 4])
        assert refusal(tmp_path / name).reason == "truncated"
    made = pydicom.dcmread(real("SC_rgb_dcmtk_+eb+cr.dcm"))
    (frame,) = pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1)
    made.PixelData = pydicom.encaps.encapsulate([frame[: len(frame) // 2]])
    made.save_as(tmp_path / "cut.dcm")
    assert refusal(tmp_path / "cut.dcm").reason == "truncated"


def test_what_cannot_be_opened_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.dcm")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "folder.dcm").mkdir()
    assert refusal(tmp_path / "fifo.dcm").reason == "unreadable"
    assert refusal(tmp_path / "folder.dcm").reason == "unreadable"
    assert refusal(tmp_path / "absent.dcm").reason == "unreadable"
    assert refusal(tmp_path / "empty.dcm").reason == "not_dicom"


def test_transfer_syntaxes_that_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = data_set(np.zeros((4, 4), np.uint8), NumberOfFrames=900)
    made.PixelData = pydicom.encaps.encapsulate([b"\0\0\1\xb3"])
    error = refusal(save(made, tmp_path / "video.dcm", MPEG2MPML))
    assert error.reason == "unsupported_transfer_syntax"
    assert "MPEG2" in str(error)
    content = real("MR_small.dcm").read_bytes()
    private = content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.113619.5.2\0\0", 1)
    (tmp_path / "private.dcm").write_bytes(private)
    assert refusal(tmp_path / "private.dcm").reason == "unsupported_transfer_syntax"
    monkeypatch.setitem(dicom_pixels._DECODERS, JPEG2000Lossless, "a-decoder")
    error = refusal(real("693_J2KR.dcm"))
    assert error.reason == "missing_decoder"
    assert "install the package a-decoder" in str(error)


def test_an_implicit_file_that_claims_to_be_explicit_and_the_reverse(tmp_path: Path) -> None:
    expected = pictures(read_dicom(real("MR_small.dcm")))[0]
    for name, declared, other in (
        ("MR_small_implicit.dcm", b"1.2.840.10008.1.2\0", b"1.2.840.10008.1.2.1\0"),
        ("MR_small.dcm", b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0"),
    ):
        content = real(name).read_bytes()
        at = content.index(declared)
        swapped = content[: at - 2] + struct.pack("<H", len(other)) + other + content[at + len(declared) :]
        (tmp_path / name).write_bytes(swapped)
        assert np.array_equal(pictures(read_dicom(tmp_path / name))[0], expected)


def test_pixels_without_the_attributes_to_read_them(tmp_path: Path) -> None:
    grey = np.zeros((4, 4), np.uint8)
    for attributes, reason in (
        ({"Rows": 0}, "bad_header"),
        ({"SamplesPerPixel": 3}, "bad_header"),
        ({"PhotometricInterpretation": "HSV"}, "unsupported_pixels"),
        ({"BitsAllocated": 12, "BitsStored": 12}, "unsupported_pixels"),
        ({"NumberOfFrames": -2}, "bad_header"),
        ({"NumberOfFrames": 5}, "truncated"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "bad_header"),
    ):
        assert refusal(save(data_set(grey, **attributes), tmp_path / "a.dcm")).reason == reason, attributes


def test_without_pydicom_files_are_recognised_and_refused() -> None:
    program = """
import sys
sys.modules["pydicom"] = None
from pathlib import Path
from curate.sources.dicom import DicomError, is_dicom, read_dicom
path = Path(sys.argv[1])
assert is_dicom(path.read_bytes()[:132])
try:
    read_dicom(path)
except DicomError as error:
    print(error.reason, error)
"""
    found = subprocess.run(
        [sys.executable, "-c", program, str(real("CT_small.dcm"))], check=True, capture_output=True, text=True
    )
    assert found.stdout == "missing_decoder DICOM needs the package pydicom: install medcurate[dicom]\n"


def test_a_refusal_survives_the_way_between_processes() -> None:
    error = pickle.loads(pickle.dumps(refusal(real("rtdose.dcm"))))
    assert isinstance(error, DicomError)
    assert (error.reason, str(error)) == (
        "not_an_image:rt_dose",
        "it is no picture but a DICOM object of the kind RT Dose",
    )


@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_an_unknown_character_set_does_not_matter(tmp_path: Path) -> None:
    content = real("693_UNCR.dcm").read_bytes()
    assert b"ISO_IR 100" in content
    (tmp_path / "a.dcm").write_bytes(content.replace(b"ISO_IR 100", b"KLINGON\\99"))
    assert len(read_dicom(tmp_path / "a.dcm").images) == 1


def test_libraries_print_log_and_warn_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.dcm").write_bytes(real("SC_rgb_dcmtk_+eb+cr.dcm").read_bytes().replace(b"\xff\xda", b"\xff\x00"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for path in (tmp_path / "a.dcm", real("badVR.dcm"), real("bad_sequence.dcm"), real("SC_rgb_jpeg.dcm")):
            result = outcome(path)
            # A traceback would show the library's error, and with it what it quotes from the header.
            assert isinstance(result, DicomFile) or result.__context__ is None or result.__suppress_context__
    assert not warned
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def damaged(content: bytes, rng: random.Random) -> list[bytes]:
    """The content cut short, with bytes changed anywhere, with bits flipped in the header, and where pixels start."""
    header_end = content.rfind(b"\xe0\x7f\x10\x00")
    header_end = header_end if header_end > 0 else len(content)
    copies = [bytearray(content) for _ in range(3)]
    for _ in range(5):
        copies[0][rng.randrange(len(content))] = rng.randrange(256)
        copies[2][min(header_end + rng.randrange(200), len(content) - 1)] = rng.randrange(256)
    copies[1][rng.randrange(header_end)] ^= 1 << rng.randrange(8)
    return [content[: rng.randrange(len(content))], content[: rng.randrange(header_end)], *map(bytes, copies)]


@pytest.mark.parametrize("path", [path for path in FILES if path.stat().st_size < 700_000], ids=lambda path: path.name)
def test_damaged_files_are_refused_or_valid_and_nothing_else(path: Path, tmp_path: Path) -> None:
    rng = random.Random(path.name)
    content = path.read_bytes()
    for number, broken in enumerate(damaged(content, rng)):
        target = tmp_path / f"{number}.dcm"
        target.write_bytes(broken)
        result = outcome(target)
        if isinstance(result, DicomError):
            assert result.reason
            assert str(result)
        else:
            json.dumps(result.meta, allow_nan=False)
            assert all(shown.size for shown in pictures(result))
