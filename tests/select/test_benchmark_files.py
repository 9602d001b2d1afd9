"""Benchmarks are read as they are published, with their pictures, once."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow
from support.benchmark_files import (
    SEVEN,
    medxpertqa,
    mmmu,
    omnimedvqa,
    pmc_vqa,
    slake,
    vqa_rad,
    write_json,
    write_lines,
)
from support.benchmark_reading import QUESTIONS, items, measure, pictures, refused
from support.corpora import picture
from support.pictures import retina

from curate.corpus import UserError
from curate.select.benchmarks import benchmark_pictures, read_rows
from curate.select.benchmarks.pictures import _probe


@pytest.mark.parametrize("name", SEVEN)
def test_each_of_the_seven_is_read_as_published(name: str, tmp_path: Path) -> None:
    kind = "jpeg" if name in ("slake", "pmc-vqa", "medxpertqa") else "png"
    expected = items(kind)
    path = SEVEN[name](tmp_path / name, expected)
    rows = read_rows(name, str(path))
    assert len(rows.rows) == 3
    for row, (text, _) in zip(rows.rows, expected, strict=True):
        assert row.questions[0].removesuffix(" <image 1>") == text
        assert row.split == {"mmmu-health": "validation", "omnimedvqa": None}.get(name, "test")
    found = benchmark_pictures(rows, measure, tmp_path / "cache")
    by_file = {entry["sha256"]: entry for entry in found.table.to_dicts()}
    for number, (_, data) in enumerate(expected):
        entry = by_file[hashlib.sha256(data).hexdigest()]
        assert entry["rows"] == [number]
        assert entry["phash"] == measure(data)
        assert entry["problem"] is None
    assert (found.shown, found.missing, found.unreadable) == (3, 0, 0)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("slake", lambda folder: slake(folder, items("jpeg"), zipped=True)),
        ("pmc-vqa", lambda folder: pmc_vqa(folder, items("jpeg"), "test_clean.csv", archive="images.zip")),
        ("omnimedvqa", lambda folder: omnimedvqa(folder, items(), zipped=True)),
        ("omnimedvqa", lambda folder: omnimedvqa(folder, items(), zipped=True).parent),
        ("slake", lambda folder: slake(folder, items("jpeg")) / "test.json"),
        ("pmc-vqa", lambda folder: pmc_vqa(folder, items("jpeg")) / "test_2.csv"),
        ("medxpertqa", lambda folder: medxpertqa(folder, items("jpeg")) / "MM"),
        ("mmmu-health", lambda folder: mmmu(folder, items()) / "Clinical_Medicine"),
    ],
    ids=["imgs.zip", "images.zip", "one zip", "folder with the zip", "json", "csv", "MM folder", "subject"],
)
def test_archives_and_single_files(name: str, make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path / "copy")
    if name == "medxpertqa":
        (tmp_path / "copy" / "images.zip").rename(path / "images.zip")
    found = pictures(name, path, tmp_path / "cache")
    assert (found.table.height, found.missing, found.unreadable) == (3, 0, 0)


def test_a_split_is_taken_by_file_name_by_folder_and_by_column(tmp_path: Path) -> None:
    vqa_rad(tmp_path / "rad", items(), "train")
    vqa_rad(tmp_path / "rad", items()[:2], "test")
    assert len(read_rows("vqa-rad", str(tmp_path / "rad"), split="test").rows) == 2
    assert len(read_rows("vqa-rad", str(tmp_path / "rad")).rows) == 5
    slake(tmp_path / "slake", items("jpeg"), "validation")
    assert len(read_rows("slake", str(tmp_path / "slake"), split="val").rows) == 3
    pmc_vqa(tmp_path / "pmc", items("jpeg"), "questions.csv")
    assert len(read_rows("pmc-vqa", str(tmp_path / "pmc"), split="test").rows) == 3
    message = refused("vqa-rad", tmp_path / "rad", split="tset")
    assert "no split 'tset' of vqa-rad; did you mean test? it has test, train" in message
    # OmniMedVQA has no splits: what a policy asks of them does not apply.
    assert len(read_rows("omnimedvqa", str(omnimedvqa(tmp_path / "omni", items())), split="test").rows) == 3


def test_only_the_health_subjects_of_mmmu(tmp_path: Path) -> None:
    mmmu(tmp_path, items(), "Pharmacy")
    mmmu(tmp_path, items(), "Art_Theory")
    assert {row.place.split("/")[0] for row in read_rows("mmmu-health", str(tmp_path)).rows} == {"Pharmacy"}


def test_a_saved_dataset_is_read(tmp_path: Path) -> None:
    table = pq.read_table(vqa_rad(tmp_path / "rad", items()) / "data")
    folder = tmp_path / "saved" / "test"
    folder.mkdir(parents=True)
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table)
    write_json(folder / "state.json", {"_data_files": [{"filename": "data-00000-of-00001.arrow"}]})
    write_json(folder / "dataset_info.json", {"features": {}})
    write_json(folder.parent / "dataset_dict.json", {"splits": ["test"]})
    rows = read_rows("vqa-rad", str(folder.parent), split="test")
    assert [row.split for row in rows.rows] == ["test"] * 3
    assert benchmark_pictures(rows, measure, tmp_path / "cache").table.height == 3


def test_pictures_named_in_a_parquet_cell_are_found_beside_it(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            *[(n, pa.string()) for n in ("question", "answer")],
        ]
    )
    rows = [
        {"image": {"bytes": None, "path": f"synpic{n % 2}.png"}, "question": f"Why {n}?", "answer": "a"}
        for n in range(4)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "test.parquet")
    with pytest.raises(UserError, match="none of the 2 pictures of vqa-rad is there, 'synpic0"):
        pictures("vqa-rad", tmp_path, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    (tmp_path / "synpic1.png").write_bytes(picture(1))
    found = pictures("vqa-rad", tmp_path, tmp_path / "cache")
    assert found.table["rows"].to_list() == [[1, 3]]
    assert (found.shown, found.missing) == (4, 2)


def test_the_hubs_cache_of_links_is_read(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / "4f2a"
    blob.parent.mkdir()
    (vqa_rad(tmp_path / "rad", items()) / "data" / "test-00000-of-00001-e5bc3d208bb4deeb.parquet").rename(blob)
    snapshot = tmp_path / "snapshots" / "abc" / "data"
    snapshot.mkdir(parents=True)
    (snapshot / "test-00000-of-00001.parquet").symlink_to(blob)
    assert len(read_rows("vqa-rad", str(snapshot.parent), split="test").rows) == 3


def test_missing_and_damaged_pictures_are_counted_and_told(tmp_path: Path) -> None:
    path = slake(tmp_path / "slake", items("jpeg"))
    (path / "imgs/xmlab1/source.jpg").unlink()
    (path / "imgs/xmlab2/source.jpg").write_bytes(b"<html>404</html>")
    found = pictures("slake", path, tmp_path / "cache")
    assert (found.shown, found.missing, found.unreadable) == (3, 1, 1)
    assert found.examples[0] == "xmlab1/source.jpg (missing)"
    assert found.examples[1].startswith("imgs/xmlab2/source.jpg (cannot identify image file")


def test_other_formats_sideways_and_deep_pictures_are_measured_as_an_ingest_shows_them(tmp_path: Path) -> None:
    grey = Pillow.open(io.BytesIO(retina())).convert("L").resize((96, 64))
    exif = Pillow.Exif()
    exif[0x0112] = 6
    variants: dict[str, bytes] = {}
    for name, (image, options) in {
        "webp": (grey, {"lossless": True}),
        "tiff": (Pillow.fromarray(np.asarray(grey, np.uint16) * 200 + 1000), {}),
        "jpeg": (grey.transpose(Pillow.Transpose.ROTATE_90), {"exif": exif, "quality": 95}),
    }.items():
        file = io.BytesIO()
        image.save(file, name, **options)
        variants[name] = file.getvalue()
    write_lines(
        tmp_path / "held.jsonl",
        [
            {"image": base64.b64encode(data).decode() if name == "webp" else f"{name}.bin", "text": f"Caption {name}."}
            for name, data in variants.items()
        ],
    )
    for name, data in variants.items():
        (tmp_path / f"{name}.bin").write_bytes(data)
    file = io.BytesIO()
    grey.save(file, "PNG")
    expected = measure(file.getvalue())
    found = pictures("held-out", tmp_path, tmp_path / "cache", "generic")
    assert found.table.height == 3
    for entry in found.table.to_dicts():
        assert (entry["phash"] ^ expected).bit_count() <= 2, entry["place"]


def test_records_in_curates_own_formats(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(picture(ord(name[0])))
    inline = base64.b64encode(picture(9)).decode()
    write_lines(
        tmp_path / "mixed.jsonl",
        [
            {"query": "What is shown here?", "answer": "a lung", "query_type": "exact", "images": ["a.png"]},
            {
                "conversations": [
                    {"from": "human", "value": "<image>\nFirst question?"},
                    {"from": "gpt", "value": "An answer."},
                    {"from": "human", "value": "Second question?"},
                    {"from": "gpt", "value": "Another."},
                ],
                "image": "b.png",
            },
            {"texts": ["Some prose.", None], "image_info": [None, {"image_base64": inline}]},
            {"image": f"data:image/png;base64,{inline}", "text": "A caption."},
        ],
    )
    rows = read_rows("ours", str(tmp_path / "mixed.jsonl"), "generic")
    assert [row.questions for row in rows.rows] == [
        ("What is shown here?",),
        ("<image>\nFirst question?", "Second question?"),
        ("Some prose.",),
        ("A caption.",),
    ]
    found = benchmark_pictures(rows, measure, tmp_path / "cache")
    assert sorted(found.table["rows"].to_list()) == [[0], [1], [2, 3]]


@pytest.mark.parametrize("form", ["list", "lines", "within an object", "one row", "with a byte order mark"])
def test_json_as_copies_of_benchmarks_spell_it(form: str, tmp_path: Path) -> None:
    path = slake(tmp_path, items("jpeg")) / "test.json"
    rows = json.loads(path.read_text())
    text = {
        "list": json.dumps(rows, indent=1),
        "lines": "\n".join(map(json.dumps, rows)),
        "within an object": json.dumps({"data": rows}),
        "one row": json.dumps(rows[0]),
        "with a byte order mark": "\ufeff" + json.dumps(rows),
    }[form]
    path.write_text(text, encoding="utf-8")
    found = read_rows("slake", str(path))
    assert [row.questions[0] for row in found.rows] == list(QUESTIONS)[: 1 if form == "one row" else 3]


def test_rows_without_a_question_are_kept_for_their_pictures(tmp_path: Path) -> None:
    path = slake(tmp_path, items("jpeg"))
    rows = json.loads((path / "test.json").read_text())
    for question, row in zip((None, "  ", 7), rows, strict=True):
        row["question"] = question
    write_json(path / "test.json", rows)
    assert "not one of the 3 rows of slake has a question" in refused("slake", path)
    rows[0]["question"] = "Why?"
    write_json(path / "test.json", rows)
    assert [len(row.questions) for row in read_rows("slake", str(path)).rows] == [1, 0, 0]


def test_another_way_to_hash_hashes_again(tmp_path: Path) -> None:
    path = slake(tmp_path / "slake", items("jpeg"))
    first = benchmark_pictures(read_rows("slake", str(path)), measure, tmp_path / "cache")
    other = benchmark_pictures(read_rows("slake", str(path)), len, tmp_path / "cache")
    assert first.table["phash"].to_list() != other.table["phash"].to_list()


def test_a_benchmark_is_hashed_once_and_again_when_its_files_change(tmp_path: Path) -> None:
    path = slake(tmp_path / "slake", items("jpeg"))
    calls = []

    def counted(data: bytes) -> int | None:
        if data != _probe():
            calls.append(len(data))
        return measure(data)

    first = benchmark_pictures(read_rows("slake", str(path)), counted, tmp_path / "cache")
    assert len(calls) == 3
    again = benchmark_pictures(read_rows("slake", str(path)), counted, tmp_path / "cache")
    assert len(calls) == 3
    assert again.table.equals(first.table)
    assert (again.shown, again.fingerprint) == (first.shown, first.fingerprint)
    (path / "imgs/xmlab1/source.jpg").write_bytes(picture(77, kind="jpeg"))
    changed = benchmark_pictures(read_rows("slake", str(path)), counted, tmp_path / "cache")
    assert len(calls) == 6
    assert changed.fingerprint != first.fingerprint
    assert len(list((tmp_path / "cache").glob("*.parquet"))) == 1
    (next((tmp_path / "cache").glob("*.parquet"))).write_bytes(b"PAR1 damaged")
    assert benchmark_pictures(read_rows("slake", str(path)), counted, tmp_path / "cache").table.equals(changed.table)
    assert len(calls) == 9


def test_one_picture_of_many_rows_is_measured_once(tmp_path: Path) -> None:
    data = picture(3)
    path = vqa_rad(tmp_path / "rad", [(f"Question number {n}?", data) for n in range(300)])
    calls = []
    found = benchmark_pictures(
        read_rows("vqa-rad", str(path)), lambda data: calls.append(1) or measure(data), tmp_path / "cache"
    )
    assert found.table["rows"].to_list() == [list(range(300))]
    assert len(calls) <= 128
