"""Patients, studies and series by pseudonyms: equal for equal ones, of no use without the key, and apart in a split."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from support.cli import curate


def write_scan(path: Path, patient: str, study: str, number: int) -> None:
    """A CT slice of a patient, with pixels of its own and a caption beside it."""
    scan = dcmread(str(get_testdata_file("CT_small.dcm")))
    scan.PatientID, scan.StudyInstanceUID, scan.SeriesInstanceUID = patient, study, study + ".1"
    pixels = scan.pixel_array.copy()
    pixels[number % 100, : number % 90 + 10] += 200
    scan.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    scan.save_as(path)
    path.with_suffix(".txt").write_text(f"Axial CT slice number {number} of the abdomen.")


def scans(raw: Path, patients: int, each: int) -> None:
    for patient in range(patients):
        for number in range(each):
            path = raw / "ct" / f"{patient}-{number}.dcm"
            write_scan(path, f"MRN-{patient:06d}", generate_uid(entropy_srcs=[f"{patient}"]), patient * each + number)


def ingested(raw: Path, corpus: Path, key: Path) -> list[dict[str, Any]]:
    ran = curate("ingest", raw, "-o", corpus, env={"CURATE_PSEUDONYM_KEY": str(key)})
    assert ran.status == 0, ran.err
    import pyarrow.parquet as pq

    table = pq.read_table(corpus / "samples", columns=["id", "file", "meta"])
    return [row | {"dicom": json.loads(row["meta"])["dicom"]} for row in table.to_pylist()]


def test_equal_identifiers_have_equal_pseudonyms_and_nothing_else_is_kept(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    scans(raw, 2, 3)
    rows = ingested(raw, tmp_path / "c", tmp_path / "keys" / "one")
    for name in ("patient", "study", "series"):
        found = {row["file"].split("/")[1].split("-")[0]: row["dicom"][name] for row in rows}
        assert len({row["dicom"][name] for row in rows}) == len(set(found.values())) == 2
        assert all(len(value) == 16 for value in found.values())
    again = ingested(raw, tmp_path / "again", tmp_path / "keys" / "one")
    other = ingested(raw, tmp_path / "other", tmp_path / "keys" / "two")
    assert [row["dicom"] for row in again] == [row["dicom"] for row in rows]
    assert [row["id"] for row in other] == [row["id"] for row in rows]
    assert not {row["dicom"]["patient"] for row in rows} & {row["dicom"]["patient"] for row in other}
    key = (tmp_path / "keys" / "one").read_text().strip()
    assert (tmp_path / "keys" / "one").stat().st_mode & 0o077 == 0
    for path in (tmp_path / "c").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"MRN-" not in data
            assert key.encode() not in data


def test_slices_of_one_patient_are_on_one_side_of_a_split(tmp_path: Path) -> None:
    scans(tmp_path / "raw", 6, 4)
    key = {"CURATE_PSEUDONYM_KEY": str(tmp_path / "key")}
    options = ("--declare-deidentified", "ct", "--val-fraction", "0.4", "--json")
    assert curate("score", tmp_path / "raw", "-o", tmp_path / "c", env=key).status == 0
    for seed in range(4):
        out = tmp_path / str(seed)
        ran = curate("export", tmp_path / "c", "--format", "jsonl", "-o", out, *options, "--seed", str(seed), env=key)
        assert ran.status == 0, ran.err
        assert not any("no patient or study" in note for note in ran.json()["notes"])
        sides = {
            side: {json.loads(line)["meta"]["dicom"]["patient"] for line in (out / f"{side}.jsonl").open()}
            for side in ("train", "val")
        }
        assert not sides["train"] & sides["val"]
        assert len(sides["train"] | sides["val"]) == 6


def test_a_key_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    scans(tmp_path / "raw", 1, 1)
    (tmp_path / "short").write_text("abc")
    (tmp_path / "folder").mkdir()
    for name, message in (("short", "holds no key of 32 bytes"), ("folder", "CURATE_PSEUDONYM_KEY")):
        env = {"CURATE_PSEUDONYM_KEY": str(tmp_path / name)}
        ran = curate("ingest", tmp_path / "raw", "-o", tmp_path / f"c-{name}", env=env)
        assert ran.status == 2
        assert message in ran.err
