"""compute_score as verl calls it: format, weights, what is handed in, what comes out, what is refused."""

from typing import Any

import numpy as np
import pytest

from curate.rewards import RewardError, compute_score, known_types, reference_problem
from curate.rewards.inputs import choices_of
from curate.rewards.score import LONGEST_ANSWER

EXACT = {"query_type": "exact"}
CHOICES = ["Pneumonia", "Cyst", "Normal"]
KEYS = {
    "score": float,
    "format": float,
    "accuracy": float,
    "answer_found": float,
    "answer_read": float,
    "pred": str,
    "query_type": str,
}


def accuracy(answer: str, truth: Any, **extra: Any) -> float:
    return compute_score("s", f"<answer>{answer}</answer>", truth, extra)["accuracy"]


@pytest.mark.parametrize(
    "response",
    ["<answer>liver</answer>", "<answer>lung</answer>", "liver", "", None, 3, ["x"], b"<answer>liver</answer>"],
)
def test_the_keys_and_their_types_never_change(response: Any) -> None:
    score = compute_score(data_source="s", solution_str=response, ground_truth="liver", extra_info=EXACT)
    assert {key: type(value) for key, value in score.items()} == KEYS


def test_pred_is_the_normalised_answer_and_short() -> None:
    assert compute_score("s", "<answer> Liver. </answer>", "liver", EXACT)["pred"] == "liver"
    assert len(compute_score("s", f"<answer>{'x' * 9999}</answer>", "liver", EXACT)["pred"]) == 200
    assert compute_score("s", "<answer>a\ud800</answer>", "liver", EXACT)["pred"].encode() == b"a?"


def test_weights() -> None:
    right, wrong = "<answer>liver</answer>", "<answer>lung</answer>"
    assert compute_score("s", right, "liver", EXACT)["score"] == 1.0
    assert compute_score("s", wrong, "liver", EXACT)["score"] == 0.1
    weights = {"format_weight": 0.25, "accuracy_weight": 0.75}
    assert compute_score("s", right, "liver", EXACT, **weights)["score"] == 1.0
    assert compute_score("s", wrong, "liver", EXACT, **weights)["score"] == 0.25
    assert compute_score("s", wrong, "liver", EXACT, format_weight=0, accuracy_weight=1)["score"] == 0.0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"format_weight": 0.2}, "must sum to 1"),
        ({"format_weight": -0.1, "accuracy_weight": 1.1}, "format_weight is -0.1"),
        ({"format_weight": "0.1"}, "format_weight is '0.1'"),
        ({"format_weight": True, "accuracy_weight": 0.0}, "format_weight is True"),
        ({"accuracy_weight": float("nan")}, "accuracy_weight is nan"),
        ({"accuracy_weight": None}, "accuracy_weight is None"),
        ({"relative_tolerance": -1.0}, "relative_tolerance is -1.0"),
        ({"fromat_weight": 0.1}, "no argument fromat_weight"),
    ],
)
def test_wrong_options_are_refused(weights: dict[str, Any], message: str) -> None:
    with pytest.raises(RewardError, match=message):
        compute_score("s", "<answer>liver</answer>", "liver", EXACT, **weights)


def test_arguments_that_verl_adds_for_a_reward_model_are_accepted() -> None:
    score = compute_score(
        "s", "<answer>liver</answer>", "liver", EXACT, reward_router_address="host:1", reward_model_tokenizer=object()
    )
    assert score["score"] == 1.0


@pytest.mark.parametrize("extra", [None, {}, {"query_type": None}, {"query_type": ""}, {"query_type": 3}, "exact"])
def test_a_missing_query_type_is_refused(extra: Any) -> None:
    with pytest.raises(RewardError, match="no query_type"):
        compute_score("s", "<answer>x</answer>", "x", extra)


def test_an_unknown_query_type_is_refused_with_those_there_are() -> None:
    with pytest.raises(RewardError, match=r"'free_text'; there are: .*choice.*jaccard.*CURATE_REWARDS"):
        compute_score("s", "no tags at all", "x", {"query_type": "free_text"})
    with pytest.raises(RewardError, match="free_text"):
        reference_problem("x", {"query_type": "free_text"})


def test_a_thought_can_be_required() -> None:
    def form(response: str, **options: Any) -> tuple[float, float]:
        score = compute_score("s", response, "liver", EXACT, require_think=True, **options)
        return score["format"], score["answer_found"]

    assert form("<think>large organ</think><answer>liver</answer>") == (1.0, 1.0)
    assert form(" \n<think>large organ</think>\n<answer>liver</answer>") == (1.0, 1.0)
    assert form("<answer>liver</answer>") == (0.0, 1.0)
    assert form("<think> </think><answer>liver</answer>") == (0.0, 1.0)
    assert form("<think>large organ<answer>liver</answer>") == (0.0, 1.0)
    assert form("It is the liver. <think>large organ</think><answer>liver</answer>") == (0.0, 1.0)
    assert form("<think>large organ</think>liver") == (0.0, 0.0)


def test_a_thought_that_the_prompt_opened() -> None:
    response = "is it <answer>spleen</answer>? no</think><answer>liver</answer>"
    assert compute_score("s", response, "liver", EXACT)["format"] == 0.0
    for text in (response, f"<think>{response}"):
        score = compute_score("s", text, "liver", EXACT, think_opened=True, require_think=True)
        assert score["score"] == 1.0
    unclosed = compute_score("s", "large <answer>liver</answer>", "liver", EXACT, think_opened=True, require_think=True)
    assert unclosed["format"] == 0.0


@pytest.mark.parametrize(
    "truth",
    [
        "liver",
        np.str_("liver"),
        b"liver",
        ["liver"],
        ("spleen", "liver"),
        {"liver"},
        np.array("liver"),
        np.array(["spleen", "liver"]),
        np.array(["spleen", "liver"], dtype=object),
        [np.str_("liver"), None],
        [["spleen"], ["liver"]],
    ],
)
def test_references_as_verl_and_arrow_pass_them(truth: Any) -> None:
    assert accuracy("Liver", truth, query_type=np.str_("exact")) == 1.0
    assert compute_score(np.str_("s"), np.str_("<answer>liver</answer>"), truth, EXACT)["score"] == 1.0


@pytest.mark.parametrize("truth", [2, 2.0, np.int64(2), np.float64(2.0), np.array([2, 7]), "2"])
def test_numbers_as_references(truth: Any) -> None:
    assert accuracy("2", truth, query_type="numeric") == 1.0
    assert accuracy("3", truth, query_type="numeric") == 0.0


@pytest.mark.parametrize(
    "truth", [None, "", "  ", [], [None, ""], float("nan"), {"answer": "x"}, object(), np.array([])]
)
def test_without_a_reference_nothing_is_right_and_nothing_raises(truth: Any) -> None:
    for query_type in known_types():
        for answer in ("x", "A", "", "nan", "None", "yes", "0"):
            assert accuracy(answer, truth, query_type=query_type, choices=CHOICES) == 0.0


@pytest.mark.parametrize("query_type", known_types())
@pytest.mark.parametrize("truth", ["A", "yes", "1", ".", "-", "。", "\u200b"])
def test_an_empty_answer_is_never_right(query_type: str, truth: str) -> None:
    for answer in ("", " ", "\n", ".", "。", "\u200b", "\u0000", "()", "**", "\u3000", "?!", "\u00a0"):
        assert accuracy(answer, truth, query_type=query_type, choices=CHOICES) == 0.0
        assert accuracy(answer, truth, query_type=query_type) == 0.0


@pytest.mark.parametrize(
    "choices",
    [
        CHOICES,
        tuple(CHOICES),
        np.array(CHOICES),
        {"A": "Pneumonia", "B": "Cyst", "C": "Normal", "D": None, "E": None},
        [{"label": "A", "text": "Pneumonia"}, {"label": "B", "text": "Cyst"}, {"label": "C", "text": "Normal"}],
        np.array([{"label": "B", "text": "Cyst"}, {"label": "A", "text": "Pneumonia"}, None], dtype=object),
        [{"label": np.str_("B"), "text": np.str_("Cyst")}, {"label": None, "text": None}],
        [None, "Cyst", None],
    ],
)
def test_choices_as_verl_and_arrow_pass_them(choices: Any) -> None:
    for truth in ("B", "Cyst"):
        for answer in ("B", "cyst", "(B) Cyst"):
            assert accuracy(answer, truth, query_type="choice", choices=choices) == 1.0
            assert accuracy(answer, [truth], query_type="multi_choice", choices=choices) == 1.0


@pytest.mark.parametrize(
    "choices", [None, "ABC", 5, object(), [], {}, [1, 2], [[1], {"label": "A"}], {"A": []}, [object()]]
)
def test_choices_that_are_none_do_not_raise(choices: Any) -> None:
    for query_type in ("choice", "multi_choice"):
        assert accuracy("B", "B", query_type=query_type, choices=choices) in (0.0, 1.0)


def test_an_option_without_a_letter_or_a_text_is_left_out() -> None:
    structs = [
        {"label": None, "text": "Cyst"},
        {"label": "B", "text": None},
        {"text": "x"},
        {"label": "D", "text": "y"},
    ]
    assert choices_of(structs) == (("D", "y"),)


def test_an_infinite_number_is_no_number() -> None:
    for number in ("1e999", "9" * 400, "-1e999"):
        assert compute_score("s", f"<answer>{number}</answer>", "2", {"query_type": "numeric"})["answer_read"] == 0.0


def test_exports_put_all_references_beside_the_first() -> None:
    assert (
        accuracy("bone scan", "bone scintigraphy", query_type="exact", answers=["bone scintigraphy", "bone scan"])
        == 1.0
    )
    extra = {"query_type": "multi_choice", "choices": ["Pain, local", "Rash", "Fever"]}
    assert accuracy("A, C", "Pain, local, Fever", answers=["Pain, local", "Fever"], **extra) == 1.0
    assert accuracy("C", "Pain, local, Fever", answers=["Pain, local", "Fever"], **extra) == 0.0


def test_a_tolerance_of_the_row_that_is_none_makes_nothing_right() -> None:
    assert accuracy("2", "2", query_type="numeric", relative_tolerance="wide") == 0.0
    assert accuracy("2", "2", query_type="numeric", absolute_tolerance=-1) == 0.0
    assert accuracy("2.4", "2", query_type="numeric", absolute_tolerance=0.5, relative_tolerance=None) == 1.0
    score = compute_score("s", "<answer>2.4</answer>", 2, {"query_type": "numeric"}, relative_tolerance=0.2)
    assert score["accuracy"] == 1.0


def test_whether_the_answer_could_be_read_is_told_apart_from_being_wrong() -> None:
    extra = {"query_type": "choice", "choices": CHOICES}
    read = {
        a: compute_score("s", f"<answer>{a}</answer>", "B", extra)["answer_read"] for a in ("A", "B", "A or B", "E")
    }
    assert read == {"A": 1.0, "B": 1.0, "A or B": 0.0, "E": 0.0}


@pytest.mark.parametrize("query_type", known_types())
@pytest.mark.parametrize(
    "response",
    [
        "<think>" * 100_000 + "</think>" * 100_000 + "<answer>" * 100_000 + "B" + "</answer>" * 100_000,
        "<think>" + "x" * 3_000_000,
        "<answer>" + "<answer" * 300_000,
        "\0" * 3_000_000,
        "<answer>" + "B, " * 500_000 + "</answer>",
        "<answer>" + "\u0301\u0316" * 500_000 + "</answer>",
        "<answer>" + "\u0301\u0316" * (LONGEST_ANSWER // 2 - 1) + "</answer>",
        "<answer>" + "A," * (LONGEST_ANSWER // 2 - 1) + "</answer>",
        "<answer>" + "the " * (LONGEST_ANSWER // 4 - 1) + "</answer>",
        "<answer>" + "9" * (LONGEST_ANSWER - 1) + "</answer>",
        "<answer>1" + "/s" * (LONGEST_ANSWER // 2 - 1) + "</answer>",
        "<answer>" + "<>" * 500_000,
    ],
    ids=lambda response: f"{response[:12]!r}-{len(response)}",
)
def test_hostile_output_scores_like_any_wrong_answer(query_type: str, response: str) -> None:
    score = compute_score("s", response, "B", {"query_type": query_type, "choices": CHOICES})
    assert score["accuracy"] == 0.0
    assert score["score"] <= 0.1


def test_a_long_answer_is_compared_when_its_reference_is_long() -> None:
    report = "No focal consolidation, effusion or pneumothorax. " * 400
    assert accuracy(report, report, query_type="jaccard") == 1.0
    assert accuracy("x " * len(report) * 3, report, query_type="jaccard") == 0.0


@pytest.mark.parametrize(
    ("truth", "extra", "problem"),
    [
        ("B", {"query_type": "choice", "choices": CHOICES}, None),
        ("Cyst", {"query_type": "choice", "choices": CHOICES}, None),
        ("E", {"query_type": "choice", "choices": CHOICES}, "'E' is no choice answer among the options A, B, C"),
        ("None", {"query_type": "choice", "choices": ["None", "Cyst", "None"]}, None),
        ("A, C", {"query_type": "multi_choice", "choices": CHOICES}, None),
        ("A, E", {"query_type": "multi_choice", "choices": CHOICES}, "is no multi_choice answer"),
        (["Cyst", "Normal"], {"query_type": "multi_choice", "choices": CHOICES}, None),
        ("maybe", {"query_type": "yes_no"}, "'maybe' is no yes_no answer"),
        (["yes", "maybe"], {"query_type": "yes_no"}, "'maybe' is no yes_no answer"),
        ("是", {"query_type": "yes_no"}, None),
        ("3 to 5 cm", {"query_type": "numeric"}, "is no numeric answer"),
        ("3 cm", {"query_type": "numeric"}, None),
        ("3", {"query_type": "numeric", "relative_tolerance": "x"}, "is no numeric answer"),
        ("...", {"query_type": "jaccard"}, "is no jaccard answer"),
        ("", {"query_type": "exact"}, "no reference answer"),
        (None, {"query_type": "exact"}, "no reference answer"),
        ("see </answer>", {"query_type": "exact"}, "is no exact answer"),
    ],
)
def test_references_that_no_response_can_match_are_found_before_training(
    truth: Any, extra: dict[str, Any], problem: str | None
) -> None:
    found = reference_problem(truth, extra)
    assert found is None if problem is None else problem in str(found)
