"""Subsets that fail are removed whole, by a confidence bound on a judged random sample."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.measured import NO_SCORE, Row, caption, make_corpus, write_signals, write_verdicts

from curate.corpus import Corpus, Sample
from curate.select import Decisions, Policy, select_by_policy
from curate.select.policy_sections import DropRule, JudgeGate, SubsetGate
from curate.select.statistics import wilson_interval

LENIENT = JudgeGate(min_score=0, drop_verdicts=[])


def no_hash(_: bytes) -> int | None:
    return None


def select(corpus: Corpus, gate: SubsetGate, **fields: object) -> Decisions:
    policy = Policy(name="gated", judge=LENIENT, subsets=gate, **fields)  # type: ignore[arg-type]
    with corpus.lock():
        return select_by_policy(corpus, policy, picture_hash=no_hash)


def verdicts(decisions: Decisions) -> dict[str, Row]:
    return {entry["source"]: entry for entry in decisions.account["stages"]["subsets"]["subsets"]}


def judged_corpus(path: Path, scores: dict[str, list[float | None]]) -> tuple[Corpus, list[Sample]]:
    """Samples with these scores by source, in the order of their ids; None is not asked."""
    samples, rows = [], {}
    for source, values in scores.items():
        texts = [caption(f"{source} number {n}.", source=source) for n in range(len(values))]
        for sample, score in zip(sorted(texts, key=lambda sample: sample.id), values, strict=True):
            samples.append(sample)
            rows[sample.id] = (NO_SCORE | {"judge_status": "not_asked"}) if score is None else {"judge_score": score}
    corpus = make_corpus(path / "curated", random.Random(0).sample(samples, len(samples)), per_shard=64)
    write_signals(corpus)
    write_verdicts(corpus, rows)
    return corpus, samples


def test_a_subset_that_fails_goes_whole_and_an_unlucky_one_stays(tmp_path: Path) -> None:
    scores = {
        "bad": [4.0] * 10 + [1.0] * 40 + [None] * 100,
        "good": [4.0] * 48 + [1.0] * 2 + [None] * 100,
        "unsure": [4.0] * 33 + [1.0] * 17 + [None] * 100,
        "few": [1.0] * 8 + [None] * 100,
        "unjudged": [None] * 20,
    }
    corpus, _ = judged_corpus(tmp_path, scores)
    decisions = select(corpus, SubsetGate(min_pass_share=0.7, min_judged=30))
    found = verdicts(decisions)
    assert {source: (entry["decision"], entry["decided"]) for source, entry in found.items()} == {
        "bad": ("drop", True),
        "good": ("keep", True),
        "unsure": ("keep", False),
        "few": ("keep", False),
        "unjudged": ("keep", False),
    }
    assert decisions.dropped == {"subset": 150}
    dropped = decisions.dropped_rows().to_pylist()
    assert {row["reason"] for row in dropped} == {found["bad"]["sentence"]}
    assert "10 of 50 judged samples pass" in found["bad"]["sentence"]
    low, high = wilson_interval(10, 50)
    assert (found["bad"]["low"], found["bad"]["high"]) == (round(low, 4), round(high, 4))
    assert select(corpus, SubsetGate(undecided="drop")).kept == 150


def test_what_it_would_take_is_true(tmp_path: Path) -> None:
    corpus, _ = judged_corpus(tmp_path, {"bad": [4.0] * 10 + [1.0] * 40})
    gate = SubsetGate(min_pass_share=0.7)
    with pytest.raises(Exception, match="keeps nothing"):
        select(corpus, gate)
    high = wilson_interval(10, 50)[1]
    assert select(corpus, SubsetGate(min_pass_share=int(high * 1000) / 1000)).kept == 50
    enough = next(n for n in range(51) if wilson_interval(n, 50)[1] >= 0.7)
    corpus, _ = judged_corpus(tmp_path / "more", {"bad": [4.0] * enough + [1.0] * (50 - enough)})
    assert select(corpus, gate).kept == 50
    corpus, _ = judged_corpus(
        tmp_path / "fewer", {"bad": [4.0] * (enough - 1) + [1.0] * (51 - enough), "o": [4.0] * 40}
    )
    assert f"{enough} of 50 would keep it" in verdicts(select(corpus, gate))["bad"]["sentence"]


def test_the_number_of_judged_samples_that_would_decide_does(tmp_path: Path) -> None:
    corpus, _ = judged_corpus(tmp_path, {"unsure": [4.0] * 24 + [1.0] * 16})
    sentence = verdicts(select(corpus, SubsetGate(min_pass_share=0.7)))["unsure"]["sentence"]
    more = int(sentence.partition("about ")[2].split()[0].replace(",", ""))
    assert wilson_interval(0.6 * more, more)[1] < 0.7 <= wilson_interval(0.6 * (more - 1), more - 1)[1]


def test_an_interrupted_judge_has_not_judged_at_random(tmp_path: Path) -> None:
    """What was judged first all fails, but only those with the smallest ids are a random choice."""
    corpus, _ = judged_corpus(tmp_path, {"half": [4.0] * 5 + [None] + [1.0] * 60 + [None] * 50})
    found = verdicts(select(corpus, SubsetGate(min_judged=5, min_pass_share=0.3)))["half"]
    assert (found["judged"], found["passed"], found["decision"]) == (5, 5, "keep")


def test_samples_that_a_rule_drops_anyway_say_nothing_about_their_subset(tmp_path: Path) -> None:
    samples = [caption(f"Number {n}.", source="mixed") for n in range(80)]
    bad = {sample.id for sample in samples[:40]}
    corpus = make_corpus(tmp_path / "curated", samples)
    write_signals(corpus, {identity: {"image_entropy": 0.1} for identity in bad})
    write_verdicts(corpus, {identity: {"judge_score": 1.0} for identity in bad})
    decisions = select(corpus, SubsetGate())
    assert decisions.dropped == {"near_blank": 40}
    assert verdicts(decisions)["mixed"]["passed"] == verdicts(decisions)["mixed"]["judged"] == 40
    ruled = select(corpus, SubsetGate(), rules=[DropRule(name="low", when="judge_score < 2", reason="low")])
    assert ruled.dropped == {"near_blank": 40}


def test_refused_and_failed_samples_are_no_evidence(tmp_path: Path) -> None:
    samples = [caption(f"Number {n}.", source="s") for n in range(60)]
    corpus = make_corpus(tmp_path / "curated", samples)
    write_signals(corpus)
    status = {n: "refused" if n % 2 else "failed" for n in range(20)}
    write_verdicts(corpus, {samples[n].id: NO_SCORE | {"judge_status": word} for n, word in status.items()})
    found = verdicts(select(corpus, SubsetGate()))["s"]
    assert (found["samples"], found["judged"], found["passed"]) == (40, 40, 40)
