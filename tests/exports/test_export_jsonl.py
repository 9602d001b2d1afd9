"""JSON Lines exports: the recipe's records and whole samples, with pictures as files or inline."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from support.measured import Row, caption, conversation, document, make_corpus, query, stored, write_signals
from support.pictures import distinct, retina

from curate.corpus import Corpus, Image, Origin, Sample, Turn
from curate.exports import ExportOptions, ExportSummary, export
from curate.schemas import FORMATS
from curate.sources.ingest import IngestOptions, ingest

RECORDS = {"image-caption": "image-caption", "interleaved": "interleaved", "jsonl": "sample"}


@pytest.fixture
def pictures(tmp_path: Path) -> list[Image]:
    """A JPEG and two PNG files, already in the store of the corpus that the tests make."""
    store = tmp_path / "curated"
    return [stored(store, retina(160, "JPEG")), stored(store, distinct(1)), stored(store, distinct(2))]


def run(tmp_path: Path, name: str, samples: list[Sample], **options: Any) -> tuple[list[Row], ExportSummary]:
    corpus = make_corpus(tmp_path / "curated", samples, per_shard=2)
    write_signals(corpus)
    summary = export(corpus, name, tmp_path / "out", ExportOptions(**options))
    rows = [json.loads(line) for line in (tmp_path / "out" / "train.jsonl").read_text().splitlines()]
    for row in rows:
        FORMATS[RECORDS[name]].model_validate(row)
    return rows, summary


def path_of(image: Image) -> str:
    return f"images/{image.sha256[:2]}/{image.sha256}.{'jpg' if image.format == 'jpeg' else 'png'}"


def test_captions(tmp_path: Path, pictures: list[Image]) -> None:
    one = caption("A retina.", pictures[0], source="fundus", license="CC0-1.0", meta={"modality": "photo", "id": 7})
    two = caption("Two views.", *pictures[:2])
    rows, summary = run(tmp_path, "image-caption", [one, two])
    assert rows[0] == {
        "id": one.id,
        "modality": "photo",
        "image": path_of(pictures[0]),
        "text": "A retina.",
        "record_id": 7,
        "source": "fundus",
        "license": "CC0-1.0",
    }
    assert rows[1]["image"] == [path_of(pictures[0]), path_of(pictures[1])]
    assert (tmp_path / "out" / path_of(pictures[0])).read_bytes() == retina(160, "JPEG")
    assert summary.images == 2


def test_captions_inline(tmp_path: Path, pictures: list[Image]) -> None:
    rows, summary = run(tmp_path, "image-caption", [caption("A retina.", pictures[0])], images="base64")
    head, _, data = rows[0]["image"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(data) == retina(160, "JPEG")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "export.json", "train.jsonl"]
    assert summary.images == 0


def test_documents(tmp_path: Path, pictures: list[Image]) -> None:
    sample = document("Before <image>.", pictures[0], "After.", pictures[1])
    rows, summary = run(tmp_path, "interleaved", [sample, caption("A retina.", pictures[2])])
    assert rows[0]["texts"] == ["Before <image>.", None, "After.", None]  # here a literal marker is prose
    assert rows[0]["image_info"] == [None, {"image": path_of(pictures[0])}, None, {"image": path_of(pictures[1])}]
    assert (rows[1]["texts"], rows[1]["image_info"]) == ([None, "A retina."], [{"image": path_of(pictures[2])}, None])
    assert summary.defused == 0


def test_documents_inline_have_the_recipes_bare_base64(tmp_path: Path, pictures: list[Image]) -> None:
    rows, _ = run(tmp_path, "interleaved", [document(pictures[0], "After.")], images="base64")
    assert rows[0]["image_info"] == [{"image_base64": base64.b64encode(retina(160, "JPEG")).decode()}, None]


@pytest.mark.parametrize("images", ["path", "base64"])
def test_whole_samples_come_back_with_the_same_ids(tmp_path: Path, pictures: list[Image], images: str) -> None:
    samples = [
        caption("A retina with a literal <image>.", pictures[0], source="fundus", license="CC0-1.0", meta={"a": [1]}),
        document("Before.", pictures[1], "After."),
        conversation("Look at <image>.", "Yes.", images=[pictures[2]], system="Be kind."),
        # The source of an identified sample is the folder it is read from, whatever its record says.
        query(
            "Which?",
            "B",
            query_type="choice",
            choices=(("A", "left"), ("B", "right")),
            privacy="identified",
            source="out",
        ),
    ]
    rows, _ = run(tmp_path, "jsonl", samples, images=images, declared_deidentified=("out",))
    assert [row["id"] for row in rows] == [sample.id for sample in samples]
    back = Corpus.create(tmp_path / "back")
    ingest([tmp_path / "out" / "train.jsonl"], back, IngestOptions(), lambda *_: None)
    again = {sample.id: sample for shard in back.shards() for sample in back.samples(shard)}
    assert set(again) == {sample.id for sample in samples}
    for sample in samples:
        found = again[sample.id]
        assert (found.turns, found.answer, found.choices) == (sample.turns, sample.answer, sample.choices)
        assert (found.source, found.license, found.meta) == (sample.source, sample.license, sample.meta)
        assert [image.sha256 for image in found.images] == [image.sha256 for image in sample.images]
        assert found.privacy == sample.privacy


def test_validation_rows_are_a_file_of_their_own(tmp_path: Path) -> None:
    samples = [document(f"Text {number}.", row=number) for number in range(50)]
    rows, summary = run(tmp_path, "jsonl", samples, val_fraction=0.3)
    val = [json.loads(line) for line in (tmp_path / "out" / "val.jsonl").read_text().splitlines()]
    assert {file.path: file.rows for file in summary.files} == {"train.jsonl": len(rows), "val.jsonl": len(val)}
    assert {row["id"] for row in rows} | {row["id"] for row in val} == {sample.id for sample in samples}
    assert len(rows) + len(val) == 50


def test_what_a_format_cannot_hold_is_skipped(tmp_path: Path, pictures: list[Image]) -> None:
    origin = Origin("f", 1)
    samples = [
        Sample("image_caption", "made", None, (), (Turn("document", ("No picture.",)),), origin),
        Sample("image_caption", "made", None, (pictures[0],), (Turn("document", (0,)),), origin),
        caption("Fine.", pictures[1]),
    ]
    rows, summary = run(tmp_path, "image-caption", samples)
    assert [row["id"] for row in rows] == [samples[2].id]
    assert summary.skipped == {"no picture": 1, "no text": 1}


def test_other_kinds_are_counted(tmp_path: Path, pictures: list[Image]) -> None:
    samples = [caption("A retina.", pictures[0]), conversation("Q", "A"), query("Q", "A")]
    _, summary = run(tmp_path, "image-caption", samples)
    assert summary.other_kinds == {"conversation": 1, "query": 1}
