"""A rollout from the outside: what is asked, what is scored, what is asked again, and what is said of it."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from judge.endpoint import Endpoint
from rollouts.playing import (
    SCRIPT,
    effusion,
    facts,
    journal_lines,
    organ,
    playing,
    responses,
    roll,
    rollout,
    said,
    scripted,
    shows,
    thinking,
)
from support.inside import curate
from support.measured import make_corpus, query, write_signals

from curate.corpus import Corpus, UserError
from curate.rewards import compute_score


def test_answers_are_counted_by_the_reward_of_training(corpus: Corpus) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        ran = rollout(corpus, endpoint.url, "--k", "4")
        assert ran.status == 0, ran.err
        assert len(endpoint.requests) == 5 * 4
    counts = ran.json()
    assert counts["queries"] == counts["scored"] == 5
    assert counts["correct"] == {"0": 1, "1": 2, "2": 1, "3": 0, "4": 1}
    assert counts["by_source"]["organs"]["correct"] == {"0": 1, "1": 0, "2": 1, "3": 0, "4": 1}
    assert counts["informative"] == 3
    assert counts["unparsed"] == 1  # "an organ" is none of the options
    found = facts(corpus)
    assert found["rollout_status"].to_list() == ["scored", "not_asked", *["scored"] * 4]
    assert found["rollout_reason"].to_list() == [None, "not_a_query", None, None, None, None]
    assert found["rollout_correct"].to_list() == [2, None, 0, 1, 4, 1]
    assert found["rollout_pass_at_1"].to_list() == [0.5, None, 0, 0.25, 1, 0.25]
    assert found["rollout_informative"].to_list() == [True, None, False, True, False, True]
    assert found["rollout_mean_accuracy"][5] == pytest.approx((2 / 3 + 1 / 3 + 0 + 1) / 4)
    every = responses(corpus)
    assert every["index"].to_list() == [0, 1, 2, 3] * 5
    by_id = {sample.id: sample for shard in corpus.shards() for sample in corpus.samples(shard)}
    for row in every.iter_rows(named=True):
        sample = by_id[row["id"]]
        choices = [{"label": label, "text": text} for label, text in sample.choices]
        extra = {"query_type": sample.query_type, "choices": choices}
        scored = compute_score("", row["response"], list(sample.answer), extra)
        assert (row["accuracy"], row["score"]) == (scored["accuracy"], scored["score"])
    assert "Queries by right answers of 4" in ran.err
    assert "GRPO learns being right from 3 of 5 queries (60%)" in ran.err
    step = Corpus.open(corpus.path).info.steps[-1]
    assert (step.name, step.counts["scored"], step.parameters["model"]) == ("rollout", 5, "m")


def test_the_same_again_asks_nothing_and_a_higher_k_asks_only_the_new_ones(corpus: Corpus) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        roll(corpus, endpoint.url, k=2)
        four = roll(corpus, endpoint.url, k=4)
        assert (four.requests, four.reused) == (10, 10)
        early = responses(corpus).filter(pl.col("index") < 2)
        again = roll(corpus, endpoint.url, k=4)
        assert (again.requests, again.reused) == (0, 20)
        fewer = roll(corpus, endpoint.url, k=2)
        assert fewer.requests == 0
        assert len(endpoint.requests) == 20
    assert responses(corpus).equals(early)
    assert {len(lines) for lines in journal_lines(corpus).values()} == {1}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"system_prompt": "Answer in <answer></answer>."}, "answers to another system prompt"),
        ({"temperature": 0.7}, "answers at --temperature 1, not 0.7"),
        ({"max_tokens": 100}, "answers of at most 200 tokens, not 100"),
    ],
)
def test_another_way_of_asking_is_another_run(corpus: Corpus, change: dict[str, Any], sentence: str) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        roll(corpus, endpoint.url, k=2)
        before = (corpus.path / "rollouts" / "rollout" / "run.json").read_bytes(), facts(corpus)
        with pytest.raises(UserError, match=f"{sentence}.*--name"):
            roll(corpus, endpoint.url, k=2, **change)
        assert (corpus.path / "rollouts" / "rollout" / "run.json").read_bytes() == before[0]
        assert facts(corpus).equals(before[1])
        assert roll(corpus, endpoint.url, k=2, run="other", **change).requests == 10
        assert roll(corpus, endpoint.url, k=2).requests == 0


def test_many_answers_are_told_within_80_columns(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [organ(path, number) for number in range(3)])
    with Endpoint(playing(lambda request, number: thinking("B" if number % 3 else "A"))) as endpoint:
        given = ("rollout", corpus.path, "--model", "m", "--url", endpoint.url, "--k", "15")
        ran = curate(*given, env={"OPENAI_API_KEY": "x"}, columns=80)
    shown = ran.err.partition("Queries by right answers of 15")[2].splitlines()[1:3]
    assert shown[0].split()[:4] == ["source", "queries", "mixed", "0"]
    assert shown[1].split() == ["organs", "3", "100%", "0", "0", "0", "0", "0", "3", "0", "0", "0"]
    with Endpoint(playing(lambda request, number: thinking("B" if number % 3 else "A"))) as endpoint:
        narrow = curate(*given[:5], endpoint.url, "--k", "15", env={"OPENAI_API_KEY": "x"}, columns=50)
    assert "9-10:3" in narrow.err
    assert max(map(len, narrow.err.partition("answers of 15")[2].splitlines()[1:4])) <= 50


def test_several_references_are_as_many_chances(tmp_path: Path) -> None:
    options = tuple(zip("ABCD", ("Liver", "Lung", "Heart", "Spleen"), strict=True))
    samples = [
        query("Q1?", "A", "Lung", query_type="choice", choices=options),
        query("Q2?", "B", "Lung", query_type="choice", choices=options),
        *(
            query(f"Q{n}?", "A", "Heart", query_type="multi_choice", choices=options, source="several")
            for n in range(3, 9)
        ),
    ]
    corpus = make_corpus(tmp_path / "c", samples)
    counts = curate("rollout", corpus.path, "--url", "demo", "--k", "8", "--json").json()
    assert facts(corpus)["rollout_chance"].to_list() == [0.5, 0.25, *[1 / 15] * 6]
    assert counts["by_source"]["several"]["correct"]["0"] < 6  # the demo names all that belong together


def test_another_picture_is_another_question_and_another_reference_is_not(tmp_path: Path) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        roll(make_corpus(tmp_path / "c", [organ(tmp_path / "c", 0)]), endpoint.url, k=2)
        assert (
            roll(make_corpus(tmp_path / "c", [organ(tmp_path / "c", 0, picture_of=9)]), endpoint.url, k=2).answers == 2
        )
        mended = query("Organ 0: which one is shown?", "C", **organ_fields(tmp_path / "c"))
        summary = roll(make_corpus(tmp_path / "c", [mended]), endpoint.url, k=2)
    assert summary.requests == 0
    assert summary.correct == {1: 1}


def organ_fields(path: Path) -> dict[str, Any]:
    sample = organ(path, 0)
    return {"images": sample.images, "query_type": "choice", "choices": sample.choices, "source": "organs"}


def test_a_run_holds_the_answers_of_one_model(corpus: Corpus) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        roll(corpus, endpoint.url, k=1)
        with pytest.raises(UserError, match=r"holds answers of test-model, not of other.*--name"):
            roll(corpus, endpoint.url, k=1, model="other")
        with pytest.raises(UserError, match="without pictures"):
            roll(corpus, endpoint.url, k=1, text_only=True)
        assert roll(corpus, endpoint.url, k=1, model="other", run="second").requests == 5
    assert (corpus.path / "rollouts" / "second" / "run.json").exists()


def test_a_sample_of_each_source_is_the_same_each_time(corpus: Corpus) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        assert roll(corpus, endpoint.url, k=1, sample=1).not_asked == {"not_in_sample": 3}
        assert roll(corpus, endpoint.url, k=1, sample=1).requests == 0
        assert roll(corpus, endpoint.url, k=1).requests == 3
        # What was answered stays scored, whoever is chosen now.
        again = roll(corpus, endpoint.url, k=1, sample=1)
        assert (again.requests, again.scored) == (0, 5)


def test_a_dry_run_sends_nothing_and_says_what_would_be_sent(corpus: Corpus) -> None:
    with Endpoint(scripted(SCRIPT)) as endpoint:
        roll(corpus, endpoint.url, k=1, model="m", max_tokens=2048)
        counts = rollout(corpus, endpoint.url, "--k", "3", "--dry-run", "--price", "1,10").json()
        assert len(endpoint.requests) == 5
        assert (counts["requests"], counts["reused"]) == (10, 5)
        assert counts["cost_usd"] > 0
        after = rollout(corpus, endpoint.url, "--k", "3").json()
    assert after["requests"] == counts["requests"]


def test_equal_words_and_pictures_are_asked_once(tmp_path: Path) -> None:
    path = tmp_path / "c"
    fields = organ_fields(path)
    pair = [query("Organ 0?", answer, **fields) for answer in ("B", "C")]
    corpus = make_corpus(path, pair)
    with Endpoint(scripted({"Organ 0": ["B"]}), latency=0.1) as endpoint:
        summary = roll(corpus, endpoint.url, k=3)
        assert len(endpoint.requests) == 3
    assert summary.correct == {3: 1, 0: 1}


def test_all_the_same_answers_are_pointed_out(tmp_path: Path) -> None:
    path = tmp_path / "c"
    corpus = make_corpus(path, [effusion(path, number) for number in range(20)])
    with Endpoint(playing(lambda request, number: thinking("yes"))) as endpoint:
        ran = rollout(corpus, endpoint.url, "--k", "2")
        assert all(shows(request) == 1 for request in endpoint.requests)
    assert "for 20 of 20 queries all 2 answers are the same text" in ran.err


def test_only_what_a_selection_keeps_is_asked(corpus: Corpus, tmp_path: Path) -> None:
    write_signals(corpus)
    policy = tmp_path / "organs.yaml"
    policy.write_text("name: organs\nrules:\n  - {name: other, when: source != 'organs', reason: other}\n")
    selected = curate("select", corpus.path, "--policy", policy)
    assert selected.status == 0, selected.err
    with Endpoint(scripted(SCRIPT)) as endpoint:
        ran = rollout(corpus, endpoint.url, "--k", "1", "--selection", "organs")
        assert ran.status == 0, ran.err
        assert {said(request)[:12] for request in endpoint.requests} == {"<image>Organ"}
        assert len(endpoint.requests) == 3
    assert ran.json()["not_asked"] == {"not_in_sample": 2}
    chosen = tmp_path / "hard.yaml"
    chosen.write_text("name: hard\ndifficulty:\n  bands:\n    - {correct: [1, 1]}\n")
    hard = curate("select", corpus.path, "--policy", chosen, "--json")
    assert hard.status == 0, hard.err
    kept = pl.read_parquet(corpus.path / "decisions" / "hard.parquet")
    rules = dict(zip(kept["id"].to_list(), kept["rule"].to_list(), strict=True))
    samples = [sample for shard in corpus.shards() for sample in corpus.samples(shard)]
    assert [rules[sample.id] for sample in samples] == [
        None,
        None,
        "difficulty",
        "no_rollouts",
        None,
        "no_rollouts",
    ]
