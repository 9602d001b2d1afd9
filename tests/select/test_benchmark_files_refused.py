"""Files that are something else are refused with what they are, and nothing hostile in them leads anywhere."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.benchmark_files import (
    slake,
    vqa_rad,
    write_json,
    write_lines,
)
from support.benchmark_reading import items, pictures, refused
from support.corpora import picture

from curate.corpus import UserError
from curate.select.benchmarks import read_rows
from curate.select.benchmarks.tree import Tree


def test_a_benchmark_without_any_of_its_pictures_is_refused(tmp_path: Path) -> None:
    path = slake(tmp_path / "slake", items("jpeg"), zipped=True)
    (path / "imgs.zip").unlink()
    message = refused("slake", path)
    assert "none of the 3 pictures of slake is there, 'xmlab0/source.jpg' for one; put them" in message


def test_a_record_that_is_no_record_is_named(tmp_path: Path) -> None:
    good = {"query": "What is shown?", "answer": "A", "query_type": "exact"}
    write_lines(tmp_path / "ours.jsonl", [good, {"question": "What?", "answer": "a"}])
    message = refused("ours", tmp_path, format_name="generic")
    assert "ours.jsonl: row 2 of ours cannot be used: its fields (question, answer) are those of none" in message
    write_lines(tmp_path / "ours.jsonl", [good | {"answer": []}])
    assert "row 1 of ours cannot be used: as query it is not valid: answer:" in refused(
        "ours", tmp_path, format_name="generic"
    )


WRONG: list[tuple[str, str, bytes, str]] = [
    ("slake", "test.json", b"<!DOCTYPE html><html>Sign in</html>", "is a web page, not data"),
    ("slake", "test.json", b"", "is empty; download the benchmark again"),
    ("slake", "test.json", b"[]", "has no rows"),
    ("slake", "test.json", b"[1, 2]", "row 1 is no object with fields"),
    ("slake", "test.json", b'"text"', "holds no list of rows"),
    ("slake", "test.json", b'[{"question": ', "is no JSON: line 1"),
    ("pmc-vqa", "test.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
    ("pmc-vqa", "test.csv", b"Figure_path,Question,Choice A\n", "has no rows"),
    ("pmc-vqa", "test.csv", b"Figure_path,Question,Choice A\n\xff\xfe\x00,\xe9,a\n", "is no UTF-8 text"),
    ("vqa-rad", "test.parquet", b"<html>404</html>", "is a web page, not data"),
    ("vqa-rad", "test.parquet", b"PAR1 and then nothing", "cannot be read as Parquet"),
    ("vqa-rad", "test.arrow", b"\xff\xff\xff\xff\x00\x01", "cannot be read as a saved dataset"),
    ("medxpertqa", "MM/test.jsonl", b'{"id": "MM-0"}\nnot json\n', "lacks the columns question, options, images"),
    (
        "omnimedvqa",
        "QA_information/a.json",
        b'[{"question": "Q?", "answer": "a"}]',
        "lacks the columns gt_answer (it has answer), image_path",
    ),
    ("vqa-rad", "readme.txt", b"hello", "holds no data file of vqa-rad; it has readme.txt"),
    ("slake", "imgs.zip", b"not a zip", "is no readable zip archive"),
]


@pytest.mark.parametrize(("name", "file", "data", "expected"), WRONG, ids=[f"{w[1]} {w[3][:24]}" for w in WRONG])
def test_a_file_that_is_something_else_is_refused(
    name: str, file: str, data: bytes, expected: str, tmp_path: Path
) -> None:
    place = tmp_path / "copy" / file
    place.parent.mkdir(parents=True)
    place.write_bytes(data)
    message = refused(name, tmp_path / "copy")
    assert expected in message
    assert str(tmp_path) in message


def test_the_layout_that_a_file_is_in_is_named(tmp_path: Path) -> None:
    slake(tmp_path, items("jpeg"))
    message = refused("omnimedvqa", tmp_path / "test.json")
    assert "it lacks the columns gt_answer (it has answer), image_path. These are the columns of slake." in message
    assert "omnimedvqa has question, gt_answer, image_path" in message
    table = pq.read_table(vqa_rad(tmp_path / "rad", items()) / "data").rename_columns(["image", "Question", "answer"])
    pq.write_table(table, tmp_path / "renamed.parquet")
    assert "it lacks the column question (it has Question)" in refused("vqa-rad", tmp_path / "renamed.parquet")


def test_unknown_names_and_places(tmp_path: Path) -> None:
    assert "did you mean vqa-rad?" in refused("vqarad", tmp_path)
    assert "format: generic" in refused("our-secret-set", tmp_path)
    assert "there is no format 'genric'; did you mean generic?" in refused("ours", tmp_path, format_name="genric")
    assert f"there is no benchmark at {tmp_path / 'nowhere'}" in refused("slake", tmp_path / "nowhere")


def test_neither_references_nor_archives_lead_out(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(picture(1, kind="jpeg"))
    path = slake(tmp_path / "slake", items("jpeg"))
    rows = json.loads((path / "test.json").read_text())
    outside = [
        "../secret.jpg",
        str(tmp_path / "secret.jpg"),
        "imgs/../../secret.jpg",
        "..\\secret.jpg",
        "a\0b",
        "x" * 9000,
    ]
    hostile = [rows[0] | {"img_name": name} for name in outside]
    write_json(path / "test.json", [*rows, *hostile])
    with zipfile.ZipFile(path / "imgs.zip", "w") as archive:
        for name in ("../secret2.jpg", "/etc/secret2.jpg", "imgs/../../secret2.jpg"):
            archive.writestr(name, b"data")
    before = sorted(entry for entry in tmp_path.rglob("*"))
    found = read_rows("slake", str(path))
    assert len(found.named) == 3
    assert list(found.missing) == outside
    assert not [member for members in found.tree._members.values() for member in members]
    assert sorted(entry for entry in tmp_path.rglob("*")) == before


def test_special_files_and_bombs_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = slake(tmp_path / "slake", items("jpeg"), zipped=True)
    with zipfile.ZipFile(path / "imgs.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("imgs/xmlab7/source.jpg", bytes(4 * 2**20))
    rows = json.loads((path / "test.json").read_text())
    os.mkfifo(path / "pipe.jpg")
    write_json(
        path / "test.json", [*rows, rows[0] | {"img_name": "xmlab7/source.jpg"}, rows[0] | {"img_name": "pipe.jpg"}]
    )
    monkeypatch.setattr("curate.select.benchmarks.tree.MAX_PICTURE_BYTES", 2**20)
    found = pictures("slake", path, tmp_path / "cache")
    assert (found.missing, found.unreadable) == (1, 1)
    assert "it has more than 1 MiB" in found.examples[1]


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_no_reference_finds_a_file_outside(name: str) -> None:
    tree = Tree(Path("/usr/share/none"), None, ["a.json", "imgs/b.png"])
    assert tree.find(name, "a.json", ("imgs",)) is None


@given(st.binary(max_size=400), st.sampled_from(["test.json", "test.csv", "test.parquet", "test.arrow", "test.jsonl"]))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_rows_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes, file: str) -> None:
    path = tmp_path_factory.mktemp("any") / file
    path.write_bytes(data)
    layout = {"test.csv": "pmc-vqa", "test.json": "slake", "test.jsonl": "medxpertqa"}.get(file, "vqa-rad")
    with pytest.raises(UserError) as error:
        read_rows(layout, str(path))
    assert str(path) in str(error.value)
