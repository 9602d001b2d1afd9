"""What an export makes of a selection: repeated samples, the policy's split, and pictures of benchmarks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from support.cli import curate
from support.corpora import caption, make_corpus, picture, store
from support.measured import conversation, query, write_signals

from curate.corpus import Corpus
from curate.select.contamination_hits import HITS, write_hits

MIXTURE = """
name: mixed
mixture:
  unit: samples
  max_copies: 3
  parts:
    - {name: few, sources: [few], weight: 1}
    - {name: many, sources: [many], weight: 2}
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Conversations and queries, four of a small source and twenty of a large one."""
    samples = []
    for source, count in (("few", 4), ("many", 20)):
        for number in range(count):
            samples.append(conversation(f"{source} {number}?", "Yes.", source=source, row=number + 1))
            image = store(tmp_path / "raw", f"{source}{number}.png", picture(number + 100 * len(source)))
            samples.append(
                query(f"{source} {number}?", "yes", query_type="yes_no", source=source, images=[image], row=number + 1)
            )
    made = make_corpus(tmp_path / "curated", samples, per_shard=10, root=tmp_path / "raw")
    write_signals(made)
    return made


def write_policy(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text)
    return path


def sources(folder: Path, name: str) -> Counter[str]:
    if name.endswith(".parquet"):
        return Counter(pl.read_parquet(folder / name)["data_source"].to_list())
    rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
    return Counter(row["source"] for row in rows)


@pytest.mark.parametrize(
    ("format_name", "kind", "file"), [("jsonl", "conversation", "train.jsonl"), ("verl", "query", "train.parquet")]
)
def test_samples_are_written_as_often_as_the_mixture_says(
    tmp_path: Path, corpus: Corpus, format_name: str, kind: str, file: str
) -> None:
    policy = write_policy(tmp_path, f"{MIXTURE}kinds: [{kind}]\n")
    options = ("--format", format_name, "--val-fraction", "0", "-o", tmp_path / "out", "--json")
    ran = curate("export", corpus.path, "--policy", policy, *options)
    assert ran.status == 0, ran.err
    summary = ran.json()
    found = sources(tmp_path / "out", file)
    assert found == {"few": 12, "many": 24}
    assert sum(entry["rows"] for entry in summary["files"]) == 36
    assert summary["kept"] == summary["written"] == 24
    assert "12 row(s) repeat a sample, as the selection's mixture asks" in summary["notes"]
    assert curate("validate", tmp_path / "out").status == 0


def test_validation_has_every_sample_once(tmp_path: Path, corpus: Corpus) -> None:
    policy = write_policy(tmp_path, f"{MIXTURE}kinds: [query]\nsplit: {{val_fraction: 0.4}}\n")
    ran = curate("export", corpus.path, "--policy", policy, "--format", "verl", "-o", tmp_path / "out", "--json")
    assert ran.status == 0, ran.err
    val = pl.read_parquet(tmp_path / "out" / "val.parquet")
    train = pl.read_parquet(tmp_path / "out" / "train.parquet")
    ids = [row["id"] for row in val["extra_info"].to_list()]
    assert len(ids) == len(set(ids)) >= 5, "the policy's share is taken where none was asked for"
    assert not set(ids) & {row["id"] for row in train["extra_info"].to_list()}
    assert max(Counter(row["id"] for row in train["extra_info"].to_list()).values()) > 1
    asked = curate(
        "export", corpus.path, "--selection", "mixed", "--format", "verl", "--val-fraction", "0", "-o", tmp_path / "two"
    )
    assert asked.status == 0
    assert not (tmp_path / "two" / "val.parquet").exists()


def test_columns_that_a_policy_names_keep_rows_on_one_side(tmp_path: Path) -> None:
    samples = [query(f"{n}?", "yes", query_type="yes_no", meta={"ward": f"w{n % 6}"}) for n in range(60)]
    made = make_corpus(tmp_path / "curated", samples)
    write_signals(made)
    policy = write_policy(tmp_path, "name: wards\nsplit: {val_fraction: 0.3, together: [meta.ward]}\n")
    ran = curate("export", made.path, "--policy", policy, "--format", "jsonl", "-o", tmp_path / "out")
    assert ran.status == 0, ran.err
    wards = {
        side: {json.loads(line)["meta"]["ward"] for line in (tmp_path / "out" / f"{side}.jsonl").open()}
        for side in ("train", "val")
    }
    assert not wards["train"] & wards["val"]
    assert wards["train"] | wards["val"] == {f"w{n}" for n in range(6)}


def test_a_benchmarks_picture_stops_every_export(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    samples = [caption(f"Radiograph {n}.", store(root, f"{n}.png", picture(n)), row=n + 1) for n in range(3)]
    corpus = make_corpus(tmp_path / "curated", samples, root=root)
    write_signals(corpus)
    leaked = samples[1]
    row = dict.fromkeys(HITS) | {
        "id": leaked.id,
        "origin": "captions.jsonl:2",
        "benchmark": "vqa-rad",
        "benchmark_row": "test.parquet:7",
        "kind": "image",
        "how": "same_pixels",
        "picture_sha256": leaked.images[0].sha256,
    }
    write_hits(corpus, pl.DataFrame([row], schema=HITS), ["vqa-rad"], "made by a test")
    ran = curate("export", corpus.path, "--format", "image-caption", "-o", tmp_path / "out")
    assert ran.status == 2
    assert "1 sample(s) of this export show a picture of a benchmark; the first, captions.jsonl:2" in ran.err
    assert "vqa-rad test.parquet:7" in ran.err
    assert not (tmp_path / "out").exists()
    without = ("--where", f"id <> '{leaked.id}'")
    assert curate("export", corpus.path, "--format", "image-caption", "-o", tmp_path / "out", *without).status == 0
    write_hits(corpus, pl.DataFrame([row | {"how": "unconfirmed"}], schema=HITS), ["vqa-rad"], "made by a test")
    assert curate("export", corpus.path, "--format", "image-caption", "-o", tmp_path / "out").status == 0
