"""``curate explain`` on corpora made by hand: every table it may find, damaged ones, and hostile text."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from inside import curate
from support.cli import COMMAND
from support.measured import caption, conversation, make_corpus, stored, write_signals, write_verdicts
from support.pictures import distinct

from curate.corpus import Corpus, Sample

HOSTILE = "Chest film.\x1b[31m\x1b]0;owned\x07 \u202egnp.tset\u009b2J <script>alert(1)</script>"


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Five captions at ./curated: the third is a duplicate of the first, the fourth has hostile text."""
    images = [stored(tmp_path / "curated", distinct(number)) for number in range(5)]
    texts = ["A chest film.", "A knee.", "A chest film, again.", HOSTILE, "A hand."]
    samples = [caption(text, image, row=n) for n, (text, image) in enumerate(zip(texts, images, strict=True), 1)]
    made = make_corpus(tmp_path / "curated", samples, per_shard=2)
    write_signals(made)
    write_verdicts(made)
    return made


def samples_of(corpus: Corpus) -> list[Sample]:
    return [sample for shard in corpus.shards() for sample in corpus.samples(shard)]


def decide(corpus: Corpus, name: str, rows: list[dict[str, Any]]) -> Path:
    path = corpus.path / "decisions" / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    return path


def story(corpus: Corpus, what: str, *options: str | Path) -> dict[str, Any]:
    ran = curate("explain", what, "--json", "--corpus", corpus.path, *options)
    assert ran.status == 0, ran.err
    return dict(ran.json()["sample"])


def test_duplicates_are_told_from_both_ends(corpus: Corpus) -> None:
    first, _, third, *_ = samples_of(corpus)
    rows = [
        {"id": sample.id, "kept": sample.id != third.id, "rule": None, "reason": None, "related": None, "copies": 2}
        for sample in samples_of(corpus)
    ]
    rows[2] |= {"rule": "duplicate_pair", "reason": "the same as another", "related": first.id, "copies": 0}
    decide(corpus, "dedup", rows)
    kept, dropped = story(corpus, first.id), story(corpus, third.id)
    stands_for = kept["duplicates"]["stands_for"]
    assert [(entry["id"], entry["rule"], entry["place"]) for entry in stands_for] == [
        (third.id, "duplicate_pair", "made.jsonl:3")
    ]
    assert stands_for[0]["pictures"] == [str(corpus.image_path(third.images[0]))]
    assert [entry["id"] for entry in dropped["duplicates"]["kept_instead"]] == [first.id]
    assert kept["decisions"][0]["copies"] == 2
    text = curate("explain", first.id, "--corpus", corpus.path).out
    assert "dedup: kept, 2 times" in text
    assert f"it is kept in place of: {third.id[:12]}… (made.jsonl:3)" in text


def test_decisions_of_an_earlier_version_have_no_copies(corpus: Corpus) -> None:
    first, second, *rest = samples_of(corpus)
    decide(corpus, "old", [{"id": first.id, "kept": True}, {"id": second.id, "kept": False, "rule": "too_small"}])
    assert story(corpus, first.id)["decisions"][0]["copies"] == 1
    assert (decided := story(corpus, second.id)["decisions"][0])["rule"] == "too_small"
    assert (decided["copies"], decided["related"]) == (0, None)
    assert story(corpus, rest[0].id)["decisions"][0]["kept"] is None
    assert (
        "made from other samples than the corpus has now" in curate("explain", rest[0].id, cwd=corpus.path.parent).out
    )


def test_contamination_and_rollouts_are_shown_whatever_their_columns(corpus: Corpus) -> None:
    first, second, *_ = samples_of(corpus)
    (corpus.path / "contamination").mkdir()
    hit = {"id": first.id, "benchmark": "vqa-rad", "benchmark_row": "test.parquet:7", "kind": "image", "later": [1, 2]}
    more = {
        "how": "near",
        "distance": 3,
        "similarity": 0.97,
        "picture_sha256": "ab" * 32,
        "sample_text": "A chest film.",
    }
    pl.DataFrame([hit | more]).write_parquet(corpus.path / "contamination" / "hits.parquet")
    gone = {"id": first.id, "kept": False, "rule": "contaminated_image", "related": "vqa-rad:test.parquet:7"}
    decide(corpus, "clean", [gone])
    decide(corpus, "other", [gone | {"related": "slake:train.json:1"}])
    decide(corpus, "small", [gone | {"rule": "too_small", "related": None}])
    decide(corpus, "whole", [gone | {"kept": True, "rule": None, "related": None}])
    folder = corpus.path / "rollouts" / "base"
    folder.mkdir(parents=True)
    pl.DataFrame([{"id": second.id, "rollout_k": 8, "rollout_correct": 3}]).write_parquet(folder / "part-00000.parquet")
    told = {"dropped_in": ["clean"], "kept_in": ["whole"]}
    assert story(corpus, first.id)["contamination"] == [{k: v for k, v in (hit | more | told).items() if k != "id"}]
    assert story(corpus, second.id)["rollouts"] == {"base": {"rollout_k": 8, "rollout_correct": 3}}
    text = curate("explain", first.id, "--corpus", corpus.path).out
    shown = "it shows the picture of vqa-rad test.parquet:7 (nearly the same, 3 of 64 bits apart, correlation 0.97)"
    assert shown in text
    assert "dropped for this benchmark in: clean" in text
    assert "kept all the same in: whole" in text
    assert "abab" not in text
    assert "base: k 8, correct 3" in curate("explain", second.id, "--corpus", corpus.path).out


@pytest.mark.parametrize("table", ["signals/part-00000", "verdicts/part-00000", "decisions/d", "contamination/hits"])
def test_a_damaged_table_takes_nothing_else_away(corpus: Corpus, table: str) -> None:
    first = samples_of(corpus)[0]
    decide(corpus, "d", [{"id": first.id, "kept": True}])
    path = corpus.path / f"{table}.parquet"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"PAR1 this is no Parquet file")
    found = story(corpus, first.id)
    assert any(str(path) in problem for problem in found["problems"])
    assert found["turns"] == [{"role": "document", "text": "[picture 1] A chest film."}]
    text = curate("explain", first.id, "--corpus", corpus.path).out
    assert "What could not be told" in text


def test_a_damaged_samples_shard_is_a_sentence(corpus: Corpus) -> None:
    first = samples_of(corpus)[0]
    corpus.shards()[-1].write_bytes(b"nothing")
    ran = curate("explain", first.id, "--corpus", corpus.path)
    assert (ran.status, ran.out) == (2, "")
    assert "cannot be read" in ran.err


def test_pictures_that_changed_or_vanished_are_said_to_have(corpus: Corpus) -> None:
    first, second, *_ = samples_of(corpus)
    corpus.image_path(first.images[0]).unlink()
    corpus.image_path(second.images[0]).write_bytes(b"other")
    assert story(corpus, first.id)["pictures"][0]["state"] == "missing"
    assert story(corpus, second.id)["pictures"][0]["state"] == "changed since it was ingested"
    assert "the file is missing" in curate("explain", first.id, "--corpus", corpus.path).out


def test_hostile_text_does_nothing_to_the_terminal(corpus: Corpus) -> None:
    hostile = samples_of(corpus)[3]
    ran = curate("explain", hostile.id, "--corpus", corpus.path)
    assert not any((ord(char) < 32 and char != "\n") or char in "\x9b\u202e" for char in ran.out)
    assert "<script>alert(1)</script>" in ran.out
    as_json = curate("explain", hostile.id, "--corpus", corpus.path, "--json")
    assert not any(char in "\x1b\x9b\u202e" for char in as_json.out)
    assert as_json.json()["sample"]["turns"][0]["text"] == f"[picture 1] {HOSTILE}"


def test_a_narrow_terminal_wraps_between_words_and_keeps_paths_whole(corpus: Corpus) -> None:
    first = samples_of(corpus)[0]
    shown = on_terminal(["explain", first.id, "--corpus", str(corpus.path)], columns=24)
    words = shown.split()
    wide = curate("explain", first.id, "--corpus", corpus.path).out.split()
    assert words == wide
    assert str(corpus.image_path(first.images[0])) in words
    assert any(len(line) <= 24 for line in shown.splitlines() if "rationale" in line)


def on_terminal(arguments: list[str], columns: int) -> str:
    """What the command shows on a terminal of this width."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "LINES": "50"}
    process = subprocess.Popen([*COMMAND, *arguments], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    assert process.wait() == 0, shown
    os.close(ours)
    return shown.decode().replace("\r\n", "\n")


def test_derived_samples_know_their_parent_and_parents_their_children(corpus: Corpus, tmp_path: Path) -> None:
    first, second, *_ = samples_of(corpus)
    child = conversation(
        "What is shown?", "A chest film.", meta={"parent": first.id, "derived": "caption-to-conversation"}
    )
    mention = conversation("And here?", "A knee.", meta={"note": f"not made from {second.id}"}, row=2)
    derived = make_corpus(tmp_path / "derived", [child, mention])
    derived.record("judge", parameters={"endpoint": "x" * 300, "corpus": "y" * 300, "input": str(corpus.path)})
    assert story(derived, child.id)["parent"]["corpus"] is None  # only the step that derived it names its corpus
    derived.record("convert", parameters={"corpus": "z" * 300})
    derived.record("convert", parameters={"corpus": str(corpus.path)})
    parent = story(derived, child.id)["parent"]
    assert (parent["id"], parent["place"], parent["corpus"]) == (first.id, "made.jsonl:1", str(corpus.path))
    children = story(corpus, first.id, "--derived", derived.path)["children"]
    assert [(entry["id"], entry["kind"], entry["corpus"]) for entry in children] == [
        (child.id, "conversation", str(derived.path))
    ]
    assert story(corpus, second.id, "--derived", derived.path)["children"] == []
    assert story(derived, mention.id)["parent"] is None


def test_an_ambiguous_beginning_lists_the_ids(tmp_path: Path) -> None:
    ids = [f"abcdef{number:058x}" for number in range(7)]
    samples = [caption(f"Text {n}.", row=n + 1, id=sample_id) for n, sample_id in enumerate(ids)]
    corpus = make_corpus(tmp_path / "curated", samples)
    ran = curate("explain", "abcdef", "--corpus", corpus.path)
    assert ran.status == 2
    assert f"7 ids begin with abcdef: {ids[0]} (made.jsonl:1)" in ran.err
    assert "…; give more of the one you mean" in ran.err


def test_a_corpus_that_was_never_measured_is_told_as_far_as_it_goes(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "curated", [caption("A hand.", row=1)])
    text = curate("explain", "made.jsonl:1", cwd=tmp_path)
    assert text.status == 0
    assert "not measured yet; run: curate score curated" in text.out
    assert "not judged" in text.out
    assert (found := story(corpus, "made.jsonl:1"))["signals"] is None
    assert found["problems"] == []
