"""``curate export`` as a command: what it prints, its exit status, its defaults."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.cli import curate
from support.measured import (
    NO_SCORE,
    caption,
    conversation,
    make_corpus,
    query,
    stored,
    write_signals,
    write_verdicts,
)
from support.pictures import distinct, retina

from curate.corpus import Corpus, stored_image_path
from curate.exports import FORMATS


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """A judged corpus at ./curated: four queries, of which one is blank and one unjudged, a caption, a conversation."""
    images = [stored(tmp_path / "curated", distinct(number)) for number in range(5)]
    samples = [query(f"Q{n}?", "a", images=[images[n]], row=n + 1) for n in range(4)]
    samples += [caption("A retina.", images[4], row=5), conversation("What does <image> do?", "Nothing.", row=6)]
    made = make_corpus(tmp_path / "curated", samples)
    write_signals(made, {samples[0].id: {"image_entropy": 0.2}})
    write_verdicts(made, {samples[1].id: NO_SCORE | {"judge_status": "refused"}})
    return made


def test_defaults_and_what_is_printed(corpus: Corpus, tmp_path: Path) -> None:
    ran = curate("export", "--format", "verl", cwd=tmp_path)
    assert (ran.status, ran.out) == (0, "")
    assert "6 samples = 5 selected + 1 dropped" in ran.err
    for line in ("near_blank 1", "image_caption 1", "conversation 1"):
        assert line in " ".join(ran.err.split())
    assert "Selected without a score: 1 (refused 1); --require-verdict drops them" in ran.err
    rows = {split: pq.read_metadata(tmp_path / f"exports/verl/{split}.parquet").num_rows for split in ("train", "val")}
    assert sum(rows.values()) == 3
    for split, count in rows.items():
        assert f"exports/verl/{split}.parquet {split} {count}" in " ".join(ran.err.split())


def test_json_on_stdout(corpus: Corpus, tmp_path: Path) -> None:
    ran = curate("export", "curated", "--format", "llamafactory-sft", "-o", "out", "--json", cwd=tmp_path)
    summary = ran.json()
    assert (ran.status, summary["format"], summary["kept"], summary["defused"]) == (0, "llamafactory-sft", 5, 1)
    assert summary["dropped"] == {"near_blank": 1}
    assert [(file["path"], file["rows"]) for file in summary["files"]] == [("train.parquet", 1)]
    assert "1 text(s) contained a literal <image>" in ran.err


def test_a_lost_picture_gives_status_1_and_its_place(corpus: Corpus, tmp_path: Path) -> None:
    image = next(corpus.samples(corpus.shards()[0])).images[0]
    stored_image_path(corpus.path, image.sha256, "png").write_bytes(retina(32))
    write_signals(corpus)
    ran = curate("export", "--format", "verl", "--images", "path", cwd=tmp_path)
    assert ran.status == 1
    assert "picture missing or changed 1" in " ".join(ran.err.split())
    assert "made.jsonl:1: " in ran.err
    assert "exports/verl/skipped.jsonl" in ran.err


def test_choosing(corpus: Corpus, tmp_path: Path) -> None:
    required = curate("export", "--format", "verl", "--require-verdict", "--val-fraction", "0", "--json", cwd=tmp_path)
    assert required.json()["dropped"] == {"near_blank": 1, "no_verdict": 1}
    none = curate("export", "--format", "verl", "--min-score", "5", "--where", "row = 1", cwd=tmp_path)
    assert (none.status, none.err.strip()[:40]) == (2, "Error: there is no column 'row' to selec")
    quiet = curate("export", "--format", "verl", "--system-prompt", "none", "--val-fraction", "0", cwd=tmp_path)
    assert quiet.status == 0
    roles = [
        [turn["role"] for turn in row["prompt"]]
        for row in pq.read_table(tmp_path / "exports/verl/train.parquet").to_pylist()
    ]
    assert roles == [["user"]] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing option '--format'"),
        (["--format", "alpaca"], "is not one of"),
        (["--format", "verl", "--images", "base64"], "--images base64 is not possible with verl"),
        (["--format", "verl", "--min-score", "6"], "0<=x<=5"),
        (["--format", "jsonl", "--max-tokens", "4096"], "does not cut its rows"),
        (["--format", "verl", "--where", "judge_scor > 1"], "did you mean judge_score"),
        (["elsewhere", "--format", "verl"], "elsewhere is no corpus"),
        (["--format", "interleaved", "--where", "kind = 'nothing'"], "there is nothing to export: of 6"),
    ],
)
def test_mistakes_are_sentences_with_status_2(
    corpus: Corpus, tmp_path: Path, arguments: list[str], message: str
) -> None:
    ran = curate("export", *arguments, cwd=tmp_path)
    assert (ran.status, ran.out) == (2, "")
    assert message in ran.err
    assert not (tmp_path / "exports").exists() or not list((tmp_path / "exports").iterdir())


def test_the_command_knows_every_format() -> None:
    from curate.cli.export import _FORMATS

    assert set(_FORMATS) == set(FORMATS)
