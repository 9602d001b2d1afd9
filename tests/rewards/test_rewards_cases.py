"""The table of hand-made answers: each says what the reward must be, and why."""

import json
from pathlib import Path
from typing import Any

import pytest

from curate.rewards import compute_score
from curate.rewards.offline import OfflineScores

GROUPS = json.loads((Path(__file__).parent / "cases.json").read_text("utf-8"))
ANSWERS = [(group, *case) for group in GROUPS for case in group.get("answers", ())]
OUTPUTS = [(group, *case) for group in GROUPS for case in group.get("outputs", ())]


def extra_info(group: dict[str, Any]) -> dict[str, Any]:
    return {"query_type": group["query_type"], "choices": group.get("choices"), **group.get("extra", {})}


def answer(said: str) -> str:
    return f"<think>Because.</think>\n<answer>{said}</answer>"


@pytest.mark.parametrize(
    ("group", "said", "accuracy", "why"), ANSWERS, ids=[f"{c[0]['query_type']}-{c[1]!r}-{c[3]}" for c in ANSWERS]
)
def test_answer(group: dict[str, Any], said: str, accuracy: float, why: str) -> None:
    score = compute_score("table", answer(said), group["truth"], extra_info(group))
    assert (score["format"], score["accuracy"]) == (1.0, accuracy), why
    assert score["score"] == pytest.approx(0.1 + 0.9 * accuracy)


@pytest.mark.parametrize(("group", "output", "form", "accuracy", "why"), OUTPUTS, ids=[repr(c[1]) for c in OUTPUTS])
def test_output(group: dict[str, Any], output: str, form: float, accuracy: float, why: str) -> None:
    score = compute_score("table", output, group["truth"], extra_info(group))
    assert (score["format"], score["accuracy"]) == (form, accuracy), why
    assert score["score"] == pytest.approx(0.1 * form + 0.9 * accuracy)


@pytest.mark.parametrize("accuracy", [0, 1])
def test_an_all_right_policy_scores_one_and_an_all_wrong_one_zero_on_every_type(accuracy: int) -> None:
    scores = OfflineScores(format_weight=0.0, accuracy_weight=1.0)
    rows = [
        {"ground_truth": group["truth"], "extra_info": extra_info(group), "data_source": "t", "response": answer(said)}
        for group, said, right, _ in ANSWERS
        if right == accuracy
    ]
    for number, row in enumerate(rows):
        assert scores.add("table", number, row) is None
    assert {part.query_type: (part.score, part.accuracy, part.format) for part in scores.slices()} == dict.fromkeys(
        ("choice", "multi_choice", "exact", "jaccard", "yes_no", "numeric"), (accuracy, accuracy, 1.0)
    )


def test_the_table_covers_every_type_with_right_and_wrong_in_both_languages() -> None:
    assert len(ANSWERS) + len(OUTPUTS) >= 150
    for query_type in ("choice", "multi_choice", "exact", "jaccard", "yes_no", "numeric"):
        cases = [case for case in ANSWERS if case[0]["query_type"] == query_type]
        chinese = [any("\u4e00" <= char <= "\u9fff" for char in case[1]) for case in cases]
        for accuracy in (0, 1):
            assert sum(case[2] == accuracy for case in cases) >= 5, query_type
        assert sum(chinese) >= 2, query_type
