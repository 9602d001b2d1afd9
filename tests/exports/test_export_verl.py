"""verl exports: one schema, pictures in the rows, prompts that its data set class can place pictures in."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.measured import Row, caption, make_corpus, query, stored, write_signals
from support.pictures import distinct, histology, retina

from curate.corpus import Image, Origin, Sample, Turn, UserError
from curate.exports import DEFAULT_SYSTEM_PROMPT, ExportOptions, ExportSummary, export
from curate.exports.verl import EMBED_SCHEMA, PATH_SCHEMA
from curate.schemas import VerlRow

LUNGS = (("A", "left lung"), ("B", "right lung"))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Image]:
    """A JPEG and four PNG files, already in the store of the corpus that the tests make."""
    store = tmp_path / "curated"
    return [
        stored(store, retina(160, "JPEG")),
        stored(store, histology(96)),
        *(stored(store, distinct(n)) for n in range(3)),
    ]


def run(tmp_path: Path, samples: list[Sample], **options: Any) -> tuple[Path, ExportSummary]:
    corpus = make_corpus(tmp_path / "curated", samples, per_shard=3)
    write_signals(corpus)
    return tmp_path / "out", export(corpus, "verl", tmp_path / "out", ExportOptions(**{"val_fraction": 0, **options}))


def rows(directory: Path, split: str = "train") -> list[Row]:
    """The rows of a split, each valid as a verl row."""
    found = pq.read_table(directory / f"{split}.parquet").to_pylist()
    for row in found:
        if row["extra_info"]["query_type"] != "multi_choice":  # several letters in one string: see its own test
            VerlRow.model_validate(row)
    return found


def test_a_row_has_every_field_of_the_recipe(tmp_path: Path, pictures: list[Image]) -> None:
    sample = query("Which?", "B", images=pictures[:2], query_type="choice", choices=LUNGS, source="vqa-rad")
    directory, summary = run(tmp_path, [sample])
    assert rows(directory) == [
        {
            "data_source": "vqa-rad",
            "prompt": [
                {"role": "system", "content": DEFAULT_SYSTEM_PROMPT},
                {"role": "user", "content": "<image><image>Which?\nA. left lung\nB. right lung"},
            ],
            "images": [
                {"bytes": retina(160, "JPEG"), "path": None, "max_pixels": 589_824},
                {"bytes": histology(96), "path": None, "max_pixels": 589_824},
            ],
            "ability": "medical_vqa",
            "reward_model": {"style": "rule", "ground_truth": "B"},
            "extra_info": {
                "split": "train",
                "index": 0,
                "id": sample.id,
                "query_type": "choice",
                "answers": ["B"],
                "choices": [{"label": "A", "text": "left lung"}, {"label": "B", "text": "right lung"}],
                "unit": None,
                "absolute_tolerance": None,
                "relative_tolerance": None,
            },
        }
    ]
    assert (summary.status, summary.images) == (0, 0)
    assert sorted(path.name for path in directory.iterdir()) == ["README.md", "export.json", "train.parquet"]


def test_every_file_has_the_one_schema_whatever_is_in_it(tmp_path: Path, pictures: list[Image]) -> None:
    for sample in (query("Text only?", "yes", query_type="yes_no"), query("Look?", "x", images=[pictures[0]])):
        directory, _ = run(tmp_path, [sample])
        assert pq.read_schema(directory / "train.parquet").remove_metadata() == EMBED_SCHEMA


def test_text_only_rows_have_an_empty_list_of_pictures(tmp_path: Path) -> None:
    directory, _ = run(tmp_path, [query("What is edema?", "swelling")])
    (row,) = rows(directory)
    assert (row["images"], row["ability"]) == ([], "medical_qa")


def test_several_references(tmp_path: Path) -> None:
    samples = [
        query("Name it.", "tibia", "distal tibia", query_type="jaccard"),
        query("All?", "A", "C", query_type="multi_choice", choices=(("A", "x1"), ("B", "y1"), ("C", "z1"))),
        query("How many?", "3.5", query_type="numeric"),
    ]
    directory, _ = run(tmp_path, samples)
    found = rows(directory)
    assert [row["reward_model"]["ground_truth"] for row in found] == ["tibia", "A, C", "3.5"]
    assert [row["extra_info"]["answers"] for row in found] == [["tibia", "distal tibia"], ["A", "C"], ["3.5"]]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Which?", "Which?\nA. left lung\nB. right lung"),
        ("Which?\nA) Left lung\nB) Right lung", "Which?\nA) Left lung\nB) Right lung"),
        # One option in the question is no list of options.
        (
            "Is the left lung affected, or what is?",
            "Is the left lung affected, or what is?\nA. left lung\nB. right lung",
        ),
    ],
)
def test_options_are_added_unless_the_question_lists_them(tmp_path: Path, text: str, asked: str) -> None:
    directory, _ = run(tmp_path, [query(text, "B", query_type="choice", choices=LUNGS)])
    assert rows(directory)[0]["prompt"][-1]["content"] == asked


NUMBERS = tuple((label, str(number)) for number, label in enumerate("ABCD", start=1))


@pytest.mark.parametrize(
    "text",
    [
        "The patient is 1234 days old. How many kidneys?",
        "Which of 1, 2, 3 and 4?",
        "How many?\nA. 1\nB. 2\nC. 3",
        "How many?\nA. 1\nB. 2\nC. 3\nD. 40",
        "How many?\nA. 1\nB. 2\nC. 3\nE. 4",
        "How many?\nA. 1\nB. 2\nC. 3\nVitamin-AD. 4",
        "How many?\nA 1\nB 2\nC 3\nD 4",
    ],
)
def test_the_words_of_the_options_are_no_list_of_them(tmp_path: Path, text: str) -> None:
    directory, _ = run(tmp_path, [query(text, "B", query_type="choice", choices=NUMBERS)])
    assert rows(directory)[0]["prompt"][-1]["content"] == f"{text}\nA. 1\nB. 2\nC. 3\nD. 4"


@pytest.mark.parametrize(
    "text",
    [
        "How many? A. 1 B. 2 C. 3 D. 4",
        "How many? A) 1, B) 2, C) 3, D) 4.",
        "How many?\nA: 1\nB: 2\nC: 3\nD: 4",
        "How many? (A) 1; (B) 2; (C) 3; (D) 4",
        "How many? Options:\n(a)1\n(b)2\n(c)3\n(d)4",
    ],
)
def test_a_list_of_options_is_known_by_its_labels(tmp_path: Path, text: str) -> None:
    directory, _ = run(tmp_path, [query(text, "B", query_type="choice", choices=NUMBERS)])
    assert rows(directory)[0]["prompt"][-1]["content"] == text


def test_system_messages(tmp_path: Path) -> None:
    samples = [query("One?", "a"), query("Two?", "b", system="Be brief.")]
    for options, expected in (
        ({}, [DEFAULT_SYSTEM_PROMPT, "Be brief."]),
        ({"system_prompt": "Think."}, ["Think.", "Be brief."]),
        ({"system_prompt": ""}, [None, "Be brief."]),
    ):
        directory, summary = run(tmp_path, samples, **options)
        first = [row["prompt"][0] for row in rows(directory)]
        assert [turn["content"] if turn["role"] == "system" else None for turn in first] == expected
        assert [row["prompt"][-1]["content"] for row in rows(directory)] == ["One?", "Two?"]
        assert ("1 sample(s) have a system message of their own" in " ".join(summary.notes)) == (
            options != {"system_prompt": ""}
        )
    with pytest.raises(UserError, match="must not contain <image>"):
        run(tmp_path, samples, system_prompt="Look at <image>.")


def test_earlier_turns_stay_in_the_prompt(tmp_path: Path, pictures: list[Image]) -> None:
    turns = (
        Turn("user", (0, "What is this?")),
        Turn("assistant", ("A retina.",)),
        Turn("user", ("And ", 1, "?")),
    )
    images = (pictures[0], pictures[1])
    sample = Sample("query", "made", None, images, turns, Origin("f", 1), answer=("tissue",), query_type="exact")
    directory, _ = run(tmp_path, [sample])
    (row,) = rows(directory)
    assert [(m["role"], m["content"]) for m in row["prompt"][1:]] == [
        ("user", "<image>What is this?"),
        ("assistant", "A retina."),
        ("user", "And <image>?"),
    ]
    assert [image["bytes"] for image in row["images"]] == [retina(160, "JPEG"), histology(96)]


def test_markers_in_questions_and_options_are_defused(tmp_path: Path, pictures: list[Image]) -> None:
    samples = [
        query("What does <image> do in HTML?", "nothing", images=[pictures[0]]),
        query("Which?", "B", query_type="choice", choices=(("A", "<video>"), ("B", "<|image_pad|>"))),
        query("Plain?", "yes"),
    ]
    directory, summary = run(tmp_path, samples)
    asked = [row["prompt"][-1]["content"] for row in rows(directory)]
    assert asked[0] == "<image>What does < image> do in HTML?"
    assert asked[1] == "Which?\nA. < video>\nB. < |image_pad|>"
    assert summary.defused == 2


def test_paths_instead_of_bytes(tmp_path: Path, pictures: list[Image]) -> None:
    directory, summary = run(tmp_path, [query("Q?", "a", images=[pictures[0]]), query("T?", "b")], images="path")
    assert pq.read_schema(directory / "train.parquet").remove_metadata() == PATH_SCHEMA
    found = rows(directory)
    (image,) = found[0]["images"]
    path = image["image"]
    assert image["max_pixels"] == 589_824
    assert Path(path).is_absolute()
    assert Path(path).parent.parent == directory.resolve() / "images"
    assert Path(path).read_bytes() == retina(160, "JPEG")
    assert found[1]["images"] == []
    assert summary.images == 1


def test_a_number_keeps_its_unit_and_tolerance(tmp_path: Path) -> None:
    sample = query("How wide?", "3.3", query_type="numeric", meta={"unit": "cm", "absolute_tolerance": 0.2})
    directory, _ = run(tmp_path, [sample])
    extra = rows(directory)[0]["extra_info"]
    assert (extra["unit"], extra["absolute_tolerance"], extra["relative_tolerance"]) == ("cm", 0.2, None)


def test_a_query_that_no_response_could_answer_is_skipped_and_told(tmp_path: Path) -> None:
    samples = [query("How wide?", "wide", query_type="numeric"), query("How many?", "3", query_type="numeric")]
    directory, summary = run(tmp_path, samples)
    assert len(rows(directory)) == 1
    assert summary.status == 1
    assert summary.skipped == {"no response could match its answer": 1}


def test_unknown_query_types_stop_the_export_before_it_begins(tmp_path: Path) -> None:
    samples = [
        query("One?", "a", row=11),
        query("Two?", "b", query_type="bleu", row=12),
        query("Three?", "c", query_type="bleu", row=13),
    ]
    with pytest.raises(UserError, match=r"query_type 'bleu' in 2 sample\(s\), first made.jsonl:12; known are choice"):
        run(tmp_path, samples)
    assert not (tmp_path / "out").exists()
    directory, _ = run(tmp_path, samples, where="query_type <> 'bleu'")
    assert len(rows(directory)) == 1


def test_no_picture_is_on_both_sides(tmp_path: Path, pictures: list[Image]) -> None:
    samples = [query(f"Q{n}?", "a", images=[pictures[n % 5]], row=n) for n in range(40)]
    samples += [query(f"T{n}?", "a", row=100 + n) for n in range(40)]
    directory, summary = run(tmp_path, samples, val_fraction=None)
    sides = {split: rows(directory, split) for split in ("train", "val")}
    shown = {
        split: {hashlib.sha256(image["bytes"]).hexdigest() for row in found for image in row["images"]}
        for split, found in sides.items()
    }
    assert not shown["train"] & shown["val"]
    assert len(shown["train"] | shown["val"]) == 5
    assert {row["extra_info"]["id"] for found in sides.values() for row in found} == {sample.id for sample in samples}
    for split, found in sides.items():
        assert [row["extra_info"]["index"] for row in found] == list(range(len(found)))
        assert {row["extra_info"]["split"] for row in found} == {split}
        order = [sample.id for sample in samples]
        places = [order.index(row["extra_info"]["id"]) for row in found]
        assert places == sorted(places)
    assert {file.path: file.rows for file in summary.files} == {f"{s}.parquet": len(f) for s, f in sides.items()}


def test_one_picture_cannot_be_split(tmp_path: Path, pictures: list[Image]) -> None:
    samples = [query(f"Q{n}?", "a", images=[pictures[0]], row=n) for n in range(5)]
    directory, summary = run(tmp_path, samples, val_fraction=0.5)
    assert len(rows(directory)) == 5
    assert not (directory / "val.parquet").exists()
    assert any("no validation file" in note for note in summary.notes)


def test_the_same_answer_is_judged_by_the_options_of_its_own_question(tmp_path: Path) -> None:
    asked = [
        query(f"{n}?", "C", query_type="choice", choices=choices, row=n)
        for n, choices in enumerate([LUNGS, (*LUNGS, ("C", "heart")), LUNGS, (*LUNGS, ("C", "heart"))])
    ]
    directory, summary = run(tmp_path, asked)
    assert [row["extra_info"]["id"] for row in rows(directory)] == [asked[1].id, asked[3].id]
    assert summary.skipped == {"no response could match its answer": 2}


def test_row_groups_are_bounded_by_the_bytes_of_their_pictures(
    tmp_path: Path, pictures: list[Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = pictures[0].size
    monkeypatch.setattr("curate.exports.job.batches_by_picture_size.__defaults__", (2 * size,))
    samples = [query(f"Q{n}?", "a", images=[pictures[0]] * (1 + 4 * (n == 2)), row=n) for n in range(6)]
    directory, _ = run(tmp_path, samples)
    with pq.ParquetFile(directory / "train.parquet") as file:
        groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
    assert groups == [2, 1, 2, 1]  # shards of three; the third row alone is above the bound
    assert [row["extra_info"]["index"] for row in rows(directory)] == list(range(6))


def test_pictures_are_neither_compressed_nor_put_in_a_dictionary(tmp_path: Path, pictures: list[Image]) -> None:
    directory, _ = run(tmp_path, [query("Q?", "a", images=[pictures[0]])])
    with pq.ParquetFile(directory / "train.parquet") as file:
        group = file.metadata.row_group(0)
        columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    pixels = columns["images.list.element.bytes"]
    assert (pixels.compression, pixels.has_dictionary_page, pixels.statistics) == ("UNCOMPRESSED", False, None)
    assert columns["prompt.list.element.content"].compression == "ZSTD"


def test_queries_that_verl_would_lose_are_skipped(tmp_path: Path, pictures: list[Image]) -> None:
    def sample(*turns: Turn, images: tuple[Image, ...] = (), answer: tuple[str, ...] = ("a",)) -> Sample:
        return Sample("query", "made", None, images, turns, Origin("f", 1), answer=answer, query_type="exact")

    samples = [
        sample(Turn("user", ("Q",)), Turn("assistant", ("A",))),
        sample(Turn("user", (" ",))),
        sample(Turn("user", ("Q",)), answer=()),
        sample(Turn("system", (0, "Look.")), Turn("user", ("Q",)), images=(pictures[0],)),
        query("Good?", "yes"),
    ]
    directory, summary = run(tmp_path, samples)
    assert [row["extra_info"]["id"] for row in rows(directory)] == [samples[-1].id]
    assert summary.skipped == {
        "turns out of order": 1,
        "no question": 1,
        "no answer": 1,
        "picture in the system message, which trainers leave out": 1,
    }


def test_other_kinds_are_counted(tmp_path: Path, pictures: list[Image]) -> None:
    _, summary = run(tmp_path, [query("Q?", "a"), caption("A retina.", pictures[0])])
    assert summary.other_kinds == {"image_caption": 1}
    assert (summary.total, summary.kept, summary.files[0].rows) == (2, 2, 1)
