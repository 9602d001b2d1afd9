"""`curate convert` on whole corpora: selections, interruptions, what is there already, what cannot be written."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sources.deriving import add_up, derive, read
from support.cli import COMMAND, Ran
from support.inside import curate
from support.measured import caption, conversation, document, make_corpus, query, stored
from support.pictures import distinct

from curate.corpus import Corpus, Sample, to_table, write_shard

OPTIONS = (("A", "cyst"), ("B", "abscess"), ("C", "stone"))


def mcqs(count: int) -> list[Sample]:
    return [
        query(f"Lesion {number}?", "B", query_type="choice", choices=OPTIONS, row=number + 1) for number in range(count)
    ]


def content(corpus: Path) -> dict[str, object]:
    """Everything that a derived corpus holds, apart from times."""
    files = {path.name: path.read_bytes() for path in sorted((corpus / "rejects").iterdir())}
    tables = {path.name: pq.read_table(path).to_pylist() for path in sorted((corpus / "samples").iterdir())}
    info = json.loads((corpus / "corpus.json").read_text())
    steps = [{key: value for key, value in step.items() if key != "at"} for step in info["steps"]]
    return {
        **files,
        **tables,
        "hash": info["input_hash"],
        "steps": steps,
        "names": sorted(path.name for path in corpus.iterdir()),
    }


def convert(folder: Path, *options: str | Path, to: str = "shuffled-choices", output: str = "derived") -> Ran:
    return curate("convert", folder / "curated", "--to", to, "-o", folder / output, *options)


def decisions(corpus: Path, groups: Sequence[Sequence[tuple[str, bool]]], name: str = "strict") -> None:
    """Write a selection with one row group for each samples shard."""
    path = corpus / "decisions" / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    schema = pa.schema([("id", pa.string()), ("kept", pa.bool_())])
    with pq.ParquetWriter(path, schema) as writer:
        for rows in groups:
            columns = {"id": [row[0] for row in rows], "kept": [row[1] for row in rows]}
            writer.write_table(pa.table(columns, schema=schema), row_group_size=max(1, len(rows)))


def test_every_sample_is_in_one_count_and_shards_keep_their_order(tmp_path: Path) -> None:
    kinds = [
        document("A text."),
        conversation("What?", "A cyst."),
        query("Size?", "3 cm", query_type="numeric", row=90),
    ]
    same = [query("Lesion 1?", "C", query_type="choice", choices=OPTIONS, row=91)]
    counts, made, rejects = derive(tmp_path, [*mcqs(50), *kinds, *same], "open", per_shard=7)
    assert counts["other_kinds"] == {"conversation": 1, "interleaved": 1}
    assert counts["rejects"] == {"no_choices": 1}
    assert [sample.origin.row for sample in made[:50]] == list(range(1, 51))
    assert counts["derived"] == len(made) == 51
    assert rejects[0]["message"].endswith(f"[sample {kinds[2].id}]")


def test_parents_that_become_the_same_are_merged_and_listed(tmp_path: Path) -> None:
    other = (("A", "abscess"), ("B", "tumour"))
    twice = [*mcqs(1), query("Lesion 0?", "A", query_type="choice", choices=other, row=2)]
    counts, made, rejects = derive(tmp_path, twice, "open")
    assert (counts["derived"], counts["duplicates"]) == (1, 1)
    assert rejects[0]["reason"] == "duplicate"
    assert made[0].id in rejects[0]["message"]


def test_the_same_command_again_does_nothing(tmp_path: Path) -> None:
    derive(tmp_path, mcqs(30), "shuffled-choices", per_shard=8)
    before = content(tmp_path / "derived")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "derived" / "samples").iterdir()}
    again = convert(tmp_path, "--json")
    assert again.json()["unchanged"] is True
    assert "nothing to do" in again.err
    assert content(tmp_path / "derived") == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "derived" / "samples").iterdir()} == times


def test_the_same_corpus_elsewhere_gives_the_same_samples(tmp_path: Path) -> None:
    derive(tmp_path, mcqs(30), "shuffled-choices", per_shard=8)
    derive(tmp_path / "other", mcqs(30), "shuffled-choices", per_shard=11)
    assert read(tmp_path / "derived") == read(tmp_path / "other" / "derived")
    assert convert(tmp_path, "--seed", "5", output="seeded").status == 0
    assert read(tmp_path / "derived") != read(tmp_path / "seeded")


def test_a_changed_parent_is_converted_again(tmp_path: Path) -> None:
    derive(tmp_path, mcqs(10), "shuffled-choices")
    assert curate("score", tmp_path / "derived").status == 0
    counts, made, _ = derive(tmp_path, mcqs(12), "shuffled-choices")
    assert (counts["unchanged"], len(made)) == (False, 12)
    steps = Corpus.open(tmp_path / "derived").info.steps
    assert [step.name for step in steps] == ["convert", "signals", "convert"]
    assert [step.counts["samples"] for step in steps if step.name == "convert"] == [10, 12]


def test_a_conversion_of_a_conversion_names_every_parent(tmp_path: Path) -> None:
    _, first, _ = derive(tmp_path, mcqs(3), "shuffled-choices")
    ran = curate("convert", tmp_path / "derived", "--to", "open", "-o", tmp_path / "second")
    assert ran.status == 0, ran.err
    second, _ = read(tmp_path / "second")
    assert [sample.meta["parent"] for sample in second] == [sample.id for sample in first]
    assert [sample.meta["derived"]["before"]["parent"] for sample in second] == [sample.id for sample in mcqs(3)]


@pytest.mark.parametrize("link", [True, False])
def test_stored_pictures_are_adopted(tmp_path: Path, link: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.sources.derive import ConvertOptions
    from curate.sources.derive import convert as convert_corpus

    samples = [
        caption(f"Picture {number} shows a gradient.", stored(tmp_path / "curated", distinct(number)), row=number + 1)
        for number in range(4)
    ]
    parent = make_corpus(tmp_path / "curated", samples)
    if not link:

        def no_links(*_: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", no_links)
    output = tmp_path / "derived"
    assert convert_corpus(parent, output, ConvertOptions("conversation")).derived == 4
    derived = Corpus.open(output)
    paths = [derived.image_path(sample.images[0]) for sample in read(output)[0]]
    assert [path.read_bytes() for path in paths] == [distinct(number) for number in range(4)]
    assert [path.stat().st_nlink for path in paths] == [2 if link else 1] * 4
    paths[0].unlink()
    assert not convert_corpus(Corpus.open(parent.path), output, ConvertOptions("conversation")).unchanged
    assert paths[0].read_bytes() == distinct(0)


def test_a_picture_that_the_parent_lost_is_named(tmp_path: Path) -> None:
    sample = caption("A gradient.", stored(tmp_path / "curated", distinct(0)))
    lost = make_corpus(tmp_path / "curated", [sample]).image_path(sample.images[0])
    lost.unlink()
    ran = convert(tmp_path, to="conversation")
    assert ran.status == 2
    assert str(lost) in ran.err
    assert not (tmp_path / "derived").exists()
    stored(tmp_path / "curated", distinct(0))
    assert convert(tmp_path, to="conversation").status == 0


def test_only_what_a_selection_keeps_is_converted(tmp_path: Path) -> None:
    samples = mcqs(20)
    corpus = make_corpus(tmp_path / "curated", samples, per_shard=8)
    groups = [samples[:8], samples[8:16], samples[16:]]
    decisions(corpus.path, [[(s.id, s.origin.row % 4 == 0) for s in group] for group in groups])
    ran = convert(tmp_path, "--selection", "strict", "--json")
    assert ran.status == 0, ran.err
    add_up(ran.json())
    assert (ran.json()["derived"], ran.json()["not_selected"]) == (5, 15)
    assert [sample.origin.row for sample in read(tmp_path / "derived")[0]] == [4, 8, 12, 16, 20]
    decisions(corpus.path, [[(s.id, s.origin.row % 2 == 0) for s in group] for group in groups])
    assert convert(tmp_path, "--selection", "strict", "--json").json()["derived"] == 10


@pytest.mark.parametrize(
    ("name", "groups", "sentence"),
    [
        ("strikt", None, "did you mean strict?"),
        ("../../etc", None, "no selection"),
        ("strict", [[("0" * 64, True)] * 6], "other samples"),
        ("strict", [], "other samples"),
        ("strict", [[("0" * 64, True)]], "other samples"),
    ],
)
def test_selections_that_cannot_be_used(
    tmp_path: Path, name: str, groups: list[list[tuple[str, bool]]] | None, sentence: str
) -> None:
    samples = mcqs(6)
    corpus = make_corpus(tmp_path / "curated", samples)
    decisions(corpus.path, [[(sample.id, True) for sample in samples]] if groups is None else groups)
    ran = convert(tmp_path, "--selection", name)
    assert ran.status == 2
    assert sentence in ran.err
    assert not (tmp_path / "derived").exists()


def test_damaged_decisions_and_samples_are_sentences(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "curated", mcqs(6))
    (corpus.path / "decisions").mkdir()
    (corpus.path / "decisions" / "strict.parquet").write_bytes(b"PAR1 nothing")
    assert "strict.parquet cannot be read" in convert(tmp_path, "--selection", "strict").err
    shard = corpus.shards()[0]
    shard.write_bytes(shard.read_bytes()[:-50])
    ran = convert(tmp_path)
    assert ran.status == 2
    assert f"{shard} cannot be read" in ran.err


def test_a_selection_that_keeps_nothing_of_the_kind_is_an_error(tmp_path: Path) -> None:
    samples = [*mcqs(2), caption("A gradient.")]
    corpus = make_corpus(tmp_path / "curated", samples)
    decisions(corpus.path, [[(sample.id, sample.kind != "query") for sample in samples]])
    ran = convert(tmp_path, "--selection", "strict")
    assert ran.status == 2
    assert "keeps 1 of 3 samples: 1 image_caption" in ran.err
    assert "has none: it holds 2 query" not in ran.err
    assert "holds 1 image_caption, 2 query" in convert(tmp_path, to="query").err
    assert not (tmp_path / "derived").exists()


def test_rejects_are_told_with_their_row_and_a_short_id(tmp_path: Path) -> None:
    sample = query("Size?", "3 cm", query_type="numeric", row=7)
    make_corpus(tmp_path / "curated", [*mcqs(1), sample])
    ran = convert(tmp_path)
    assert f"{sample.origin.file}:7: " in ran.err
    assert f"[sample {sample.id[:12]}]" in ran.err


def test_nothing_convertible_is_status_1(tmp_path: Path) -> None:
    counts, made, _ = derive(tmp_path, [query("Size?", "3 cm", query_type="numeric")], "open", status=1)
    assert (counts["derived"], made) == (0, [])
    assert convert(tmp_path, to="open").status == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--max-words", "3"], ["--to", "open", "--max-words", "0"], ["--rephrase"], ["--ratio", "2"],
        ["--to", "yes-no", "--ratio", "0.5"], ["--to", "yes-no", "--ratio", "nan"],
        ["--to", "yes-no", "--yes-no-share", "1"], ["--instructions", "x.yaml"], ["--balance-by", "source"],
        ["--to", "conversation", "--instructions", "missing.yaml"], ["--to", "better"],
    ],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path, options: list[str]) -> None:
    make_corpus(tmp_path / "curated", mcqs(2))
    ran = convert(tmp_path, *options)
    assert ran.status == 2
    assert "Error: " in ran.err
    assert not (tmp_path / "derived").exists()


def test_other_directories_are_left_alone(tmp_path: Path) -> None:
    derive(tmp_path, mcqs(4), "shuffled-choices")
    before = content(tmp_path / "derived")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    make_corpus(tmp_path / "another", mcqs(3))
    for ran, sentence in (
        (convert(tmp_path, to="open"), "another conversion (it differs in: to)"),
        (convert(tmp_path, "--seed", "1"), "it differs in: seed"),
        (convert(tmp_path, output="notes"), "is not a corpus"),
        (convert(tmp_path, output="another"), "is a corpus already"),
        (convert(tmp_path, output="curated"), "nothing is rewritten in place"),
        (convert(tmp_path, output="curated/inside"), "inside one another"),
        (convert(tmp_path, output="."), "inside one another"),
        (curate("convert", tmp_path / "nowhere", "--to", "open", "-o", tmp_path / "x"), "is no corpus"),
    ):
        assert ran.status == 2, ran.err
        assert sentence in ran.err
    assert content(tmp_path / "derived") == before
    assert (tmp_path / "notes" / "mine.txt").read_text() == "mine"
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "rows.jsonl").write_text('{"query": "Size?", "answer": "3 cm", "query_type": "numeric"}\n')
    assert curate("ingest", tmp_path / "raw", "-o", tmp_path / "ingested").status == 0
    assert "was ingested" in convert(tmp_path, output="ingested").err


@pytest.mark.parametrize("held", ["curated", "derived"])
def test_one_command_at_a_time(tmp_path: Path, held: str) -> None:
    derive(tmp_path, mcqs(4), "shuffled-choices")
    with (tmp_path / held / ".lock").open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ran = convert(tmp_path)
    assert ran.status == 2
    assert f"{tmp_path / held} is in use" in ran.err


def test_a_killed_conversion_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    samples = mcqs(12_000)
    derive(tmp_path, samples, "shuffled-choices")
    output = tmp_path / "again"
    command = [*COMMAND, "convert", str(tmp_path / "curated"), "--to", "shuffled-choices", "-o", str(output)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    first = output / "samples.partial" / "part-00000.parquet"
    while running.poll() is None and not first.exists():
        time.sleep(0.01)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert first.exists()
    assert not Corpus.open(output).info.complete
    written = first.stat().st_mtime_ns
    assert convert(tmp_path, output="again").status == 0
    assert (output / "samples" / "part-00000.parquet").stat().st_mtime_ns == written
    assert content(output) == content(tmp_path / "derived")


def test_hostile_samples_are_rejects_not_crashes(tmp_path: Path) -> None:
    good = mcqs(1)[0]
    hostile = [
        replace(good, id="", answer=(), origin=replace(good.origin, row=2)),
        replace(good, id="", turns=(), origin=replace(good.origin, row=3)),
        replace(good, id="", query_type="unheard of", choices=(), origin=replace(good.origin, row=4)),
        replace(good, id="", query_type=None, origin=replace(good.origin, row=5)),
        replace(good, id="", choices=(("", ""), ("", "")), origin=replace(good.origin, row=6)),
        replace(good, id="", answer=("\u0301" * 100_000,), origin=replace(good.origin, row=7)),
        replace(good, id="", meta={"extra_info": ["x"], "unit": {"a": 1}}, turns=good.turns[:1] * 2),
    ]
    for to in ("shuffled-choices", "open", "choice-from-words", "conversation", "yes-no"):
        corpus = make_corpus(tmp_path / to / "curated", [good, *hostile])
        ran = convert(tmp_path / to, "--json", to=to)
        assert ran.status in (0, 1), ran.err
        add_up(ran.json())
        assert corpus.info.complete


def test_an_unfinished_parent_is_refused(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "curated", mcqs(2))
    corpus.info.complete = False
    corpus.save()
    assert "was interrupted" in convert(tmp_path).err
    empty = make_corpus(tmp_path / "empty" / "curated", [])
    assert "holds no samples" in convert(tmp_path / "empty").err
    write_shard(empty.path / "samples" / "part-00000.parquet", to_table([]), "none")
    assert "holds no samples" in convert(tmp_path / "empty").err


def test_every_reason_is_documented() -> None:
    root = Path(__file__).parents[2]
    sources = "".join(path.read_text() for path in (root / "curate" / "sources" / "derive").glob("*.py"))
    reasons = set(re.findall(r'(?:RejectError\(\s*|_reject\(sample, )"([a-z_]+)"', sources))
    assert len(reasons) > 15
    documented = set(re.findall(r"`([a-z_]+)`", (root / "docs" / "conversions.md").read_text()))
    assert reasons <= documented
