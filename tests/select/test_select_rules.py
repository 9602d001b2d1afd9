"""The default selection: each rule drops what it names, in order, with the numbers; nothing is dropped without one."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.measured import NO_SCORE, Row, caption, make_corpus, write_signals, write_verdicts

from curate.corpus import Corpus, Sample, UserError
from curate.select import Decisions, select_samples


def corpus_of(path: Path, count: int, *, per_shard: int = 8192) -> tuple[Corpus, list[Sample]]:
    samples = [caption(f"Caption {number}.", row=number) for number in range(1, count + 1)]
    return make_corpus(path / "curated", samples, per_shard=per_shard), samples


def rows(decisions: Decisions) -> list[Row]:
    return pq.read_table(decisions.path).to_pylist()


VIOLATIONS: list[tuple[str, Row, str]] = [
    ("unreadable_image", {"image_readable": False, "image_problem": "cut off"}, "cut off"),
    ("unreadable_image", {"image_readable": False}, "cannot be decoded"),
    ("wrong_extension", {"image_extension_ok": False}, "name of an image file"),
    ("near_blank", {"image_entropy": 0.4}, "0.4 bits"),
    ("too_small", {"image_min_side": 27}, "27 pixels; at least 28"),
    ("too_elongated", {"image_aspect": 250.04}, "250.0 times"),
    ("cut_off_text", {"text_cut_off": True}, "stops in the middle"),
    ("boilerplate", {"text_boilerplate": True}, "boilerplate"),
    ("missing_images", {"text_missing_images": 2}, "mentions 2 image(s)"),
    ("unplaced_images", {"pair_unplaced_images": 1}, "1 image(s)"),
    ("modality_conflict", {"pair_modality_conflict": True}, "another modality"),
    ("body_part_conflict", {"pair_body_part_conflict": True}, "another body part"),
]


@pytest.mark.parametrize(("rule", "signals", "words"), VIOLATIONS)
def test_each_signal_rule_drops_its_sample_and_says_why(tmp_path: Path, rule: str, signals: Row, words: str) -> None:
    corpus, (good, bad) = corpus_of(tmp_path, 2)
    write_signals(corpus, {bad.id: signals})
    decisions = select_samples(corpus)
    assert (decisions.total, decisions.kept, decisions.dropped) == (2, 1, {rule: 1})
    first, second = rows(decisions)
    assert first == {"id": good.id, "kept": True, "rule": None, "reason": None, "related": None, "copies": 1}
    assert (second["id"], second["kept"], second["rule"]) == (bad.id, False, rule)
    assert words in second["reason"]


@pytest.mark.parametrize(
    "signals",
    [
        {"image_entropy": 1.5},
        {"image_min_side": 28},
        {"image_aspect": 200.0},
        {"pair_modality_conflict": False},
        dict.fromkeys(
            ("image_readable", "image_extension_ok", "image_min_side", "image_aspect", "image_entropy"), None
        ),
    ],
)
def test_the_bounds_themselves_and_samples_without_images_are_kept(tmp_path: Path, signals: Row) -> None:
    corpus, (sample,) = corpus_of(tmp_path, 1)
    write_signals(corpus, {sample.id: signals})
    assert select_samples(corpus).kept == 1


def test_the_first_violated_rule_is_the_one_counted(tmp_path: Path) -> None:
    corpus, (sample,) = corpus_of(tmp_path, 1)
    write_signals(corpus, {sample.id: {"text_cut_off": True, "image_entropy": 0.0, "image_min_side": 4}})
    write_verdicts(corpus, {sample.id: {"judge_score": 0.2, "judge_verdict": "reject"}})
    decisions = select_samples(corpus, where="kind = 'query'")
    assert decisions.dropped == {"near_blank": 1}


def test_judged_samples_must_reach_the_score(tmp_path: Path) -> None:
    corpus, (low, edge, rejected) = corpus_of(tmp_path, 3)
    write_signals(corpus)
    verdicts = {
        low.id: {"judge_score": 2.8, "judge_verdict": "review"},
        edge.id: {"judge_score": 3.0},
        rejected.id: {"judge_score": 3.6, "judge_verdict": "reject"},
    }
    write_verdicts(corpus, verdicts)
    decisions = select_samples(corpus)
    assert decisions.dropped == {"judge_reject": 1, "low_score": 1}
    assert rows(decisions)[0]["reason"] == "the judge's mean score 2.8 is below 3"
    assert rows(decisions)[2]["reason"] == "the judge's verdict is reject (mean score 3.6)"
    assert select_samples(corpus, min_score=2.5).dropped == {"judge_reject": 1}
    with pytest.raises(UserError, match="scores go from 0 to 5"):
        select_samples(corpus, min_score=7)


def test_samples_without_a_score_are_kept_and_counted_unless_verdicts_are_required(tmp_path: Path) -> None:
    corpus, samples = corpus_of(tmp_path, 4)
    write_signals(corpus)
    unscored = dict(zip((s.id for s in samples), ("not_asked", "failed", "refused"), strict=False))
    write_verdicts(corpus, {name: NO_SCORE | {"judge_status": status} for name, status in unscored.items()})
    decisions = select_samples(corpus)
    assert (decisions.kept, decisions.judged) == (4, True)
    assert decisions.unjudged == {"failed": 1, "not_asked": 1, "refused": 1}
    required = select_samples(corpus, require_verdict=True)
    assert (required.dropped, required.unjudged) == ({"no_verdict": 3}, {})
    assert rows(required)[1]["reason"] == "it has no score (failed)"


def test_a_corpus_that_was_never_judged_is_selected_by_signals(tmp_path: Path) -> None:
    corpus, _ = corpus_of(tmp_path, 2)
    write_signals(corpus)
    decisions = select_samples(corpus)
    assert (decisions.kept, decisions.judged, decisions.unjudged) == (2, False, {})
    assert select_samples(corpus, require_verdict=True).dropped == {"no_verdict": 2}


def test_a_judge_that_reached_only_some_shards(tmp_path: Path) -> None:
    corpus, _ = corpus_of(tmp_path, 4, per_shard=2)
    write_signals(corpus)
    write_verdicts(corpus)
    corpus.facts_shard("verdicts", corpus.shards()[1]).unlink()
    decisions = select_samples(corpus)
    assert (decisions.kept, decisions.unjudged) == (4, {"not_asked": 2})


def test_the_first_dropped_samples_are_in_the_order_of_the_rules(tmp_path: Path) -> None:
    signals = [{"text_boilerplate": True}, {"image_min_side": 4}, {"image_entropy": 0.0}, {"text_cut_off": True}]
    corpus, samples = corpus_of(tmp_path, 4)
    write_signals(corpus, {sample.id: row for sample, row in zip(samples, signals, strict=True)})
    first = select_samples(corpus).first_dropped(corpus.shards())
    assert list(first) == ["near_blank", "too_small", "cut_off_text", "boilerplate"]


def test_decisions_have_a_row_group_for_each_shard(tmp_path: Path) -> None:
    corpus, samples = corpus_of(tmp_path, 5, per_shard=2)
    write_signals(corpus, {samples[2].id: {"text_cut_off": True}})
    decisions = select_samples(corpus, name="mine")
    assert decisions.path == corpus.path / "decisions" / "mine.parquet"
    kept = [decisions.kept_rows(shard).to_pylist() for shard in range(3)]
    assert kept == [[True, True], [False, True], [True]]
    assert decisions.dropped_rows().column("id").to_pylist() == [samples[2].id]


def test_selecting_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    corpus, samples = corpus_of(tmp_path, 5, per_shard=2)
    write_signals(corpus, {samples[0].id: {"image_min_side": 3}})
    first = select_samples(corpus).path.read_bytes()
    assert select_samples(corpus).path.read_bytes() == first


def test_without_signals_the_user_is_sent_to_score(tmp_path: Path) -> None:
    corpus, _ = corpus_of(tmp_path, 1)
    with pytest.raises(UserError, match=r"not measured yet; run: curate score .*curated$"):
        select_samples(corpus)
    assert not (corpus.path / "decisions" / "default.parquet").exists()


def test_signals_of_other_samples_are_refused(tmp_path: Path) -> None:
    corpus, _ = corpus_of(tmp_path, 2)
    write_signals(corpus)
    path = corpus.facts_shard("signals", corpus.shards()[0])
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "id", pa.array(["0" * 64, "1" * 64])), path)
    with pytest.raises(UserError, match="is about other samples"):
        select_samples(corpus)


def test_verdicts_are_found_by_id_after_an_ingest_moved_their_samples(tmp_path: Path) -> None:
    samples = [caption(f"Caption {number}.", row=number) for number in range(1, 6)]
    write_verdicts(
        make_corpus(tmp_path / "curated", samples[:4], per_shard=2),
        {sample.id: {"judge_score": score} for sample, score in zip(samples, (1.0, 4.1, 4.2, 2.0), strict=False)},
    )
    corpus = make_corpus(tmp_path / "curated", [samples[4], *reversed(samples[:4])], per_shard=3)
    write_signals(corpus)
    decisions = select_samples(corpus)
    assert [row["reason"] for row in rows(decisions)] == [
        None,
        "the judge's mean score 2.0 is below 3",
        None,
        None,
        "the judge's mean score 1.0 is below 3",
    ]
    assert (decisions.judged, decisions.unjudged) == (True, {"not_asked": 1})


def test_of_two_verdicts_on_a_sample_the_one_with_a_score_counts(tmp_path: Path) -> None:
    corpus, (first, second) = corpus_of(tmp_path, 2, per_shard=1)
    write_verdicts(corpus, {first.id: NO_SCORE | {"judge_status": "failed"}, second.id: {"judge_score": 1.5}})
    shards = [corpus.facts_shard("verdicts", shard) for shard in corpus.shards()]
    both = [pq.read_table(path) for path in shards]
    pq.write_table(both[1].set_column(0, "id", pa.array([first.id])), shards[1])
    corpus = make_corpus(corpus.path, [second, first], per_shard=1)
    write_signals(corpus)
    assert [row["rule"] for row in rows(select_samples(corpus))] == [None, "low_score"]


def test_a_damaged_verdict_shard_is_a_sentence_where_it_is_searched_too(tmp_path: Path) -> None:
    corpus, _ = corpus_of(tmp_path, 2, per_shard=1)
    write_signals(corpus)
    write_verdicts(corpus)
    first, second = (corpus.facts_shard("verdicts", shard) for shard in corpus.shards())
    first.unlink()
    second.write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match=r"verdicts in .* cannot be read"):
        select_samples(corpus)


def test_samples_that_may_identify_a_patient_are_dropped_unless_their_source_is_declared(tmp_path: Path) -> None:
    samples = [
        caption("A scan.", source="ward", privacy="identified", row=1),
        caption("Another.", source="archive", privacy="identified", row=2),
        caption("Marked.", source="ward", privacy="deidentified", row=3),
        caption("No DICOM.", source="ward", row=4),
    ]
    corpus = make_corpus(tmp_path / "curated", samples)
    write_signals(corpus, {samples[0].id: {"image_readable": False}})
    decisions = select_samples(corpus)
    assert decisions.dropped == {"not_deidentified": 2}
    assert rows(decisions)[0]["reason"] == (
        "its DICOM files are not marked as de-identified (declare the source with --declare-deidentified SOURCE, or "
        "declare_deidentified in a policy)"
    )
    declared = select_samples(corpus, declared=["ward"])
    assert [row["rule"] for row in rows(declared)] == ["unreadable_image", "not_deidentified", None, None]
    assert select_samples(corpus, declared={"ward", "archive"}).dropped == {"unreadable_image": 1}


def test_a_damaged_facts_shard_is_a_sentence(tmp_path: Path) -> None:
    corpus, _ = corpus_of(tmp_path, 1)
    write_signals(corpus)
    write_verdicts(corpus)
    corpus.facts_shard("verdicts", corpus.shards()[0]).write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="cannot be read"):
        select_samples(corpus)


def test_an_empty_corpus_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no samples"):
        select_samples(make_corpus(tmp_path / "curated", []))


def test_a_rule_that_is_ignored_drops_nothing_and_the_next_one_counts(tmp_path: Path) -> None:
    corpus, samples = corpus_of(tmp_path, 2)
    write_signals(
        corpus, {samples[0].id: {"text_cut_off": True}, samples[1].id: {"text_cut_off": True, "image_min_side": 5}}
    )
    assert select_samples(corpus, ignore=["cut_off_text"]).dropped == {"too_small": 1}
    assert select_samples(corpus, ignore=["cut_off_text", "too_small"]).dropped == {}
    with pytest.raises(UserError, match=r"no such rule to ignore: cutoff; did you mean cut_off_text"):
        select_samples(corpus, ignore=["cutoff"])
