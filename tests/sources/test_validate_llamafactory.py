"""``curate validate`` on LLaMA-Factory's data folders, of curate and of others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from sources.validating import Row, check, edit_json
from support.pictures import distinct


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
