"""What must not become a sample: files outside of the input, special files, and things that only look like images."""

import json
import os
import shutil
import socket
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image
from support.ingesting import EXAMPLES, ingest, only_reason, write_lines
from support.pictures import distinct, retina


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("../secret.png", "outside_root"),
        ("../missing.png", "outside_root"),
        ("sub/../../secret.png", "outside_root"),
        ("{tmp}/secret.png", "outside_root"),
        ("file://{tmp}/secret.png", "outside_root"),
        ("link.png", "outside_root"),
        ("folder-link/secret.png", "outside_root"),
        ("/proc/self/environ", "outside_root"),
        ("https://example.org/a.png", "remote_image"),
        ("s3://bucket/a.png", "remote_image"),
        ("a\0.png", "bad_path"),
        ("%2e%2e/secret.png", "missing_image"),
        ("..\\secret.png", "missing_image"),
        ("pipe", "not_a_regular_file"),
        ("sub", "not_a_regular_file"),
        ("nowhere.png", "missing_image"),
        ("data:image/png;base64,@@@", "invalid_base64"),
        ("empty.png", "empty_image"),
        ("page.png", "not_an_image"),
        ("cut.png", "truncated_image"),
        ("cut.jpg", "truncated_image"),
        ("bomb.png", "too_large"),
        ("moving.gif", "several_frames"),
    ],
)
def test_references_that_must_not_become_pictures(raw: Path, tmp_path: Path, reference: str, reason: str) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes(retina())
    (raw / "sub").mkdir()
    (raw / "link.png").symlink_to(outside)
    (raw / "folder-link").symlink_to(tmp_path)
    os.mkfifo(raw / "pipe")
    (raw / "empty.png").write_bytes(b"")
    (raw / "page.png").write_text("<!DOCTYPE html><html>404</html>")
    (raw / "cut.png").write_bytes(retina()[:-2000])
    (raw / "cut.jpg").write_bytes(retina(image_format="JPEG")[:-500])
    (raw / "bomb.png").write_bytes(png_header(60_000, 60_000))
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    frames[0].save(raw / "moving.gif", save_all=True, append_images=frames[1:])
    write_lines(raw / "records.jsonl", {"image": reference.format(tmp=tmp_path), "text": "A picture."})
    _, samples, rejects = ingest(raw)
    assert samples == []
    assert [reject["reason"] for reject in rejects if reject["file"] == "records.jsonl"] == [reason]


def png_header(width: int, height: int) -> bytes:
    """A tiny valid PNG that claims to be enormous."""
    import struct
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_an_allowed_root_opens_exactly_that_folder(raw: Path, tmp_path: Path) -> None:
    for name in ("shared", "private"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(distinct(len(name)))
    write_lines(
        raw / "r.jsonl", *({"image": f"{tmp_path}/{name}/a.png", "text": name} for name in ("shared", "private"))
    )
    _, samples, rejects = ingest(raw, "--allow-root", tmp_path / "shared")
    assert [next(sample.texts()) for sample in samples] == ["shared"]
    assert only_reason(rejects) == "outside_root"


def test_special_files_and_links_in_the_folder_are_told_and_left_alone(raw: Path, tmp_path: Path) -> None:
    os.mkfifo(raw / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(raw / "s.json"))
    (raw / "dangling.jsonl").symlink_to(tmp_path / "nothing")
    (tmp_path / "other.jsonl").write_text('{"image": "x", "text": "y"}')
    (raw / "out.jsonl").symlink_to(tmp_path / "other.jsonl")
    _, samples, rejects = ingest(raw)
    assert samples == []
    assert {(reject["file"], reject["reason"]) for reject in rejects} == {
        ("pipe.jsonl", "not_a_regular_file"),
        ("s.json", "not_a_regular_file"),
        ("dangling.jsonl", "missing_file"),
        ("out.jsonl", "outside_root"),
    }


def test_a_saved_dataset_must_not_lead_out_of_its_folder(raw: Path, tmp_path: Path) -> None:
    secret = pa.table({"image": [{"bytes": retina(), "path": None}], "text": ["SECRET"]})
    with pa.OSFile(str(tmp_path / "secret.arrow"), "wb") as file, pa.ipc.new_stream(file, secret.schema) as out:
        out.write_table(secret)
    for name in ("link", "pipe"):
        folder = raw / name
        folder.mkdir()
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
        (folder / "dataset_info.json").write_text("{}")
    (raw / "link" / "data.arrow").symlink_to(tmp_path / "secret.arrow")
    os.mkfifo(raw / "pipe" / "data.arrow")
    _, samples, rejects = ingest(raw)
    assert samples == []
    assert {(r["file"], r["reason"]) for r in rejects if r["row"] == 0 and r["file"] in ("link", "pipe")} == {
        ("link", "outside_root"),
        ("pipe", "not_a_regular_file"),
    }


def test_a_record_cannot_choose_the_source_of_identified_pictures(raw: Path) -> None:
    shutil.copytree(EXAMPLES / "dicom", raw / "clinic")
    for caption in (raw / "clinic").glob("*.txt"):
        caption.unlink()
    write_lines(raw / "clinic" / "r.jsonl", {"image": "ct-thorax-crop.dcm", "text": "CT.", "source": "public"})
    _, samples, _ = ingest(raw)
    assert [(sample.privacy, sample.source) for sample in samples] == [("identified", "clinic")]
