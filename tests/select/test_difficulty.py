"""Choosing queries by rollouts: bands, shares, questions that need no picture, and runs that are not there."""

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.measured import caption, make_corpus, query

from curate.corpus import Corpus, Sample, UserError, write_shard
from curate.rollouts.tables import FACTS
from curate.select.difficulty import difficulty_stage
from curate.select.policy_sections import Band, Difficulty
from curate.select.pool import DROPPED, Pool, Stage

INFIMED = Difficulty(bands=[Band(correct=[3, 5]), Band(correct=[6, 8], keep=0.1)])
"""3-5 of 8 first, few saturated, unsolved ones dropped."""


def questions(count: int, source: str = "vqa") -> list[Sample]:
    return [query(f"{source} {number}?", "yes", source=source, query_type="yes_no") for number in range(count)]


def write_run(corpus: Corpus, correct: dict[str, int | None], *, run: str = "rollout", **settings: Any) -> None:
    """A rollout run with so many right answers by id; None for a query that is not scored."""
    info = {"model": "m", "k": 8, "text_only": False, "shuffle_options": False, "system_prompt": ""}
    info |= {"temperature": 1.0, "max_tokens": 100} | settings
    k = info["k"]
    for shard in corpus.shards():
        rows = []
        for sample in corpus.samples(shard):
            row: dict[str, Any] = dict.fromkeys(FACTS.names)
            if sample.kind != "query":
                row |= {"rollout_status": "not_asked", "rollout_reason": "not_a_query"}
            elif correct.get(sample.id) is None:
                row |= {"rollout_status": "not_asked", "rollout_reason": "stopped", "rollout_k": 3}
            else:
                row |= {"rollout_status": "scored", "rollout_k": k, "rollout_correct": correct[sample.id]}
            rows.append(row | {"id": sample.id})
        write_shard(corpus.path / "rollouts" / run / shard.name, pa.Table.from_pylist(rows, schema=FACTS), "f")
    (corpus.path / "rollouts" / run / "run.json").write_bytes(orjson.dumps(info))


def apply(corpus: Corpus, options: Difficulty, seed: int = 0) -> tuple[Stage, dict[str, tuple[str, str]]]:
    """The stage, and rule and reason by id of what it dropped; what any stage must keep to is checked."""
    pool = Pool.of(corpus)
    stage = difficulty_stage(pool, options, seed)
    assert dict(stage.dropped.schema) == DROPPED
    assert stage.dropped["row"].is_unique().all()
    ids = [sample.id for shard in corpus.shards() for sample in corpus.samples(shard)]
    dropped = {ids[row]: (rule, reason) for row, rule, reason, _ in stage.dropped.iter_rows()}
    pool.drop(stage)
    assert pool.count == len(ids) - len(dropped)
    orjson.dumps(stage.account)
    return stage, dropped


def test_the_middle_first_few_saturated_none_unsolved(tmp_path: Path) -> None:
    samples = questions(90) + questions(9, "other")
    corpus = make_corpus(tmp_path / "c", [*samples, caption("no query")], per_shard=40)
    correct = {sample.id: number % 9 for number, sample in enumerate(samples)}
    write_run(corpus, correct)
    stage, dropped = apply(corpus, INFIMED)
    kept = Counter(correct[sample.id] for sample in samples if sample.id not in dropped)
    assert (kept[0], kept[1], kept[2]) == (0, 0, 0)
    assert (kept[3], kept[4], kept[5]) == (11, 11, 11)
    assert kept[6] + kept[7] + kept[8] == 3  # a tenth of 33
    unsolved = next(sample.id for sample in samples if correct[sample.id] == 0)
    assert dropped[unsolved] == ("difficulty", "answered rightly in 0 of 8 rollouts; the policy keeps 3 to 5 or 6 to 8")
    left_out = next(reason for rule, reason in dropped.values() if rule == "difficulty_share")
    assert left_out.endswith("of 8 rollouts; the policy keeps 0.1 of the queries with 6 to 8")
    account = stage.account
    assert (account["queries"], account["kept"], account["k"], account["run"]) == (99, 36, 8, "rollout")
    assert account["correct"]["before"] == {str(right): 11 for right in range(9)}
    assert account["correct"]["after"] == {str(right): kept[right] for right in range(9)}
    assert account["by_source"]["other"]["before"] == {str(right): 1 for right in range(9)}
    assert [band["kept"] for band in account["bands"]] == [33, 3]
    assert account["dropped"] == {"difficulty": 33, "difficulty_share": 30}


def test_the_choice_follows_from_the_seed_and_a_smaller_share_is_part_of_a_larger(tmp_path: Path) -> None:
    samples = questions(200)
    corpus = make_corpus(tmp_path / "c", samples, per_shard=64)
    write_run(corpus, dict.fromkeys((sample.id for sample in samples), 8))

    def kept(share: float, seed: int) -> set[str]:
        options = Difficulty(bands=[Band(correct=[8, 8], keep=share)])
        return {sample.id for sample in samples} - set(apply(corpus, options, seed)[1])

    assert kept(0.1, 1) == kept(0.1, 1)
    assert kept(0.1, 1) != kept(0.1, 2)
    assert kept(0.1, 1) < kept(0.3, 1) < kept(1.0, 1)
    assert [len(kept(share, 7)) for share in (0.0, 0.1, 0.335, 1.0)] == [0, 20, 67, 200]


def test_questions_that_need_no_picture(tmp_path: Path) -> None:
    samples = questions(5)
    corpus = make_corpus(tmp_path / "c", samples)
    write_run(corpus, dict.fromkeys((sample.id for sample in samples), 4))
    blind = {sample.id: number for number, sample in enumerate(samples[:4])}
    write_run(corpus, blind, run="blind", text_only=True, k=5)
    options = Difficulty(bands=[Band(correct=[3, 5])], max_text_only_correct=2)
    _, dropped = apply(corpus, options)
    assert dropped == {
        samples[3].id: (
            "answered_without_image",
            "answered rightly in 3 of 5 rollouts without the picture; the policy allows 2",
        ),
        samples[4].id: (
            "no_rollouts",
            "the rollout run 'blind' has not all 5 answers to it (not_asked: stopped)",
        ),
    }
    lenient = options.model_copy(update={"unrolled": "keep"})
    assert set(apply(corpus, lenient)[1]) == {samples[3].id}


def test_a_question_without_a_picture_needs_no_text_only_run(tmp_path: Path) -> None:
    (sample,) = samples = questions(1)
    corpus = make_corpus(tmp_path / "c", samples)
    write_run(corpus, {sample.id: 4})
    write_run(corpus, {}, run="blind", text_only=True, k=5)
    path = corpus.path / "rollouts" / "blind" / "part-00000.parquet"
    frame = pl.read_parquet(path).with_columns(rollout_reason=pl.lit("no_image"), rollout_k=None)
    frame.cast({"rollout_k": pl.Int32}).write_parquet(path)
    options = Difficulty(bands=[Band(correct=[3, 5])], max_text_only_correct=2)
    assert apply(corpus, options)[1] == {}


def test_queries_without_rollouts(tmp_path: Path) -> None:
    samples = questions(4)
    corpus = make_corpus(tmp_path / "c", samples, per_shard=2)
    write_run(corpus, {samples[0].id: 4, samples[1].id: None, samples[2].id: 4, samples[3].id: 4})
    (corpus.path / "rollouts" / "rollout" / "part-00001.parquet").unlink()
    options = Difficulty(bands=[Band(correct=[3, 5])])
    assert apply(corpus, options)[1] == {
        samples[1].id: ("no_rollouts", "the rollout run 'rollout' has not all 8 answers to it (not_asked: stopped)"),
        samples[2].id: ("no_rollouts", "the rollout run 'rollout' does not know it"),
        samples[3].id: ("no_rollouts", "the rollout run 'rollout' does not know it"),
    }
    stage, dropped = apply(corpus, options.model_copy(update={"unrolled": "keep"}))
    assert dropped == {}
    assert stage.account["without_rollouts"] == 3


def test_a_score_of_fewer_answers_than_the_run_has_now_is_no_score(tmp_path: Path) -> None:
    (sample,) = samples = questions(1)
    corpus = make_corpus(tmp_path / "c", samples)
    write_run(corpus, {sample.id: 4}, k=4)
    marker = corpus.path / "rollouts" / "rollout" / "run.json"
    marker.write_bytes(marker.read_bytes().replace(b'"k":4', b'"k":8'))
    _, dropped = apply(corpus, INFIMED)
    assert dropped[sample.id] == (
        "no_rollouts",
        "the rollout run 'rollout' has not all 8 answers to it (scored: 4 answers)",
    )


def test_samples_that_an_ingest_moved_keep_their_rollouts(tmp_path: Path) -> None:
    samples = questions(20)
    corpus = make_corpus(tmp_path / "c", samples, per_shard=7)
    write_run(corpus, {sample.id: number % 9 for number, sample in enumerate(samples)})
    before = apply(corpus, INFIMED)[1]
    moved = make_corpus(tmp_path / "c", [*questions(3, "new"), *reversed(samples)], per_shard=7)
    after = apply(moved, INFIMED)[1]
    assert {name: found for name, found in after.items() if "does not know" not in found[1]} == before
    assert len(after) == len(before) + 3


def test_only_queries_that_are_still_in_are_looked_at(tmp_path: Path) -> None:
    samples = questions(10)
    corpus = make_corpus(tmp_path / "c", [*samples, caption("other")])
    write_run(corpus, {})
    pool = Pool.of(corpus)
    pool.alive[:10] = False
    assert difficulty_stage(pool, INFIMED, 0).dropped.is_empty()
    pool.alive[3] = True
    assert difficulty_stage(pool, INFIMED, 0).dropped["row"].to_list() == [3]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (Difficulty(bands=[Band(correct=[5, 3])]), "a band goes from 5 to 3"),
        (Difficulty(bands=[Band(correct=[3, 16])]), "reaches to 16 right answers, and the rollout run 'one' has 8"),
        (Difficulty(bands=[Band(correct=[3, 5])], run="won"), "no rollout run 'won' with pictures; did you mean one"),
        (Difficulty(bands=[Band(correct=[3, 5])], run="blind"), "'blind' is without pictures"),
        (Difficulty(bands=[Band(correct=[3, 5])], max_text_only_correct=5), "nothing would be dropped"),
    ],
)
def test_policies_that_do_not_fit_the_runs(tmp_path: Path, options: Difficulty, sentence: str) -> None:
    corpus = make_corpus(tmp_path / "c", questions(1))
    write_run(corpus, {}, run="one")
    write_run(corpus, {}, run="blind", text_only=True, k=5)
    with pytest.raises(UserError, match=sentence):
        apply(corpus, options)


def test_no_run_or_several(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", questions(1))
    with pytest.raises(UserError, match="has no rollout run with pictures; make one with: curate rollout"):
        apply(corpus, INFIMED)
    write_run(corpus, {}, run="one")
    with pytest.raises(UserError, match=r"no rollout run without pictures; .*--text-only"):
        apply(corpus, INFIMED.model_copy(update={"max_text_only_correct": 2}))
    write_run(corpus, {}, run="two")
    with pytest.raises(UserError, match="several rollout runs with pictures: one, two; name one"):
        apply(corpus, INFIMED)
    assert apply(corpus, INFIMED.model_copy(update={"run": "two"}))[0].account["run"] == "two"


def test_a_damaged_table_is_a_sentence(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", questions(1))
    write_run(corpus, {})
    (corpus.path / "rollouts" / "rollout" / "part-00000.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match="cannot be read"):
        apply(corpus, INFIMED)


RIGHT = st.integers(0, 8)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.one_of(st.none(), RIGHT), min_size=1, max_size=30),
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 8), st.sampled_from([0.0, 0.25, 1.0])), min_size=1, max_size=3
    ),
    st.sampled_from(["keep", "drop"]),
)
def test_every_query_is_kept_or_dropped_for_a_reason_that_holds(
    tmp_path_factory: pytest.TempPathFactory,
    counts: list[int | None],
    ranges: list[tuple[int, int, float]],
    unrolled: Any,
) -> None:
    samples = questions(len(counts))
    corpus = make_corpus(tmp_path_factory.mktemp("c"), samples, per_shard=11)
    correct = {sample.id: count for sample, count in zip(samples, counts, strict=True)}
    write_run(corpus, correct)
    bands = [Band(correct=sorted((low, high)), keep=keep) for low, high, keep in ranges]
    stage, dropped = apply(corpus, Difficulty(bands=bands, unrolled=unrolled))
    for name, count in correct.items():
        rule = dropped.get(name, ("", ""))[0]
        band = None if count is None else next((b for b in bands if b.correct[0] <= count <= b.correct[1]), None)
        if count is None:
            assert rule == ("no_rollouts" if unrolled == "drop" else "")
        elif band is None:
            assert rule == "difficulty"
        else:
            assert rule in ("", "difficulty_share")
            assert not (rule and band.keep == 1.0)
            assert not (not rule and band.keep == 0.0)
    assert stage.account["kept"] + sum(stage.account["dropped"].values()) == len(counts)


def test_a_run_with_another_number_of_answers_is_refused(tmp_path: Path) -> None:
    samples = questions(3)
    corpus = make_corpus(tmp_path / "curated", samples)
    write_run(corpus, {sample.id: 4 for sample in samples})
    stage = difficulty_stage(Pool.of(corpus), INFIMED.model_copy(update={"k": 8}), 0)
    assert not len(stage.dropped)
    with pytest.raises(UserError, match="written for 16 answers a query, and the rollout run 'rollout' has 8"):
        difficulty_stage(Pool.of(corpus), INFIMED.model_copy(update={"k": 16}), 0)
