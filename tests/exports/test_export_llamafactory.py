"""LLaMA-Factory exports: rows by its rules, files its loader finds, the traps it has."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from support.measured import Row, caption, conversation, document, make_corpus, stored, write_signals
from support.pictures import distinct, histology, retina

from curate.corpus import Corpus, Image, Sample, Turn, UserError
from curate.exports import ExportOptions, ExportSummary, export
from curate.schemas import LlamaFactoryRow


@pytest.fixture
def pictures(tmp_path: Path) -> list[Image]:
    """A JPEG and four PNG files, already in the store of the corpus that the tests make."""
    store = tmp_path / "curated"
    return [
        stored(store, retina(160, "JPEG")),
        stored(store, histology(96)),
        *(stored(store, distinct(n)) for n in range(3)),
    ]


def run(tmp_path: Path, form: str, samples: list[Sample], **options: Any) -> tuple[Path, ExportSummary]:
    corpus = make_corpus(tmp_path / "curated", samples, per_shard=3)
    write_signals(corpus)
    return tmp_path / "out", export(corpus, f"llamafactory-{form}", tmp_path / "out", ExportOptions(**options))


def rows(directory: Path, split: str = "train") -> list[Row]:
    """The rows of a split, each valid and with its pictures on disk under the names of their hashes."""
    found = pq.read_table(directory / f"{split}.parquet").to_pylist()
    for row in found:
        LlamaFactoryRow.model_validate(row)
        for image in row["images"]:
            assert hashlib.sha256((directory / image).read_bytes()).hexdigest() == Path(image).stem
    return found


def said(row: Row) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row["messages"]]


def path_of(image: Image) -> str:
    return f"images/{image.sha256[:2]}/{image.sha256}.{'jpg' if image.format == 'jpeg' else 'png'}"


class TestSft:
    def test_turns_system_and_pictures(self, tmp_path: Path, pictures: list[Image]) -> None:
        jpeg, slide, *_ = pictures
        sample = conversation("Look.", "Yes.", "And?", "No.", images=[jpeg, slide], system="Be kind.", source="vqa")
        directory, summary = run(tmp_path, "sft", [sample])
        (row,) = rows(directory)
        assert said(row) == [
            ("user", "<image><image>Look."),
            ("assistant", "Yes."),
            ("user", "And?"),
            ("assistant", "No."),
        ]
        assert (row["id"], row["source"], row["system"]) == (sample.id, "vqa", "Be kind.")
        assert row["images"] == [path_of(jpeg), path_of(slide)]
        assert (directory / path_of(jpeg)).read_bytes() == retina(160, "JPEG")
        assert (summary.images, summary.status) == (2, 0)

    def test_a_picture_of_many_samples_is_copied_once(self, tmp_path: Path, pictures: list[Image]) -> None:
        samples = [conversation(f"Q{n}?", "A.", images=pictures[:2], row=n) for n in range(7)]
        directory, summary = run(tmp_path, "sft", samples)
        assert summary.images == 2 == len([path for path in (directory / "images").rglob("*") if path.is_file()])
        assert len(rows(directory)) == 7

    def test_pictures_are_listed_in_the_order_of_their_placeholders(
        self, tmp_path: Path, pictures: list[Image]
    ) -> None:
        first, second, *_ = pictures
        turns = (Turn("user", ("Here: ", 1, " and ", 0, ".")), Turn("assistant", ("Both.",)))
        base = conversation("x", "y", images=[first, second])
        mixed = Sample("conversation", "made", None, (first, second), turns, base.origin)
        directory, _ = run(tmp_path, "sft", [conversation("Q", "A"), mixed])
        row = rows(directory)[0]
        assert said(row)[0] == ("user", "Here: <image> and <image>.")
        assert row["images"] == [path_of(second), path_of(first)]

    def test_types_are_explicit_and_hold_for_text_only_data(self, tmp_path: Path) -> None:
        directory, _ = run(tmp_path, "sft", [conversation("Q?", "A.")])
        schema = pq.read_schema(directory / "train.parquet")
        assert schema.field("images").type == pa.list_(pa.string())
        assert schema.field("system").type == pa.string()
        assert schema.field("messages").type.value_type == pa.struct([("role", pa.string()), ("content", pa.string())])
        (row,) = rows(directory)
        assert (row["images"], row["system"]) == ([], "")  # not null: the loader would infer a column of nulls

    def test_rows_with_pictures_come_first(self, tmp_path: Path, pictures: list[Image]) -> None:
        """The datasets library takes the images column for null when the first 1,000 rows have none, and then fails."""
        samples = [conversation(f"Q{n}?", "A.") for n in range(7)]
        samples.insert(4, conversation("Look.", "A.", images=[pictures[0]]))
        samples.append(conversation("Look again.", "A.", images=[pictures[1]]))
        directory, summary = run(tmp_path, "sft", samples)
        found = rows(directory)
        assert [bool(row["images"]) for row in found] == [True, True] + [False] * 7
        in_order = [s.id for s in samples if s.images] + [s.id for s in samples if not s.images]
        assert [row["id"] for row in found] == in_order
        assert summary.files[0].samples == hashlib.sha256("".join(in_order).encode()).hexdigest()
        assert not [path for path in directory.rglob("*") if path.name.startswith(".")]

    @pytest.mark.parametrize(
        ("text", "written"),
        [
            ("Use <image> here", "Use < image> here"),
            ("<video> and <audio>", "< video> and < audio>"),
            ("<|im_end|>\n<|im_start|>system", "< |im_end|>\n< |im_start|>system"),
            ("<|image_pad|>", "< |image_pad|>"),
            ("a<b>c <images> <|", "a<b>c <images> <|"),
        ],
    )
    def test_markers_in_texts_are_defused_and_counted(self, tmp_path: Path, text: str, written: str) -> None:
        directory, summary = run(tmp_path, "sft", [conversation(text, f"{text}.", system=text), conversation("Q", "A")])
        row = rows(directory)[0]
        assert said(row) == [("user", written), ("assistant", f"{written}.")]
        assert row["system"] == written
        assert summary.defused == (text != written)

    def test_rows_that_the_loader_would_drop_or_choke_on_are_skipped_with_a_reason(
        self, tmp_path: Path, pictures: list[Image]
    ) -> None:
        origin = conversation("x", "y").origin

        def sample(*turns: Turn, images: tuple[Image, ...] = ()) -> Sample:
            return Sample("conversation", "made", None, images, turns, origin)

        samples = [
            sample(Turn("user", ("No answer?",))),
            sample(Turn("assistant", ("Too early.",)), Turn("user", ("Q",))),
            sample(Turn("user", ("a",)), Turn("system", ("late",)), Turn("assistant", ("b",))),
            sample(Turn("system", ("alone",))),
            sample(Turn("user", ("Q",)), Turn("assistant", (" ",))),
            sample(Turn("system", (0,)), Turn("user", ("Q",)), Turn("assistant", ("A",)), images=(pictures[0],)),
            conversation("Good?", "Yes."),
        ]
        directory, summary = run(tmp_path, "sft", samples)
        assert [row["id"] for row in rows(directory)] == [samples[-1].id]
        assert summary.skipped == {
            "no text to learn from": 1,
            "picture in the system message, which trainers leave out": 1,
            "turns out of order": 4,
        }
        assert summary.status == 1
        skipped = [json.loads(line) for line in (directory / "skipped.jsonl").read_text().splitlines()]
        assert {row["id"] for row in skipped} == {sample.id for sample in samples[:-1]}
        assert all(row["file"] == "made.jsonl" and row["reason"] for row in skipped)

    def test_dataset_info_and_training_configuration(self, tmp_path: Path, pictures: list[Image]) -> None:
        samples = [conversation(f"Q{n}?", "A.", images=[image]) for n, image in enumerate(pictures)]
        directory, _ = run(tmp_path, "sft", samples, val_fraction=0.4)
        info = json.loads((directory / "dataset_info.json").read_text())
        assert set(info) == {"medcurate_sft", "medcurate_sft_val"}
        for name, split in (("medcurate_sft", "train"), ("medcurate_sft_val", "val")):
            assert info[name]["file_name"] == f"{split}.parquet"
            assert info[name]["formatting"] == "sharegpt"
            assert info[name]["columns"] == {"messages": "messages", "images": "images", "system": "system"}
        text = (directory / "train.yaml").read_text()
        settings = yaml.safe_load(text)
        assert "cd THIS_FOLDER && llamafactory-cli train train.yaml" in text
        assert (settings["dataset_dir"], settings["media_dir"]) == (".", ".")
        assert (settings["dataset"], settings["eval_dataset"]) == ("medcurate_sft", "medcurate_sft_val")
        assert (settings["template"], settings["stage"]) == ("qwen3_vl_nothink", "sft")
        assert settings["cutoff_len"] == 2048
        shown = {image for split in ("train", "val") for row in rows(directory, split) for image in row["images"]}
        assert len(shown) == 5

    def test_the_cutoff_is_above_the_longest_row(self, tmp_path: Path, pictures: list[Image]) -> None:
        samples = [
            conversation("word " * 1000, "A.", row=1),
            conversation("word " * 3000, "A.", images=pictures, row=2),
        ]
        directory, _ = run(tmp_path, "sft", samples)
        cutoff = yaml.safe_load((directory / "train.yaml").read_text())["cutoff_len"]
        longest = 3000 * 2 + 5 * 66 + 1 + 12  # two estimated tokens for five characters
        assert cutoff % 8 == 0
        assert 1.5 * longest <= cutoff <= 1.5 * longest + 512

    def test_without_validation_rows_nothing_is_evaluated(self, tmp_path: Path) -> None:
        directory, _ = run(tmp_path, "sft", [conversation("Q", "A")])
        assert "eval_dataset" not in yaml.safe_load((directory / "train.yaml").read_text())
        assert not (directory / "val.parquet").exists()


class TestCpt:
    def test_captions_are_a_picture_and_its_text(self, tmp_path: Path, pictures: list[Image]) -> None:
        sample = caption("A retina.", pictures[0], pictures[1])
        directory, _ = run(tmp_path, "cpt", [sample])
        (row,) = rows(directory)
        assert said(row) == [("user", "<image><image>"), ("assistant", "A retina.<|endoftext|>")]
        assert row["images"] == [path_of(pictures[0]), path_of(pictures[1])]
        assert (row["id"], row["chunk"], row["chunks"]) == (sample.id, 1, 1)

    def test_documents_alternate_whatever_their_order(self, tmp_path: Path, pictures: list[Image]) -> None:
        a, b, c, *_ = pictures
        samples = [
            document("Before.", a, b, "Between.", "And more.", c),
            document(a, "After."),
            document("Text alone."),
        ]
        directory, _ = run(tmp_path, "cpt", samples)
        found = {row["id"]: row for row in rows(directory)}
        assert said(found[samples[0].id]) == [
            ("user", ""),
            ("assistant", "Before."),
            ("user", "<image><image>"),
            ("assistant", "Between.\n\nAnd more."),
            ("user", "<image>"),
            ("assistant", "<|endoftext|>"),
        ]
        assert found[samples[0].id]["images"] == [path_of(a), path_of(b), path_of(c)]
        assert said(found[samples[1].id]) == [("user", "<image>"), ("assistant", "After.<|endoftext|>")]
        assert said(found[samples[2].id]) == [("user", ""), ("assistant", "Text alone.<|endoftext|>")]

    def test_only_the_end_of_a_document_is_marked_as_one(self, tmp_path: Path, pictures: list[Image]) -> None:
        paragraphs = [f"Paragraph {n}. " + "Findings are normal. " * 20 for n in range(30)]
        sample = document(pictures[0], *paragraphs, pictures[1])
        directory, summary = run(tmp_path, "cpt", [sample, caption("Short.", pictures[2])], max_tokens=1024)
        found = [row for row in rows(directory) if row["id"] == sample.id]
        found.sort(key=lambda row: row["chunk"])
        assert [row["chunk"] for row in found] == list(range(1, len(found) + 1))
        assert {row["chunks"] for row in found} == {len(found)}
        texts = ["".join(content for role, content in said(row) if role == "assistant") for row in found]
        assert [text.endswith("<|endoftext|>") for text in texts] == [False] * (len(found) - 1) + [True]
        whole = "".join("".join(text.split()) for text in texts).removesuffix("<|endoftext|>")
        assert whole == "".join("".join(text.split()) for text in paragraphs)
        assert [image for row in found for image in row["images"]] == [path_of(pictures[0]), path_of(pictures[1])]
        assert "1 document(s) are longer than 1,024 tokens" in summary.notes[0]
        assert [row["images"] != [] for row in rows(directory)] == sorted(
            (row["images"] != [] for row in rows(directory)), reverse=True
        )

    def test_a_literal_end_of_text_does_not_end_the_document(self, tmp_path: Path) -> None:
        directory, summary = run(tmp_path, "cpt", [document("Before <|endoftext|> and <image> after.")])
        assert said(rows(directory)[0])[1][1] == "Before < |endoftext|> and < image> after.<|endoftext|>"
        assert summary.defused == 1

    def test_documents_that_cannot_be_learned_from_are_skipped(self, tmp_path: Path, pictures: list[Image]) -> None:
        store = tmp_path / "curated"
        wide = [stored(store, distinct(n, 768)) for n in range(2)]
        samples = [document(pictures[0]), document(*wide, "Too many."), document("Fine.")]
        directory, summary = run(tmp_path, "cpt", samples, max_tokens=1024)
        assert [row["id"] for row in rows(directory)] == [samples[2].id]
        assert summary.skipped == {"no text to learn from": 1, "pictures of one text exceed the token budget": 1}

    def test_configuration_names_the_raw_template_and_its_launcher(self, tmp_path: Path, pictures: list[Image]) -> None:
        directory, _ = run(tmp_path, "cpt", [caption("A retina.", pictures[0])])
        text = (directory / "train.yaml").read_text()
        settings = yaml.safe_load(text)
        assert "python -m curate.adapters.llamafactory.launch train.yaml" in text
        assert (settings["template"], settings["stage"], settings["dataset"]) == (
            "qwen3_vl_cpt",
            "sft",
            "medcurate_cpt",
        )
        info = json.loads((directory / "dataset_info.json").read_text())
        assert info["medcurate_cpt"]["columns"] == {"messages": "messages", "images": "images"}

    def test_the_budget_has_a_least_value(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="at least 1024"):
            run(tmp_path, "cpt", [document("Text.")], max_tokens=100)


@pytest.mark.parametrize("form", ["sft", "cpt"])
@pytest.mark.parametrize("folder", ["out", 'a: "b" #c {d}'])
def test_checkpoints_go_beside_the_export(tmp_path: Path, form: str, folder: str) -> None:
    corpus = make_corpus(tmp_path / "curated", [conversation("Q", "A"), document("Text.")])
    write_signals(corpus)
    export(corpus, f"llamafactory-{form}", tmp_path / folder)
    settings = yaml.safe_load((tmp_path / folder / "train.yaml").read_text())
    assert settings["output_dir"] == f"../{folder}-output"


@pytest.mark.parametrize("form", ["sft", "cpt"])
def test_the_same_export_twice_has_the_same_bytes(tmp_path: Path, pictures: list[Image], form: str) -> None:
    samples = [*(caption(f"C{n}.", image) for n, image in enumerate(pictures)), conversation("Q", "A", images=pictures)]
    directory, _ = run(tmp_path, form, samples)
    again = tmp_path / "again" / "out"
    export(Corpus.open(tmp_path / "curated"), f"llamafactory-{form}", again)
    for name in ("train.parquet", "dataset_info.json", "train.yaml"):
        assert (directory / name).read_bytes() == (again / name).read_bytes()
