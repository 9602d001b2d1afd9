"""Saved responses: the shapes of rows, groups, and the prompts that rollout dumps leave out."""

from typing import Any

import pytest

from curate.rewards import RewardError, compute_score
from curate.rewards.offline import OfflineScores
from curate.rewards.rollout import Prompts

CHOICES = ["Lung", "Liver", "Spleen"]


def answer(text: str) -> str:
    return f"<think>t</think><answer>{text}</answer>"


def scores_of(*rows: dict[str, Any], **options: Any) -> OfflineScores:
    scores = OfflineScores(**options)
    for number, row in enumerate(rows, start=1):
        assert scores.add("saved.jsonl", number, row) is None
    return scores


def groups_of(scores: OfflineScores) -> list[str | None]:
    return [row["group"] for row in scores.rows()]


def test_every_shape_of_a_row_gets_the_score_of_training() -> None:
    extra = {"query_type": "choice", "choices": CHOICES, "id": "q"}
    rows: list[dict[str, Any]] = [
        {"response": answer("Liver"), "ground_truth": "B", "query_type": "choice", "choices": CHOICES, "source": "s"},
        {"responses": [answer("Liver"), answer("A")], "answer": ["B"], "query_type": "choice", "choices": CHOICES},
        {
            "data_source": "slake",
            "reward_model": {"style": "rule", "ground_truth": "B"},
            "extra_info": extra,
            "responses": [answer("(B) Liver")],
        },
        {"input": "user\nWhich?", "output": answer("B"), "gts": "B", "score": 1.0, "step": 3, "query_type": "choice"},
    ]
    scores = scores_of(*rows)
    found = list(scores.rows())
    assert [row["score"] for row in found] == [1.0, 1.0, 0.1, 1.0, 1.0]
    assert [row["data_source"] for row in found] == ["s", "saved.jsonl", "saved.jsonl", "slake", "saved.jsonl"]
    assert [(row["row"], row["response"]) for row in found] == [(1, 0), (2, 0), (2, 1), (3, 0), (4, 0)]
    assert [row["pred"] for row in found] == ["liver", "liver", "a", "(b) liver", "b"]
    expected = compute_score("slake", answer("(B) Liver"), "B", extra)
    assert {key: found[3][key] for key in expected} == expected


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"answer": "B", "query_type": "exact"}, "there is no response"),
        ({"answer": "B", "query_type": "exact", "responses": []}, "there is no response"),
        ({"response": "x", "query_type": "exact"}, "there is no reference"),
        ({"response": "x", "query_type": "exact", "answer": ""}, "there is no reference"),
        ({"response": "x", "answer": "B"}, "there is no query_type"),
        ({"response": "x", "answer": "B", "query_type": "essay"}, "no reward is known for query_type 'essay'"),
    ],
)
def test_a_row_that_cannot_be_scored_is_told_and_counts_nowhere(row: dict[str, Any], problem: str) -> None:
    scores = OfflineScores()
    assert problem in str(scores.add("saved.jsonl", 1, row))
    assert len(scores) == 0


def test_a_reference_that_nothing_matches_is_told_and_scored() -> None:
    scores = OfflineScores()
    row = {"response": answer("A"), "answer": "E", "query_type": "choice", "choices": CHOICES}
    assert "'E' is no choice answer" in str(scores.add("saved.jsonl", 1, row))
    assert "'E' is no choice answer" in str(scores.add("saved.jsonl", 2, row))
    assert len(scores) == 2


def test_a_number_as_reference_is_one_even_when_it_is_zero() -> None:
    row = {"response": answer("0"), "answer": 0, "query_type": "numeric", "reward_model": {"ground_truth": "7"}}
    assert [r["score"] for r in scores_of(row).rows()] == [1.0]


def test_wrong_options_are_refused_at_once() -> None:
    with pytest.raises(RewardError, match="must sum to 1"):
        OfflineScores(format_weight=0.5)
    with pytest.raises(RewardError, match="'essay'"):
        OfflineScores(query_type="essay")


def test_options_reach_the_reward() -> None:
    row = {"response": "<answer>104</answer>", "answer": "100", "query_type": "numeric"}
    assert [r["score"] for r in scores_of(row).rows()] == [0.1]
    assert [r["score"] for r in scores_of(row, relative_tolerance=0.05).rows()] == [1.0]
    assert [r["score"] for r in scores_of(row, require_think=True).rows()] == [0.0]


def test_what_makes_a_group() -> None:
    base = {"response": answer("x"), "answer": "x", "query_type": "exact"}
    dump = {"output": answer("x"), "gts": "x", "query_type": "exact", "input": "Which?"}
    assert groups_of(scores_of(base)) == [None]
    assert groups_of(scores_of({**base, "id": 7})) == ["7"]
    assert groups_of(scores_of({**base, "group": "g", "id": 7})) == ["g"]
    assert groups_of(scores_of({**base, "id": 7, "question": 0}, group_field="question")) == ["0"]
    assert groups_of(scores_of({**base, "extra_info": {"id": "e"}})) == ["e"]
    assert groups_of(scores_of({**base, "extra_info": {"index": 0}, "source": "s"})) == ["s:0"]
    assert groups_of(scores_of({**dump, "step": 2, "uid": "ab_c_3_0"})) == ["2:ab_c"]
    assert groups_of(scores_of({**dump, "step": 2})) == ["2:Which?:x"]
    assert groups_of(scores_of({"responses": [answer("x")] * 2, "answer": "x", "query_type": "exact"})) == [
        "saved.jsonl:1",
        "saved.jsonl:1",
    ]


def test_advantages_are_taken_inside_groups() -> None:
    base = {"answer": "x", "query_type": "exact"}
    scores = scores_of(
        {**base, "id": 1, "response": answer("x")},
        {**base, "id": 2, "response": answer("x")},
        {**base, "id": 1, "response": answer("y")},
        {**base, "id": 2, "response": answer("x")},
        {**base, "id": 3, "response": answer("x")},
        {**base, "response": answer("x")},
    )
    found = [row["advantage"] for row in scores.rows()]
    assert found[0] == pytest.approx(0.5**0.5)
    assert found[2] == pytest.approx(-(0.5**0.5))
    assert found[1] == found[3] == 0.0
    assert found[4:] == [None, None]
    groups = scores.groups()
    assert (groups.groups, groups.single_responses, groups.no_spread_in_accuracy) == (2, 2, 1)


def test_slices_and_histogram() -> None:
    scores = scores_of(
        {"source": "a", "answer": "x", "query_type": "exact", "responses": [answer("x"), answer("y"), "x", "x"]},
        {"source": "b", "answer": "yes", "query_type": "yes_no", "responses": [answer("maybe"), answer("no")]},
        {"source": "a", "answer": "a b c", "query_type": "jaccard", "response": answer("a b")},
    )
    assert scores.slices() == [
        ("exact", "a", 4, pytest.approx(0.275), 0.5, 0.25, 0.0),
        ("jaccard", "a", 1, pytest.approx(0.7), 1.0, pytest.approx(2 / 3), 0.0),
        ("yes_no", "b", 2, pytest.approx(0.1), 1.0, 0.0, 0.5),
    ]
    assert [count for _, _, count in scores.histogram()] == [2, 3, 0, 0, 0, 0, 0, 1, 0, 1]


def verl_row(question: str, truth: Any, source: str = "slake", **extra: Any) -> dict[str, Any]:
    return {
        "data_source": source,
        "prompt": [{"role": "system", "content": "Think."}, {"role": "user", "content": question}],
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {"split": "train", "index": 0, "id": question, **extra},
    }


def dump_line(question: str, output: str, truth: Any, score: float, rollout: int = 0) -> dict[str, Any]:
    shown = f"system\nThink.\nuser\n{question.replace('<image>', '')}\nassistant\n"
    return {"input": shown, "output": output, "gts": truth, "score": score, "step": 1, "uid": f"u_{rollout}_0"}


def test_rollouts_are_completed_from_the_file_that_was_trained_on() -> None:
    question = "<image>\nWhich organ?\nA. Lung\nB. Liver\nC. Spleen"
    prompts = Prompts()
    for row in (
        verl_row(question, "B", query_type="choice", choices=CHOICES),
        verl_row(f"{question} ", "B", query_type="choice", choices=CHOICES),
        verl_row("Which organ?", "B", query_type="exact"),
        verl_row("Same?", "yes", "rad", query_type="yes_no"),
        verl_row("<image>", "no", query_type="yes_no"),
    ):
        prompts.add(row)
    lines = [
        dump_line(question, answer("(B) Liver"), "B", 1.0),
        dump_line(question, answer("(A) Lung"), "B", 0.1, 1),
        dump_line("Same?", answer("true"), "yes", 1.0),
    ]
    scores = scores_of(*lines, prompts=prompts)
    assert [row["score"] for row in scores.rows()] == [1.0, 0.1, 1.0]
    assert [row["data_source"] for row in scores.rows()] == ["slake", "slake", "rad"]
    assert (scores.recorded, scores.differing) == (3, 0)


def test_a_rollout_whose_prompt_is_unknown_or_ambiguous_is_told() -> None:
    prompts = Prompts()
    prompts.add(verl_row("Which?", "B", query_type="choice", choices=CHOICES))
    prompts.add(verl_row("Which?", "B", query_type="choice", choices=["Hip", "Knee"]))
    prompts.add(verl_row("Same?", "yes", query_type="yes_no"))
    scores = OfflineScores(prompts=prompts)
    assert "several rows" in str(scores.add("f", 1, dump_line("Which?", "x", "B", 0.0)))
    assert "not in the file" in str(scores.add("f", 2, dump_line("Other?", "x", "yes", 0.0)))
    assert "not in the file" in str(scores.add("f", 3, dump_line("Same?", "x", "no", 0.0)))


def test_scores_that_differ_from_training_are_counted() -> None:
    lines = [
        {**dump_line("Which?", answer("(B) Liver"), "B", 1.0), "query_type": "choice"},
        {**dump_line("Which?", answer("B"), "B", 1.0), "query_type": "choice"},
        {**dump_line("Which?", answer("A"), "B", "0.1"), "query_type": "choice"},  # type: ignore[arg-type]
    ]
    scores = scores_of(*lines)
    assert (scores.recorded, scores.differing) == (2, 1)


def test_a_score_at_the_edge_of_a_range_belongs_to_the_upper_one() -> None:
    row = {"answer": "a b c d e f g", "query_type": "jaccard", "response": answer("a")}
    histogram = scores_of(row, format_weight=0.3, accuracy_weight=0.7).histogram()
    assert [low for low, _, count in histogram if count] == [0.4]
