"""What hits do under a policy, the evidence that is kept, and what stops the stage."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from support.benchmark_files import path_vqa, slake, vqa_rad, write_json
from support.contamination import LONG, OTHER, again, ask, corpus_of, gate, measure, run, scene
from support.corpora import caption, make_corpus, picture, store

from curate.corpus import UserError
from curate.select.contamination import contamination_stage, hits_path, read_hits
from curate.select.contamination_hits import HITS, hits_are_current
from curate.select.pool import Pool
from curate.signals.run import measure_corpus

DROPS: dict[tuple[str, ...], dict[str, str]] = {
    ("image", "question"): {"P1 Q1": "both", "P1 short1": "both", "P1 Q2": "image", "P1": "image", "Q1": "question"},
    ("image",): {"P1 Q1": "both", "P1 short1": "both", "P1 Q2": "image", "P1": "image"},
    ("question",): {"P1 Q1": "both", "P1 short1": "both", "P1 Q2": "question", "Q1": "question"},
    ("both",): {"P1 Q1": "both", "P1 short1": "both"},
    (): {},
}


@pytest.mark.parametrize("drop", DROPS, ids="+".join)
def test_what_a_policy_lets_hits_do(drop: tuple[str, ...], tmp_path: Path) -> None:
    benchmark = path_vqa(tmp_path / "path", [(LONG, scene(1)), ("Is it normal?", scene(1)), (OTHER, scene(2))])
    root = tmp_path / "raw"
    leaked, own = store(root, "leaked.jpg", again(scene(1))), store(root, "own.png", scene(7))
    samples = {
        "P1 Q1": ask(LONG, leaked),
        "P1 short1": ask("Is it normal?", leaked),
        "P1 Q2": ask(OTHER, leaked),
        "P1": ask("Describe the picture.", leaked),
        "Q1": ask(LONG, own),
        "short1": ask("Is it normal?", own),
        "neither": ask("Describe the picture in detail.", own),
    }
    corpus = corpus_of(tmp_path, list(samples.values()))
    stage, _ = run(corpus, gate(("path-vqa", benchmark), drop=list(drop)))
    names = list(samples)
    rules = {names[entry["row"]]: entry["rule"] for entry in stage.dropped.to_dicts()}
    assert rules == {name: f"contaminated_{rule}" for name, rule in DROPS[drop].items()}
    hits = read_hits(corpus)
    # The evidence is the same whatever the policy does about it.
    assert set(hits["id"]) == {samples[name].id for name in ("P1 Q1", "P1 short1", "P1 Q2", "P1", "Q1")}
    assert set(hits.filter(pl.col("both"))["id"]) == {samples[name].id for name in ("P1 Q1", "P1 short1")}
    shows = hits.filter(pl.col("kind") == "image")
    assert set(shows["id"]) == {sample.id for name, sample in samples.items() if name.startswith("P1")}


def test_all_samples_are_compared_and_those_that_are_still_in_are_dropped(tmp_path: Path) -> None:
    first = slake(tmp_path / "slake", [(LONG, scene(1))])
    second = vqa_rad(tmp_path / "rad", [(OTHER, scene(1))])
    root = tmp_path / "raw"
    samples = [caption(f"Row {n}.", store(root, f"{n}.png", scene(n))) for n in (1, 5, 6)]
    samples += [caption("Row 1 once more.", samples[0].images[0])]
    corpus = corpus_of(tmp_path, samples, per_shard=1)
    pool = Pool.of(corpus)
    pool.alive[:] = [True, True, False, False]
    stage = contamination_stage(pool, gate(("slake", first), ("vqa-rad", second)), measure)
    assert not read_hits(corpus).height, "nothing is written before the whole selection has come to something"
    assert stage.keep is not None
    stage.keep()
    assert stage.dropped["row"].to_list() == [0]
    assert stage.account["samples_compared"] == 4
    assert read_hits(corpus)["benchmark"].to_list() == ["slake", "vqa-rad"] * 2
    assert [told["samples_hit"] for told in stage.account["benchmarks"]] == [2, 2]
    assert sum(told["samples_dropped"] for told in stage.account["benchmarks"]) == 1


def test_hits_with_benchmarks_that_another_selection_looked_at_stay(tmp_path: Path) -> None:
    first = slake(tmp_path / "slake", [(LONG, scene(1))])
    second = vqa_rad(tmp_path / "rad", [(OTHER, scene(2))])
    root = tmp_path / "raw"
    samples = [caption(f"Row {n}.", store(root, f"{n}.png", scene(n))) for n in (1, 2)]
    corpus = corpus_of(tmp_path, samples)
    for benchmark in (("slake", first), ("vqa-rad", second), ("slake", first)):
        run(corpus, gate(benchmark))
    assert sorted(read_hits(corpus)["benchmark"]) == ["slake", "vqa-rad"]


def test_the_same_again_whatever_the_shards(tmp_path: Path) -> None:
    benchmark = slake(tmp_path / "slake", [(LONG, scene(1)), (OTHER, scene(2)), ("Is it normal?", scene(3))])
    root = tmp_path / "raw"
    samples = [
        ask((LONG, OTHER, "Is it normal?", "Describe.")[n % 4], store(root, f"{n}.jpg", again(scene(n % 7))), row=n)
        for n in range(60)
    ]
    seen = []
    for place, per_shard in (("a", 100), ("b", 7), ("c", 1)):
        corpus = make_corpus(tmp_path / place, samples, per_shard=per_shard, root=root)
        measure_corpus(corpus, workers=1)
        stage, _ = run(corpus, gate(("slake", benchmark)))
        seen.append((stage.dropped.to_dicts(), read_hits(corpus).to_dicts(), stage.account))
        data = hits_path(corpus).read_bytes()
        assert run(corpus, gate(("slake", benchmark)))[0].dropped.to_dicts() == stage.dropped.to_dicts()
        assert hits_path(corpus).read_bytes() == data
    assert seen[0][0]
    assert seen[0] == seen[1] == seen[2]


def test_a_benchmark_that_cannot_be_used_leaves_everything_as_it_was(tmp_path: Path) -> None:
    good = slake(tmp_path / "slake", [(LONG, scene(1))])
    bad = tmp_path / "omni" / "test.json"
    write_json(bad, [{"question": "Q?"}])
    corpus = corpus_of(tmp_path, [caption("A.", store(tmp_path / "raw", "a.png", scene(1)))])
    before = sorted(corpus.path.rglob("*"))
    with pytest.raises(UserError, match="not in the layout of omnimedvqa"):
        run(corpus, gate(("slake", good), ("omnimedvqa", bad)))
    assert sorted(corpus.path.rglob("*")) == before


def test_no_hits_no_benchmarks_and_samples_without_signals(tmp_path: Path) -> None:
    benchmark = slake(tmp_path / "slake", [(LONG, scene(1))])
    corpus = corpus_of(tmp_path, [caption("", store(tmp_path / "raw", "a.png", picture(3))), ask("Hello there.")])
    for asked in (gate(), gate(("slake", benchmark))):
        stage, dropped = run(corpus, asked)
        assert not dropped
        assert stage.account["hits"] == 0
        assert read_hits(corpus).schema == HITS
    bare = make_corpus(tmp_path / "bare", [caption("A.")])
    with pytest.raises(UserError, match="not measured yet"):
        contamination_stage(Pool.of(bare), gate(("slake", benchmark)), measure)
    assert not read_hits(bare).height


def test_hits_know_the_samples_they_are_about(tmp_path: Path) -> None:
    benchmark = slake(tmp_path / "slake", [(LONG, scene(1))])
    corpus = corpus_of(tmp_path, [caption("A.", store(tmp_path / "raw", "a.png", scene(1)))])
    assert not hits_are_current(corpus)
    run(corpus, gate(("slake", benchmark)))
    assert hits_are_current(corpus)
    corpus = make_corpus(corpus.path, [caption("B.", store(tmp_path / "raw", "b.png", scene(2)))])
    assert not hits_are_current(corpus)
    hits_path(corpus).write_bytes(b"PAR1 damaged")
    with pytest.raises(UserError, match=r"hits\.parquet cannot be read .* run the same curate select again"):
        read_hits(corpus)
