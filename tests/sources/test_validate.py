"""``curate validate`` on records: each check on data that passes and on data that fails, through the real command."""

import base64
import gzip
import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.cli import Ran, curate
from support.pictures import distinct, histology, retina

EXAMPLES = Path(__file__).parents[2] / "examples" / "raw"
DICOM = EXAMPLES / "dicom" / "mr-crop.dcm"

Found = list[tuple[str, int, str, str]]


def check(*arguments: str | Path, cwd: Path) -> tuple[Ran, Found]:
    """Run the command in ``cwd``; its exit status, and (file, row, field, code) of all findings."""
    ran = curate("validate", *arguments, "--report", "json", "--limit", "1000", cwd=cwd)
    assert ran.status in (0, 1), ran.err
    report = ran.json()
    assert report["errors"] + report["warnings"] == len(report["problems"]) == sum(report["by_code"].values())
    assert ran.status == (1 if report["errors"] else 0)
    return ran, [(p["file"], p["row"], p["field"], p["code"]) for p in report["problems"]]


def write_lines(path: Path, *records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with two pictures."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.png").write_bytes(retina())
    (folder / "b.jpg").write_bytes(histology(image_format="JPEG"))
    return folder


CAPTION = {"image": "a.png", "text": "A retina."}
TURNS = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
SYSTEM = {"from": "system", "value": "Be brief."}
QUERY = {"query": "Which?", "answer": "A", "query_type": "choice", "choices": ["liver", "spleen"]}
VERL = {
    "data_source": "d",
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "<image>Which?"}],
    "images": ["a.png"],
    "reward_model": {"style": "rule", "ground_truth": "A"},
    "extra_info": {"index": 0, "query_type": "choice", "choices": {"A": "liver", "B": "spleen"}},
}
SLOTS = {"texts": ["Before.", None], "image_info": [None, {"image": "a.png"}]}
SAMPLE = {
    "kind": "image_caption",
    "images": ["a.png"],
    "turns": [{"role": "document", "parts": [{"image": 0}, {"text": "x"}]}],
}
LLAMAFACTORY = {
    "messages": [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "This."}],
    "images": ["a.png"],
}

GOOD: list[dict[str, Any]] = [
    CAPTION,
    CAPTION | {"image": ["a.png", "b.jpg"], "text": "A literal <image> is prose here.", "site": {"id": 3}},
    CAPTION | {"image": f"data:image/png;base64,{base64.b64encode(retina()).decode()}"},
    {"conversations": TURNS},
    {"conversations": [SYSTEM, {"from": "human", "value": "<image>?"}, TURNS[1]], "image": "b.jpg"},
    QUERY,
    QUERY | {"query": "Which <image>?", "images": "a.png", "answer": "Spleen", "query_type": "multi_choice"},
    QUERY | {"answer": [1, "one"], "query_type": "numeric"},
    SLOTS,
    {"texts": [None, "After."], "image_info": [{"image_base64": base64.b64encode(distinct(1)).decode()}, None]},
    SAMPLE,
    VERL,
]  # fmt: skip

BAD: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"text": "x", "picture": "a.png"}, [("", "unknown_format")]),
    (CAPTION | {"text": "  "}, [("text", "empty")]),
    (CAPTION | {"text": None}, [("text", "wrong_type")]),
    (CAPTION | {"image": 7, "text": ""}, [("image", "wrong_type"), ("text", "empty")]),
    (CAPTION | {"image": []}, [("image", "too_short")]),
    (CAPTION | {"image": ["a.png", 7, ""]}, [("image.1", "wrong_type"), ("image.2", "empty")]),
    ({"conversations": TURNS[:1]}, [("conversations", "too_short")]),
    ({"conversations": [TURNS[1], TURNS[0]]}, [("", "role_order")]),
    ({"conversations": [*TURNS, TURNS[0]]}, [("", "role_order")]),
    ({"conversations": [TURNS[0], {"from": "bot", "value": "x"}]}, [("conversations.1.from", "wrong_value")]),
    ({"conversations": [TURNS[0], {"from": "gpt"}]}, [("conversations.1.value", "missing")]),
    ({"conversations": [TURNS[0], {"from": "gpt", "value": " "}]}, [("conversations.1.value", "empty")]),
    ({"conversations": TURNS, "image": "a.png"}, [("", "placeholder_count")]),
    ({"conversations": [{"from": "human", "value": "<image>"}, TURNS[1]]}, [("", "placeholder_count")]),
    (QUERY | {"answer": "C"}, [("", "answer_not_in_choices")]),
    (QUERY | {"choices": ["only"]}, [("", "no_choices")]),
    (QUERY | {"choices": {"A": 5, "B": "x"}}, [("choices.A", "wrong_type")]),
    ({key: QUERY[key] for key in ("query", "answer")}, [("query_type", "missing")]),
    (QUERY | {"answer": []}, [("answer", "too_short")]),
    (QUERY | {"answer": {}}, [("answer", "wrong_type")]),
    (QUERY | {"query": "<image><image>?", "images": ["a.png"]}, [("", "placeholder_count")]),
    (SLOTS | {"texts": ["x"]}, [("", "slot_count")]),
    (SLOTS | {"texts": ["x", "y"]}, [("", "slot_content")]),
    (SLOTS | {"texts": [None, None]}, [("", "slot_content")]),
    (SLOTS | {"image_info": [None, {}]}, [("image_info.1", "slot_image")]),
    (SAMPLE | {"images": []}, [("", "image_parts")]),
    (SAMPLE | {"kind": "query"}, [("", "empty")]),
    (SAMPLE | {"id": "1"}, [("id", "wrong_value")]),
    (VERL | {"reward_model": {"style": "rule"}}, [("reward_model.ground_truth", "missing")]),
    (VERL | {"reward_model": {"ground_truth": [" "]}}, [("reward_model.ground_truth.0", "empty")]),
    (VERL | {"extra_info": None}, [("extra_info", "wrong_type")]),
    (VERL | {"images": []}, [("", "placeholder_count")]),
    (VERL | {"images": [{"bytes": "text"}]}, [("images.0.bytes", "wrong_type")]),
    (VERL | {"prompt": []}, [("prompt", "too_short")]),
    (VERL | {"prompt": [{"role": "assistant", "content": "<image>"}]}, [("", "role_order")]),
    (VERL | {"reward_model": {"ground_truth": "C"}}, [("", "answer_not_in_choices")]),
    ({"messages": LLAMAFACTORY["messages"][::-1], "images": ["a.png"]}, [("", "role_order")]),
    (LLAMAFACTORY | {"images": []}, [("", "placeholder_count")]),
    ({"messages": LLAMAFACTORY["messages"]}, [("images", "missing")]),
]  # fmt: skip


def test_well_formed_records_of_every_format_pass(data: Path) -> None:
    write_lines(data / "good.jsonl", *GOOD)
    ran, found = check(data, cwd=data.parent)
    assert {code for *_, code in found} == {"mixed_types"}
    assert ran.status == 0
    assert ran.json()["rows"] == len(GOOD)


def test_each_kind_of_broken_record_is_named_by_row_and_field(data: Path) -> None:
    write_lines(data / "bad.jsonl", *(record for record, _ in BAD))
    _, found = check("bad.jsonl", cwd=data)
    expected = [("bad.jsonl", row, *where) for row, (_, several) in enumerate(BAD, start=1) for where in several]
    assert [entry for entry in found if entry[3] != "mixed_types"] == expected


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl.gz", "rows.parquet", "rows.csv"])
def test_files_of_every_kind_pass_and_fail_alike(data: Path, name: str) -> None:
    for folder, broken in (("good", {}), ("bad", {"text": " ", "image": "none.png"})):
        rows = [CAPTION, CAPTION | broken]
        path = data / folder / name
        path.parent.mkdir()
        shutil.copy(data / "a.png", path.parent)
        if name.endswith(".json"):
            path.write_text(json.dumps(rows, indent=1))
        elif name.endswith(".gz"):
            path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        elif name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text("image,text\n" + "".join(f"{row['image']},{row['text']}\n" for row in rows))
    assert check(f"good/{name}", cwd=data)[1] == []
    assert check(f"bad/{name}", cwd=data)[1] == [(f"bad/{name}", 2, "text", "empty")]


def test_rows_that_cannot_be_read(data: Path) -> None:
    good = json.dumps(CAPTION).encode()
    (data / "good.jsonl").write_bytes(
        b"\xef\xbb\xbf" + good + b"\r\n\r\n" + good + b"\r\n" + b'{"image": "a.png", "text": "\\"a\\":"}'
    )
    lines = {
        "not_a_number": b'{"image": "a.png", "text": "x", "age": NaN}',
        "duplicate_key": b'{"image": "a.png", "text": "x", "text": "y"}',
        "not_utf8": b'{"image": "a.png", "text": "\xff"}',
        "not_an_object": b"[1]",
        "invalid_json": b'{"image": "a.png", "text": "x"',
        "line_too_long": b'{"image": "a.png", "text": "' + b"x" * 64 * 2**20 + b'"}',
    }
    (data / "bad.jsonl").write_bytes(b"\n".join([good, *lines.values(), good]))
    ran, found = check("good.jsonl", "bad.jsonl", cwd=data)
    assert found == [("bad.jsonl", row, "", code) for row, code in enumerate(lines, start=2)]
    assert ran.json()["rows"] == 3 + len(lines) + 2


def test_files_that_cannot_be_read(data: Path) -> None:
    (data / "empty.jsonl").write_bytes(b"")
    (data / "none.json").write_text("[]")
    (data / "utf16.jsonl").write_bytes(json.dumps(CAPTION).encode("utf-16"))
    (data / "broken.parquet").write_bytes(b"PAR1 no")
    (data / "broken.json").write_text(json.dumps([CAPTION])[:-1] + ', {"image"')
    (data / "cells.csv").write_text("image,text\na.png\n")
    names = ("broken.json", "broken.parquet", "cells.csv", "empty.jsonl", "none.json", "utf16.jsonl")
    _, found = check(*names, cwd=data)
    assert found == [
        ("broken.json", 2, "", "invalid_json"),
        ("broken.parquet", 0, "", "unreadable_file"),
        ("cells.csv", 1, "", "column_count"),
        ("empty.jsonl", 0, "", "empty_file"),
        ("none.json", 0, "", "empty_file"),
        ("utf16.jsonl", 0, "", "not_utf8"),
    ]


def test_pictures(data: Path) -> None:
    whole = retina()
    (data / "empty.png").touch()
    (data / "cut.png").write_bytes(whole[:-2000])
    (data / "cut.jpg").write_bytes(histology(image_format="JPEG")[:-2000])
    (data / "page.png").write_text("<html>404</html>")
    (data / "other.png").write_bytes(histology(image_format="JPEG"))
    (data / "header.png").write_bytes(whole[:20] + b"\0" * 40 + whole[60:])
    Image.new("1", (20_000, 20_000)).save(data / "bomb.png")
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    frames[0].save(data / "moving.gif", save_all=True, append_images=frames[1:])
    (data / "upper.PNG").write_bytes(whole)
    Image.new("I;16", (8, 8), 40_000).save(data / "deep.tif")
    shutil.copy(DICOM, data / "scan.dcm")
    shutil.copy(DICOM, data / "scan.png")
    (data / "scan-cut.dcm").write_bytes(DICOM.read_bytes()[:1500])
    (data.parent / "secret.png").write_bytes(whole)
    (data / "link.png").symlink_to(data.parent / "secret.png")
    os.mkfifo(data / "pipe.png")
    (data / "folder.png").mkdir()
    good = ["a.png", "b.jpg", "upper.PNG", "deep.tif", "scan.dcm", "./a.png", (data / "a.png").as_uri()]
    bad = {
        "empty.png": "empty_image",
        "cut.png": "truncated_image",
        "cut.jpg": "truncated_image",
        "page.png": "not_an_image",
        "other.png": "wrong_extension",
        "header.png": "unreadable_image",
        "bomb.png": "too_large",
        "moving.gif": "several_frames",
        "scan.png": "wrong_extension",
        "scan-cut.dcm": "dicom_truncated",
        "link.png": "outside_root",
        "../secret.png": "outside_root",
        "/etc/passwd": "outside_root",
        "file:///etc/passwd": "outside_root",
        "https://example.org/a.png": "remote_image",
        "pipe.png": "not_a_regular_file",
        "folder.png": "not_a_regular_file",
        "none.png": "missing_image",
        "a\0.png": "bad_path",
        "data:image/png;base64,AAA": "invalid_base64",
        "data:image/png;base64,AAAA": "not_an_image",
    }
    write_lines(data / "good.jsonl", *(CAPTION | {"image": name} for name in good))
    write_lines(data / "bad.jsonl", *(CAPTION | {"image": name} for name in bad))
    _, found = check("good.jsonl", cwd=data)
    assert found == []
    _, found = check("bad.jsonl", cwd=data)
    assert found == [("bad.jsonl", row, "image", code) for row, code in enumerate(bad.values(), start=1)]


def test_a_picture_is_named_by_its_place_in_each_format(data: Path) -> None:
    gone = "none.png"
    turns = [{"from": "human", "value": "<image><image>?"}, TURNS[1]]
    records = [
        (CAPTION | {"image": ["a.png", gone]}, "image.1"),
        ({"conversations": turns, "image": ["a.png", gone]}, "image.1"),
        (QUERY | {"images": [gone]}, "images.0"),
        (SLOTS | {"image_info": [None, {"image": gone}]}, "image_info.1.image"),
        (SLOTS | {"image_info": [None, {"image_base64": gone}]}, "image_info.1.image_base64"),
        (SAMPLE | {"images": [gone]}, "images.0"),
        (VERL | {"images": [gone]}, "images.0"),
        (LLAMAFACTORY | {"images": [gone]}, "images.0"),
    ]
    write_lines(data / "rows.jsonl", *(record for record, _ in records))
    _, found = check("rows.jsonl", cwd=data)
    named = [entry for entry in found if entry[3] == "missing_image"]
    assert named == [("rows.jsonl", row, field, "missing_image") for row, (_, field) in enumerate(records, start=1)]


def test_every_row_with_a_broken_picture_is_reported(data: Path) -> None:
    """The verdict on a path is remembered, and still told for each row; also past the first batch of pictures."""
    names = ["a.png", "none.png"] * 400
    write_lines(data / "rows.jsonl", *(CAPTION | {"image": name, "n": n} for n, name in enumerate(names)))
    _, found = check("rows.jsonl", cwd=data)
    assert found == [("rows.jsonl", row, "image", "missing_image") for row in range(2, 801, 2)]


def test_only_decoding_finds_damage_between_header_and_end(data: Path) -> None:
    content = retina()
    start = content.index(b"IDAT") + 4
    length = int.from_bytes(content[start - 8 : start - 4])
    garbage = bytes(length)
    checksum = zlib.crc32(b"IDAT" + garbage).to_bytes(4)
    (data / "damaged.png").write_bytes(content[:start] + garbage + checksum + content[start + length + 4 :])
    write_lines(data / "rows.jsonl", CAPTION, CAPTION | {"image": "damaged.png"})
    assert check("rows.jsonl", cwd=data)[1] == []
    assert check("rows.jsonl", "--decode", cwd=data)[1] == [("rows.jsonl", 2, "image", "unreadable_image")]


def test_columns_of_several_types_are_warned_of_once(data: Path) -> None:
    rows = [CAPTION | {"age": 5, "n": 1}, CAPTION | {"age": 5.5, "n": None}, CAPTION | {"age": "6", "n": 2}]
    write_lines(data / "rows.jsonl", *rows, *rows, CAPTION | {"image": ["a.png"]})
    ran, found = check("rows.jsonl", cwd=data)
    assert found == [("rows.jsonl", 3, "age", "mixed_types"), ("rows.jsonl", 7, "image", "mixed_types")]
    assert ran.status == 0
    assert "it is a string here and a number in row 1" in ran.json()["problems"][0]["message"]


def test_query_types_without_a_reward_and_answers_that_are_no_number(data: Path) -> None:
    write_lines(data / "rows.jsonl", QUERY, QUERY | {"query_type": "rouge"})
    ran, found = check("rows.jsonl", cwd=data)
    assert (ran.status, found) == (0, [("rows.jsonl", 2, "query_type", "unknown_query_type")])
    rows = [{"query": "How many?", "answer": answer, "query_type": "numeric"} for answer in (2.0, float("nan"))]
    pq.write_table(pa.Table.from_pylist(rows), data / "rows.parquet")
    assert check("rows.parquet", cwd=data)[1] == [("rows.parquet", 2, "answer", "not_a_number")]


def test_a_named_format_is_not_second_guessed(data: Path) -> None:
    write_lines(data / "rows.jsonl", CAPTION, QUERY)
    assert check("rows.jsonl", cwd=data)[1] == []
    _, found = check("rows.jsonl", "--format", "image-caption", cwd=data)
    assert found == [("rows.jsonl", 2, "image", "missing"), ("rows.jsonl", 2, "text", "missing")]
    shutil.copy(data / "rows.jsonl", data / "rows.dat")
    assert check("rows.dat", "--format", "image-caption", cwd=data)[1][0] == ("rows.dat", 2, "image", "missing")


def test_mapped_columns_and_allowed_roots(data: Path) -> None:
    (data.parent / "elsewhere").mkdir()
    (data / "b.jpg").rename(data.parent / "elsewhere" / "b.jpg")
    write_lines(data / "rows.jsonl", {"file": "../elsewhere/b.jpg", "caption": "A slide."})
    assert check("rows.jsonl", cwd=data)[1] == [("rows.jsonl", 1, "", "unknown_format")]
    columns = ("--map", "image=file", "--map", "text=caption")
    assert check("rows.jsonl", *columns, cwd=data)[1] == [("rows.jsonl", 1, "image", "outside_root")]
    assert check("rows.jsonl", *columns, "--allow-root", "../elsewhere", cwd=data)[1] == []
    assert check("rows.jsonl", *columns, "../elsewhere", cwd=data)[1] == []


def test_a_folder_of_raw_data(data: Path) -> None:
    for number, name in enumerate(("told", "listed", "mute", "bytes")):
        (data / f"{name}.png").write_bytes(distinct(number))
    (data / "told.txt").write_text("A caption.")
    (data / "listed.json").write_text('[{"text": "One."}, {"text": ""}]')
    (data / "bytes.txt").write_bytes(b"\xff")
    (data / "lonely.txt").write_text("No image.")
    (data / "README.md").write_text("# notes")
    (data / ".hidden").write_text("{")
    write_lines(data / "sub" / "rows.jsonl", CAPTION | {"image": "../a.png"}, CAPTION)
    ran, found = check(data, cwd=data.parent)
    assert sorted(found) == [
        (f"{data}/README.md", 0, "", "unknown_file_type"),
        (f"{data}/b.jpg", 0, "", "image_without_text"),
        (f"{data}/bytes.png", 0, "", "not_utf8"),
        (f"{data}/listed.png", 2, "text", "empty"),
        (f"{data}/lonely.txt", 0, "", "text_without_image"),
        (f"{data}/mute.png", 0, "", "image_without_text"),
    ]
    assert (ran.json()["errors"], ran.json()["warnings"], ran.json()["rows"]) == (2, 4, 5)


def test_the_examples_have_the_flaws_that_their_readme_lists(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "raw")
    ran, found = check("raw", cwd=tmp_path)
    assert {(file, row, field, code) for file, row, field, code in found if code != "mixed_types"} == {
        ("raw/instructions/sft.json", 7, "", "placeholder_count"),
        ("raw/pathology-captions/captions.jsonl", 11, "image", "missing_image"),
        ("raw/pathology-captions/captions.jsonl", 12, "image", "outside_root"),
        ("raw/radiology/chest-lateral.png", 1, "image", "truncated_image"),
        ("raw/radiology/us-aorta.png", 1, "image", "wrong_extension"),
        ("raw/vqa/queries.jsonl", 18, "", "answer_not_in_choices"),
    }
    assert ran.json()["rows"] == 63


def test_what_cannot_be_validated_says_so(data: Path) -> None:
    (data / "notes.md").write_text("x")
    (data / "curated").mkdir()
    (data / "curated" / "corpus.json").write_text('{"format": "medcurate-corpus"}')
    (data / "nothing").mkdir()
    os.mkfifo(data / "pipe.jsonl")
    for arguments, sentence in (
        (("missing.jsonl",), "'missing.jsonl' does not exist"),
        (("notes.md",), "notes.md is no record file"),
        (("a.png",), "a.png is no record file"),
        (("curated",), "curated is a corpus"),
        (("pipe.jsonl",), "not a file"),
        (("nothing", "--format", "parquet"), "there is no format 'parquet'; there are: image-caption"),
    ):
        ran = curate("validate", *arguments, cwd=data)
        assert (ran.status, ran.out) == (2, ""), arguments
        assert sentence in ran.err
    assert check("nothing", cwd=data)[1] == [("nothing", 0, "", "nothing_to_validate")]


def test_nothing_is_written(data: Path) -> None:
    write_lines(data / "rows.jsonl", *GOOD)
    Image.new("I;16", (8, 8), 40_000).save(data / "deep.tif")
    (data / "deep.txt").write_text("Sixteen bits.")
    before = {path: path.stat().st_mtime_ns for path in data.parent.rglob("*")}
    check(data, "--decode", cwd=data)
    assert {path: path.stat().st_mtime_ns for path in data.parent.rglob("*")} == before
