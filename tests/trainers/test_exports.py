"""What `curate export` writes from the examples, read by the trainers' own loaders: nothing lost, nothing mistaught."""

from __future__ import annotations

import json
import math
import shutil
import unicodedata
from itertools import groupby
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from support.cli import curate
from verl_loader import load_split

from curate.adapters.llamafactory.loader import LoadedExport, load_export
from curate.adapters.tiny_qwen3_vl import END_OF_TEXT
from curate.corpus import Corpus, Sample
from curate.exports import FORMATS

EXAMPLES = Path(__file__).parents[2] / "examples" / "raw"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, measured, judged by the demo judge."""
    directory = tmp_path_factory.mktemp("scored") / "curated"
    ran = curate(
        "score", EXAMPLES, "-o", directory, "--judge", "--judge-url", "demo", "--declare-deidentified", "dicom"
    )
    assert ran.status == 0, ran.err
    return directory


def exported(corpus: Path, directory: Path, format_name: str, *options: str) -> Path:
    ran = curate("export", corpus, "--format", format_name, "-o", directory, *options)
    assert ran.status == 0, ran.err
    return directory


def samples_by_id(corpus: Path) -> dict[str, Sample]:
    opened = Corpus.open(corpus)
    return {sample.id: sample for shard in opened.shards() for sample in opened.samples(shard)}


def written_ids(directory: Path) -> list[str]:
    ids: list[str] = []
    for path in sorted(directory.rglob("*.parquet")):
        ids += pq.read_table(path, columns=["id"])["id"].to_pylist()
    return ids


def composed(text: str) -> str:
    """As Qwen's tokenizer composes it."""
    return unicodedata.normalize("NFC", text)


def document_text(sample: Sample) -> str:
    """The text of a document: segments that no picture separates are paragraphs."""
    (document,) = sample.turns
    runs = groupby(document.parts, key=lambda part: isinstance(part, str))
    return "".join("\n\n".join(map(str, parts)) for is_text, parts in runs if is_text)


def check_losses(loaded: LoadedExport) -> None:
    assert all(row.image_tokens_in_loss == 0 for row in loaded.rows)
    assert all(len(row.input_ids) < loaded.cutoff_len for row in loaded.rows)
    for start in range(0, len(loaded.rows), 4):
        assert math.isfinite(loaded.loss(range(start, min(start + 4, len(loaded.rows)))))


def test_conversations_train_on_every_answer_and_nothing_else(corpus: Path, tiny_model: Path, tmp_path: Path) -> None:
    directory = exported(corpus, tmp_path / "sft", "llamafactory-sft")
    loaded = load_export(directory, tiny_model)
    ids, samples = written_ids(directory), samples_by_id(corpus)
    assert len(loaded.rows) == len(ids) > 0
    for sample_id, row in zip(ids, loaded.rows, strict=True):
        sample = samples[sample_id]
        answers = ["".join(str(part) for part in turn.parts) for turn in sample.turns if turn.role == "assistant"]
        assert row.trained_text == composed("".join(f"{answer}<|im_end|>\n" for answer in answers))
        assert (row.image_tokens > 0) == bool(sample.images)
    check_losses(loaded)


def test_documents_train_on_all_their_text(corpus: Path, tiny_model: Path, tmp_path: Path) -> None:
    directory = exported(corpus, tmp_path / "cpt", "llamafactory-cpt")
    loaded = load_export(directory, tiny_model)
    ids, samples = written_ids(directory), samples_by_id(corpus)
    assert len(loaded.rows) == len(ids) > 0
    assert {samples[sample_id].kind for sample_id in ids} == {"image_caption", "interleaved"}
    for sample_id, row in zip(ids, loaded.rows, strict=True):
        sample = samples[sample_id]
        assert row.trained_text == composed(document_text(sample)) + END_OF_TEXT
        assert "<|im_start|>" not in row.text
        assert row.image_tokens > 0
    check_losses(loaded)


def test_documents_over_the_token_budget_are_cut_and_lose_nothing(tiny_model: Path, tmp_path: Path) -> None:
    pictures = sorted((EXAMPLES / "case-reports").glob("*.jpg"))
    paragraphs = [
        f"Paragraph {n}. " + "The cortex is smooth and the soft tissues are not swollen. " * 12 for n in range(9)
    ]
    slots: list[tuple[str | None, str | None]] = [(text.strip(), None) for text in paragraphs]
    for place, picture in enumerate(pictures):
        slots.insert(3 * place, (None, picture.name))
        (tmp_path / "raw").mkdir(exist_ok=True)
        shutil.copy(picture, tmp_path / "raw")
    document = {"texts": [text for text, _ in slots], "image_info": [name and {"image": name} for _, name in slots]}
    (tmp_path / "raw" / "documents.jsonl").write_text(json.dumps(document))
    assert curate("score", tmp_path / "raw", "-o", tmp_path / "curated").status == 0
    directory = exported(tmp_path / "curated", tmp_path / "cpt", "llamafactory-cpt", "--max-tokens", "1024")
    loaded = load_export(directory, tiny_model, {"cutoff_len": 16384})  # the tiny tokenizer needs far more tokens
    assert len(loaded.rows) == len(written_ids(directory)) > 2
    (sample,) = samples_by_id(tmp_path / "curated").values()
    trained = [row.trained_text for row in loaded.rows]
    assert sum(text.count(END_OF_TEXT) for text in trained) == 1
    in_order = sorted((text.replace(END_OF_TEXT, "") for text in trained), key=document_text(sample).index)
    assert "".join("".join(in_order).split()) == "".join(document_text(sample).split())
    check_losses(loaded)


@pytest.mark.parametrize("images", ["embed", "path"])
def test_queries_reach_verl_with_their_pictures(corpus: Path, tiny_model: Path, tmp_path: Path, images: str) -> None:
    directory = exported(corpus, tmp_path / "verl", "verl", "--images", images)
    samples = samples_by_id(corpus)
    seen: dict[str, set[str]] = {}
    for split in ("train", "val"):
        rows = pq.read_table(directory / f"{split}.parquet").to_pylist()
        loaded = load_split(directory / f"{split}.parquet", tiny_model)
        assert len(loaded.prompts) == len(rows) > 0
        for row, prompt in zip(rows, loaded.prompts, strict=True):
            sample = samples[row["extra_info"]["id"]]
            assert prompt.data_source == sample.source
            assert len(prompt.images) == len(sample.images)
            assert (prompt.image_tokens > 0) == bool(sample.images)
            assert prompt.ground_truth == row["reward_model"]["ground_truth"]
            assert list(prompt.extra_info["answers"]) == list(sample.answer)
            assert prompt.extra_info["query_type"] == sample.query_type
            assert all(composed(text) in prompt.text for text in sample.texts("user"))
        seen[split] = {image.sha256 for row in rows for image in samples[row["extra_info"]["id"]].images}
    assert not seen["train"] & seen["val"]


@pytest.mark.parametrize("format_name", list(FORMATS))
def test_the_datasets_library_loads_every_export_by_its_card(corpus: Path, tmp_path: Path, format_name: str) -> None:
    out = tmp_path / "export"
    # A column of strings and lists is none to Arrow: `image` is a list where a caption has several pictures.
    single = ("--where", "image_count = 1") if format_name == "image-caption" else ()
    assert curate("export", corpus, "--format", format_name, "-o", out, *single).status == 0
    loaded = load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    described = json.loads((out / "export.json").read_text())
    assert {name: split.num_rows for name, split in loaded.items()} == {
        {"train": "train", "val": "validation"}[file["split"]]: file["rows"] for file in described["files"]
    }


def test_repeated_rows_reach_llamafactory_as_often_as_the_mixture_says(
    corpus: Path, tiny_model: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "name: twice\nkinds: [conversation]\nmixture: {unit: samples, max_copies: 2, parts: [{name: all, weight: 1}]}\n"
    )
    out = tmp_path / "export"
    ran = curate("export", corpus, "--policy", policy, "--format", "llamafactory-sft", "-o", out, "--json")
    assert ran.status == 0, ran.err
    assert ran.json()["written"] * 2 == ran.json()["files"][0]["rows"]
    assert ran.json()["written"] == ran.json()["files"][0]["sample_count"]
    loaded = load_export(out, tiny_model)
    assert len(loaded.rows) == ran.json()["files"][0]["rows"]
