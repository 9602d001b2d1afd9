"""``curate validate`` on what trainers read: exports of curate pass, and each trap of a trainer is found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources.validating import Row, check, edit_parquet, found
from support.cli import curate
from support.pictures import distinct

from curate.corpus import Corpus
from curate.sources.validate import ValidateOptions, validate

DICOM = Path(__file__).parents[2] / "examples" / "raw" / "dicom" / "ct-thorax-crop.dcm"

FORMATS = ["image-caption", "interleaved", "jsonl", "llamafactory-sft", "llamafactory-cpt", "verl"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_export_passes_whole_or_by_its_files(exported: Callable[..., Path], name: str) -> None:
    directory = exported(name, val_fraction=0.3)
    report = validate([directory], ValidateOptions(decode=True))
    assert found(report) == []
    marker = json.loads((directory / "export.json").read_text())
    assert report.rows == sum(file["rows"] for file in marker["files"]) > 0
    assert report.files == 2
    (directory / "export.json").unlink()
    named = [directory] if name.startswith("llamafactory") else sorted(directory.glob("*.jsonl"))
    assert check(*(named or [directory]), format=name) == []


@pytest.mark.parametrize(("name", "images"), [("image-caption", "base64"), ("interleaved", "base64"), ("verl", "path")])
def test_other_ways_to_give_pictures_pass(exported: Callable[..., Path], name: str, images: str) -> None:
    assert check(exported(name, images=images)) == []


def test_exports_are_found_inside_a_folder_and_a_corpus_is_left_out(
    exported: Callable[..., Path], corpus_of_every_kind: Corpus, tmp_path: Path
) -> None:
    for name in ("verl", "llamafactory-sft"):
        exported(name)
    shutil.copytree(corpus_of_every_kind.path, tmp_path / "exports" / "curated")
    (tmp_path / "exports" / "own").mkdir()
    (tmp_path / "exports" / "own" / "rows.jsonl").write_text('{"image": "none.png", "text": "x"}\n')
    report = validate([tmp_path / "exports"], ValidateOptions())
    assert found(report) == [("rows.jsonl", 1, "image", "missing_image"), ("curated", 0, "", "not_checked")]
    assert report.rows == 10 + 10 + 1


@pytest.mark.parametrize("name", FORMATS)
def test_a_cut_file_a_lost_file_and_a_lost_picture(exported: Callable[..., Path], name: str) -> None:
    directory = exported(name, val_fraction=0.3)
    file = next(path for path in directory.glob("train.*") if path.suffix != ".yaml")
    if file.suffix == ".jsonl":
        file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))
    else:
        edit_parquet(file, list.pop)
    assert check(directory) == [(file.name, 0, "", "row_count")]
    if name != "verl":
        lost = next((directory / "images").rglob("*.jpg"))
        lost.unlink()
        assert "missing_image" in {code for *_, code in check(directory)}
    file.unlink()
    assert {code for *_, code in check(directory)} & {"missing_file"}


def test_a_picture_on_both_sides_of_a_split(exported: Callable[..., Path]) -> None:
    for name in ("verl", "llamafactory-sft", "image-caption"):
        directory = exported(name, val_fraction=0.3)
        marker = json.loads((directory / "export.json").read_text())
        train, val = (next(f["path"] for f in marker["files"] if f["split"] == s) for s in ("train", "val"))
        if name == "image-caption":
            row = (directory / val).read_text().splitlines()[0]
            with (directory / train).open("a") as file:
                file.write(row + "\n")
        else:
            picture = next(row for row in pq.read_table(directory / val).to_pylist() if row["images"])
            edit_parquet(directory / train, lambda rows, picture=picture: rows.append(picture))
        (directory / "export.json").unlink()
        if name == "image-caption":
            continue  # only a marker says which of its files is which
        entries = check(directory)
        assert [(file, code) for file, _, _, code in entries] == [(val, "picture_in_both_splits")]
        assert entries[0][2] == "images.0"


def test_records_of_a_split_are_compared_too(exported: Callable[..., Path]) -> None:
    directory = exported("image-caption", val_fraction=0.3)
    row = (directory / "val.jsonl").read_text().splitlines()[0]
    lines = (directory / "train.jsonl").read_text().splitlines()
    (directory / "train.jsonl").write_text("\n".join([*lines[:-1], row]))
    assert check(directory) == [("val.jsonl", 1, "image", "picture_in_both_splits")]


class TestVerl:
    ROW: Row = {  # noqa: RUF012 - never changed
        "data_source": "d",
        "prompt": [{"role": "user", "content": "Which?"}],
        "images": [],
        "reward_model": {"style": "rule", "ground_truth": "A"},
        "extra_info": {"index": 0, "query_type": "exact"},
    }

    def row(self, *images: Any, **changes: Any) -> Row:
        prompt = [{"role": "user", "content": "<image>" * len(images) + "Which?"}]
        return self.ROW | {"prompt": prompt, "images": list(images)} | changes

    def lines(self, tmp_path: Path, *rows: Row) -> Path:
        (tmp_path / "a.png").write_bytes(distinct(1))
        path = tmp_path / "train.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def test_cells_that_verl_opens_and_does_not_open(self, tmp_path: Path) -> None:
        whole = str(tmp_path / "a.png")
        good = [self.row(whole), self.row(f"file://{whole}", whole)]
        assert check(self.lines(tmp_path, *good)) == []
        objects = [self.row({"image": whole, "min_pixels": 9})]
        assert check(self.lines(tmp_path, *objects)) == []
        bad = [self.row({"path": whole}), self.row({"path": None}), self.row({"image": "a.png"})]
        assert check(self.lines(tmp_path, *bad)) == [
            ("train.jsonl", 1, "images.0", "unreadable_cell"),
            ("train.jsonl", 2, "images.0", "missing_image"),
            ("train.jsonl", 3, "images.0", "relative_path"),
        ]

    def test_the_image_feature_makes_paths_readable(self, tmp_path: Path) -> None:
        cell = pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
        (tmp_path / "a.png").write_bytes(distinct(1))
        rows = [self.row({"bytes": None, "path": str(tmp_path / "a.png")})]
        plain = (
            pa.Table.from_pylist(rows)
            .drop_columns("images")
            .append_column("images", pa.array([rows[0]["images"]], cell))
        )
        pq.write_table(plain, tmp_path / "train.parquet")
        assert check(tmp_path / "train.parquet") == [("train.parquet", 1, "images.0", "unreadable_cell")]
        features = {"info": {"features": {"images": {"feature": {"_type": "Image"}, "_type": "List"}}}}
        pq.write_table(plain.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "train.parquet")
        assert check(tmp_path / "train.parquet") == []

    def test_reserved_names_and_query_types(self, tmp_path: Path) -> None:
        info = self.ROW["extra_info"]
        rows = [
            self.ROW,
            self.ROW | {"extra_info": info | {"num_turns": 3}},
            self.ROW | {"uid": "1"},
            self.ROW | {"extra_info": {"index": 4}},
            self.ROW | {"extra_info": info | {"query_type": "rouge"}},
        ]
        report = validate([self.lines(tmp_path, *rows)], ValidateOptions())
        assert [(f.severity, f.row, f.field, f.code) for f in report.findings()] == [
            ("error", 2, "extra_info.num_turns", "reserved_key"),
            ("error", 3, "uid", "reserved_column"),
            ("warning", 4, "extra_info.query_type", "missing_query_type"),
            ("warning", 5, "extra_info.query_type", "unknown_query_type"),
        ]

    def test_types_that_arrow_cannot_hold_in_one_column(self, tmp_path: Path) -> None:
        """An error here, where the trainer reads the file; nested values count."""
        rows = [
            self.ROW,
            self.ROW | {"reward_model": {"style": "rule", "ground_truth": ["A"]}},
            self.ROW | {"extra_info": {"index": "0", "query_type": "exact", "boxes": [1, 2.5, None]}},
            self.ROW | {"extra_info": {"index": 0, "query_type": "exact", "boxes": [[1], "x"]}},
        ]
        report = validate([self.lines(tmp_path, *rows)], ValidateOptions())
        assert [(f.severity, f.row, f.field, f.code) for f in report.findings()] == [
            ("error", 2, "reward_model.ground_truth", "mixed_types"),
            ("error", 3, "extra_info.index", "mixed_types"),
            ("error", 4, "extra_info.boxes.[]", "mixed_types"),
            ("error", 4, "extra_info.boxes.[]", "mixed_types"),
        ]

    def test_truth_and_extra_info_are_needed(self, exported: Callable[..., Path]) -> None:
        directory = exported("verl", val_fraction=0)

        def spoil(rows: list[Row]) -> None:
            rows[0]["reward_model"]["ground_truth"] = None
            rows[1]["extra_info"] = None
            rows[2]["images"] = []

        edit_parquet(directory / "train.parquet", spoil)
        entries = check(directory)
        assert entries[0][3] == "wrong_type"
        assert entries == [
            ("train.parquet", 1, "reward_model.ground_truth", "wrong_type"),
            ("train.parquet", 2, "extra_info", "missing"),
            ("train.parquet", 3, "", "placeholder_count"),
        ]

    def test_columns_of_one_name_have_one_type_in_both_files(self, exported: Callable[..., Path]) -> None:
        directory = exported("verl", val_fraction=0.3)

        def renumber(rows: list[Row]) -> None:
            for row in rows:
                row["extra_info"] = {"index": str(row["extra_info"]["index"]), "query_type": "exact"}

        schema = pq.read_schema(directory / "val.parquet")
        info = pa.struct([("index", pa.string()), ("query_type", pa.large_string())])
        place = schema.get_field_index("extra_info")
        edit_parquet(directory / "val.parquet", renumber, schema.set(place, pa.field("extra_info", info)))
        assert check(directory) == [("val.parquet", 0, "extra_info.index", "column_types")]

    def test_embedded_pictures_are_looked_into(self, exported: Callable[..., Path]) -> None:
        directory = exported("verl", val_fraction=0)

        def spoil(rows: list[Row]) -> None:
            rows[0]["images"][0]["bytes"] = rows[0]["images"][0]["bytes"][:-20]
            rows[1]["images"][0]["bytes"] = b""
            rows[2]["images"][0]["bytes"] = DICOM.read_bytes()

        edit_parquet(directory / "train.parquet", spoil)
        assert check(directory) == [
            ("train.parquet", 1, "images.0", "truncated_image"),
            ("train.parquet", 2, "images.0", "empty_image"),
            ("train.parquet", 3, "images.0", "not_an_image"),
        ]


def test_through_the_command(exported: Callable[..., Path]) -> None:
    directory = exported("verl", val_fraction=0.3)
    ran = curate("validate", directory)
    assert (ran.status, ran.out) == (0, "")
    assert "2 files, 10 rows = 10 sound + 0 with errors: 0 errors, 0 warnings" in ran.err
    edit_parquet(directory / "val.parquet", lambda rows: rows[0].update(extra_info=None))
    ran = curate("validate", "val.parquet", "--format", "verl", cwd=directory)
    assert (ran.status, ran.out) == (1, "val.parquet:1  extra_info: it is missing  [missing]\n")
