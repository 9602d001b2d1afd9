"""What an export makes of a selection: repeated samples, the policy's split, and pictures of benchmarks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from support.benchmark_files import slake
from support.cli import curate
from support.contamination import scene
from support.corpora import caption, make_corpus, picture, store
from support.measured import conversation, query, write_signals

from curate.corpus import Corpus
from curate.select.contamination_hits import HITS, write_hits
from curate.signals.run import measure_corpus

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
        "benchmark_key": "one",
        "benchmark_row": "test.parquet:7",
        "kind": "image",
        "how": "same_pixels",
        "picture_sha256": leaked.images[0].sha256,
    }
    write_hits(corpus, pl.DataFrame([row], schema=HITS), ["one"])
    ran = curate("export", corpus.path, "--format", "image-caption", "-o", tmp_path / "out")
    assert ran.status == 2
    assert "1 sample(s) of this export show a picture of a benchmark; the first, captions.jsonl:2" in ran.err
    assert "vqa-rad test.parquet:7" in ran.err
    assert not (tmp_path / "out").exists()
    without = ("--where", f"id <> '{leaked.id}'")
    assert curate("export", corpus.path, "--format", "image-caption", "-o", tmp_path / "out", *without).status == 0
    write_hits(corpus, pl.DataFrame([row | {"how": "unconfirmed"}], schema=HITS), ["one"])
    assert curate("export", corpus.path, "--format", "image-caption", "-o", tmp_path / "out").status == 0


def test_a_picture_stays_a_test_picture_whatever_is_looked_at_later(tmp_path: Path) -> None:
    """Another benchmark, none at all, a selection that fails, and new samples: none of them forgets what was found."""
    root = tmp_path / "raw"
    samples = [caption(f"Radiograph {n}.", store(root, f"{n}.png", scene(n)), row=n + 1) for n in range(4)]
    corpus = make_corpus(tmp_path / "curated", samples, root=root)
    measure_corpus(corpus, workers=1)
    slake(tmp_path / "one", [("Which organ?", scene(1))])
    slake(tmp_path / "two", [("Which organ?", scene(77))])

    def select(benchmarks: str, more: str = "") -> int:
        policy = write_policy(tmp_path, f"name: p\ncontamination: {{benchmarks: [{benchmarks}]}}\n{more}")
        return curate("select", corpus.path, "--policy", policy).status

    def export() -> int:
        return curate("export", corpus.path, "--format", "image-caption", "-o", tmp_path / "out").status

    assert select("{name: slake, path: one}", "mixture: {budget: 99999999, by: source}") == 2
    assert export() == 0, "a selection that came to nothing has written nothing"
    assert select("{name: slake, path: one}") == 0
    assert export() == 2
    assert select("{name: slake, path: two}") == 0
    assert select("") == 0
    assert export() == 2
    corpus = make_corpus(corpus.path, [*samples, caption("New.", row=9)], root=root)
    measure_corpus(corpus, workers=1)
    assert export() == 2


@pytest.mark.parametrize("values", [(17, 17.0), ("17", [17]), (" P1", "P1"), (["P1"], "P1")])
def test_one_patient_written_in_two_ways_is_one(tmp_path: Path, values: tuple[object, object]) -> None:
    patients = [*values, *(f"other {n}" for n in range(28))]
    samples = [query(f"{n}?", "yes", query_type="yes_no", meta={"subject_id": who}) for n, who in enumerate(patients)]
    made = make_corpus(tmp_path / "curated", samples)
    write_signals(made)
    for seed in range(6):
        out = tmp_path / str(seed)
        ran = curate("export", made.path, "--format", "jsonl", "--val-fraction", "0.4", "--seed", str(seed), "-o", out)
        assert ran.status == 0, ran.err
        val = [json.loads(line)["turns"][0]["parts"][0]["text"] for line in (out / "val.jsonl").open()]
        assert ("0?" in val) == ("1?" in val)


def test_the_policys_seed_seeds_the_split_unless_another_is_given(tmp_path: Path) -> None:
    samples = [query(f"{n}?", "yes", query_type="yes_no") for n in range(60)]
    made = make_corpus(tmp_path / "curated", samples)
    write_signals(made)
    found = {}
    for name, seed, options in (("a", 0, ()), ("b", 7, ()), ("c", 0, ("--seed", "7"))):
        policy = write_policy(tmp_path, f"name: {name}\nseed: {seed}\nsplit: {{val_fraction: 0.3}}\n")
        out = tmp_path / name
        ran = curate("export", made.path, "--policy", policy, "--format", "jsonl", "-o", out, "--json", *options)
        assert "no patient or study is known" in " ".join(ran.json()["notes"])
        found[name] = (out / "val.jsonl").read_text()
    assert found["a"] != found["b"] == found["c"]


def test_an_export_that_comes_to_nothing_leaves_its_selection(tmp_path: Path, corpus: Corpus) -> None:
    out = ("--format", "jsonl", "-o", tmp_path / "out")
    assert curate("export", corpus.path, *out).status == 0
    before = {path.name: path.read_bytes() for path in (corpus.path / "decisions").iterdir()}
    assert curate("export", corpus.path, *out, "--where", "kind = 'interleaved'").status == 2
    assert {path.name: path.read_bytes() for path in (corpus.path / "decisions").iterdir()} == before


def test_replacing_an_export_of_something_else_is_told(tmp_path: Path, corpus: Corpus) -> None:
    assert curate("export", corpus.path, "--format", "verl", "-o", tmp_path / "out").status == 0
    other = curate("export", corpus.path, "--format", "jsonl", "-o", tmp_path / "out")
    assert "held an export in the format verl, which this one replaced" in " ".join(other.err.split())
