"""``curate validate`` on what trainers read: exports of curate pass, and each trap of a trainer is found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from support.cli import curate
from support.pictures import distinct, retina

from curate.corpus import Corpus
from curate.exports import ExportOptions, export
from curate.signals import measure_corpus
from curate.sources.ingest import IngestOptions, ingest
from curate.sources.validate import Report, ValidateOptions, validate

DICOM = Path(__file__).parents[2] / "examples" / "raw" / "dicom" / "ct-thorax-crop.dcm"
Row = dict[str, Any]


def found(report: Report) -> list[tuple[str, int, str, str]]:
    return [(Path(f.file).name, f.row, f.field, f.code) for f in report.findings()]


def check(*paths: Path, **options: Any) -> list[tuple[str, int, str, str]]:
    return found(validate(paths, ValidateOptions(**options)))


def edit_parquet(path: Path, change: Callable[[list[Row]], object], schema: pa.Schema | None = None) -> None:
    """Change the rows of a Parquet file in place; with ``schema`` they get other types."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema or table.schema), path)


def edit_json(path: Path, change: Callable[[Row], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Ten samples of each kind, one of them without a picture where the kind allows it."""
    folder = tmp_path_factory.mktemp("corpus")
    names = [f"{number}.png" for number in range(8)] + ["retina.jpg"]
    text = "The linear gradient runs from the top of the picture to its bottom, with one red dot."
    rows: list[Row] = []
    for name in names:
        rows.append({"image": name, "text": f"{text} It is called {name}."})
        rows.append({"conversations": turns(f"<image>Describe {name} in one sentence.", text), "image": name})
        rows.append({"query": f"Which way does {name} run?", "answer": "down", "query_type": "exact", "images": [name]})
    two = [{"image": names[0]}, None, {"image": names[1]}, None]
    rows.append({"texts": [None, text, None, f"{text} This one too."], "image_info": two})
    rows.append({"conversations": turns("What does a gradient look like?", text)})
    options = ["A gradient from the top to the bottom", "A gradient from left to right"]
    rows.append(
        {"query": "Which are gradients?", "answer": ["A", "B"], "query_type": "multi_choice", "choices": options}
    )
    (folder / "raw").mkdir()
    for number, name in enumerate(names):
        (folder / "raw" / name).write_bytes(retina(160, "JPEG") if name.endswith("jpg") else distinct(number))
    (folder / "raw" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = Corpus.create(folder / "curated")
    with corpus.lock():
        ingest([folder / "raw"], corpus, IngestOptions(), lambda *_: None)
        measure_corpus(corpus)
    return corpus


def turns(question: str, answer: str) -> list[Row]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


@pytest.fixture
def exported(corpus: Corpus, tmp_path: Path) -> Callable[..., Path]:
    """Writes an export of the corpus."""

    def write(name: str, **options: Any) -> Path:
        directory = tmp_path / "exports" / name
        export(corpus, name, directory, ExportOptions(**options))
        return directory

    return write


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
    exported: Callable[..., Path], corpus: Corpus, tmp_path: Path
) -> None:
    for name in ("verl", "llamafactory-sft"):
        exported(name)
    shutil.copytree(corpus.path, tmp_path / "exports" / "curated")
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


class TestLlamaFactory:
    TAGS: Row = {  # noqa: RUF012 - never changed
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
    }

    def folder(self, tmp_path: Path, rows: list[Row], *, name: str = "rows.jsonl", **entry: Any) -> Path:
        """A data set folder; the first row has a picture unless it says otherwise."""
        (tmp_path / "a.png").write_bytes(distinct(1))
        lines = [json.dumps(row) for row in rows]
        (tmp_path / name).write_text("\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]")
        info = {"file_name": name, "formatting": "sharegpt"} | entry
        (tmp_path / "dataset_info.json").write_text(json.dumps({"set": info}, indent=2))
        return tmp_path

    def columns(self, **more: str) -> Row:
        return {"columns": {"messages": "messages", "images": "images"} | more, "tags": self.TAGS}

    def row(self, question: str = "<image>What?", answer: str = "This.", images: Any = ("a.png",)) -> Row:
        said = [("user", question), ("assistant", answer)]
        return {"messages": [{"role": role, "content": text} for role, text in said], "images": images}

    def test_rows(self, tmp_path: Path) -> None:
        good = [self.row(), self.row(question="What?", images=[])]
        assert check(self.folder(tmp_path, good, **self.columns())) == []
        assert check(tmp_path / "dataset_info.json") == []
        turns = self.row()["messages"]
        bad = [
            self.row(),
            self.row(question="What?"),
            self.row(images=["none.png"]),
            {"messages": turns[:1] * 2, "images": ["a.png"] * 2},
            {"messages": [*turns, {"role": "user", "content": "And?"}], "images": ["a.png"]},
            self.row(images=["/etc/passwd"]),
            self.row(images=["data:image/png;base64,AAAA"]),
            {"messages": [{"role": "tool", "content": "x"}, turns[1]], "images": []},
        ]
        assert check(self.folder(tmp_path, bad, **self.columns())) == [
            ("rows.jsonl", 2, "", "placeholder_count"),
            ("rows.jsonl", 3, "images.0", "missing_image"),
            ("rows.jsonl", 4, "", "role_order"),
            ("rows.jsonl", 5, "", "role_order"),
            ("rows.jsonl", 6, "images.0", "outside_root"),
            ("rows.jsonl", 7, "images.0", "unreadable_cell"),
            ("rows.jsonl", 8, "messages.0.role", "wrong_value"),
        ]

    def test_other_names_of_columns_and_tags(self, tmp_path: Path) -> None:
        turns = [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "<image>?"}]
        good = [{"conversations": [*turns, {"from": "gpt", "value": "x"}], "pictures": "a.png"}]
        bad = {
            "conversations": [{"from": "human", "value": 5}, {"from": "gpt", "value": "x"}],
            "pictures": ["none.png"],
        }
        columns = {"messages": "conversations", "images": "pictures"}
        assert check(self.folder(tmp_path, good, columns=columns)) == []
        assert check(self.folder(tmp_path, [*good, bad], columns=columns)) == [
            ("rows.jsonl", 2, "conversations.0.value", "wrong_type"),
        ]

    @pytest.mark.parametrize(
        ("entry", "field", "code"),
        [
            ({"file_name": "none.jsonl"}, "set.file_name", "missing_file"),
            ({"file_name": "../rows.jsonl"}, "set.file_name", "outside_root"),
            ({"file_name": 5}, "set.file_name", "missing"),
            ({"file_name": "a.png"}, "set.file_name", "unsupported_file"),
            ({"formatting": "openai"}, "set.formatting", "openai_formatting"),
            ({"columns": {"images": "images"}}, "set.columns.messages", "missing"),
            ({"columns": {"messages": "messages", "image": "images"}}, "set.columns.image", "unknown_key"),
            ({"columns": []}, "set.columns", "wrong_type"),
            ({"tags": {"role_tag": "role"}}, "set.tags.content_tag", "missing"),
            ({"tags": {"roles": "role"}}, "set.tags.roles", "unknown_key"),
        ],
    )
    def test_entries_of_dataset_info(self, tmp_path: Path, entry: Row, field: str, code: str) -> None:
        self.folder(tmp_path, [self.row()], **(self.columns() | entry))
        assert check(tmp_path) == [("dataset_info.json", 0, field, code)]

    @pytest.mark.parametrize(
        "entry",
        [{"formatting": "alpaca"}, {"ranking": True}, {"hf_hub_url": "someone/something"}, {"file_name": "rows.txt"}],
    )
    def test_what_is_not_checked_is_said_and_is_not_a_pass(self, tmp_path: Path, entry: Row) -> None:
        self.folder(tmp_path, [self.row()], **(self.columns() | entry))
        (tmp_path / "rows.txt").write_text("text")
        assert {code for *_, code in check(tmp_path)} == {"not_checked", "nothing_to_validate"}

    def test_the_description_itself(self, tmp_path: Path) -> None:
        path = self.folder(tmp_path, [self.row()], **self.columns()) / "dataset_info.json"
        content = path.read_text()
        for broken, code in (("{", "invalid_json"), ("[]", "not_an_object"), ('{"a": {}, "a": {}}', "duplicate_key")):
            path.write_text(broken)
            assert check(tmp_path) == [("dataset_info.json", 0, "", code)]
        path.write_text('{"set": 5, ' + content.strip()[1:].replace('"set"', '"other"'))
        assert check(tmp_path) == [("dataset_info.json", 0, "set", "wrong_type")]
        path.unlink()
        assert check(tmp_path, format="llamafactory-sft") == [("dataset_info.json", 0, "", "missing_file")]

    @pytest.mark.parametrize(
        ("change", "field", "code"),
        [
            ({"dataset": "medcurate_sft,other"}, "dataset", "unknown_dataset"),
            ({"eval_dataset": ["other"]}, "eval_dataset", "unknown_dataset"),
            ({"stage": "pt"}, "stage", "text_only_stage"),
            ({"train_on_prompt": True}, "train_on_prompt", "train_on_prompt"),
            ({"media_dir": "none"}, "media_dir", "missing_folder"),
        ],
    )
    def test_the_configuration(self, exported: Callable[..., Path], change: Row, field: str, code: str) -> None:
        directory = exported("llamafactory-sft")
        config = yaml.safe_load((directory / "train.yaml").read_text())
        (directory / "train.yaml").write_text(yaml.safe_dump(config | change))
        assert check(directory) == [("train.yaml", 0, field, code)]

    def test_a_configuration_that_is_no_yaml(self, exported: Callable[..., Path]) -> None:
        directory = exported("llamafactory-cpt")
        for broken in ("a: [", "- a", "a: \x00"):
            (directory / "train.yaml").write_text(broken)
            assert check(directory) == [("train.yaml", 0, "", "invalid_yaml")]

    def test_pictures_lie_where_the_configuration_says(self, tmp_path: Path) -> None:
        self.folder(tmp_path, [self.row()], **self.columns())
        (tmp_path / "media").mkdir()
        (tmp_path / "train.yaml").write_text("dataset: set\nmedia_dir: media\n")
        (tmp_path / "a.png").rename(tmp_path / "media" / "a.png")
        assert check(tmp_path) == []
        (tmp_path / "media" / "a.png").unlink()
        assert check(tmp_path) == [("rows.jsonl", 1, "images.0", "missing_image")]

    def test_the_first_picture_must_not_come_late(self, tmp_path: Path) -> None:
        """LLaMA-Factory 0.9.5 with datasets 4.0 loads the first of each pair and stops at the second."""
        blank = self.row(question="What?", images=[])
        assert check(self.folder(tmp_path, [*[blank] * 999, self.row()], **self.columns())) == []
        assert check(self.folder(tmp_path, [*[blank] * 1000, self.row()], **self.columns())) == [
            ("rows.jsonl", 1001, "images", "pictures_too_late")
        ]
        long = self.row(question="What? " + "x" * 2**20, images=[])
        assert check(self.folder(tmp_path, [*[long] * 9, self.row()], **self.columns())) == []
        rows = [*[long] * 11, self.row()]
        assert check(self.folder(tmp_path, rows, **self.columns())) == [
            ("rows.jsonl", 12, "images", "pictures_too_late")
        ]
        assert check(self.folder(tmp_path, rows, name="rows.json", **self.columns())) == []

    def test_columns_that_a_parquet_file_must_have(self, exported: Callable[..., Path]) -> None:
        directory = exported("llamafactory-sft")
        assert check(directory) == []
        edit_json(directory / "dataset_info.json", lambda info: info["medcurate_sft"]["columns"].update(tools="tools"))
        table = pq.read_table(directory / "train.parquet").drop_columns("system")
        pq.write_table(table, directory / "train.parquet")
        assert check(directory) == [("train.parquet", 0, "system", "missing_column")]


def test_through_the_command(exported: Callable[..., Path]) -> None:
    directory = exported("verl", val_fraction=0.3)
    ran = curate("validate", directory)
    assert (ran.status, ran.out) == (0, "")
    assert "2 files, 10 rows: 0 errors, 0 warnings" in ran.err
    edit_parquet(directory / "val.parquet", lambda rows: rows[0].update(extra_info=None))
    ran = curate("validate", "val.parquet", "--format", "verl", cwd=directory)
    assert (ran.status, ran.out) == (1, "val.parquet:1  extra_info: it is missing  [missing]\n")
