"""What must hold for every input, not only for those someone thought of."""

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from curate.rewards import compute_score, known_types, reference_problem
from curate.rewards.normalise import normalise, tokens
from curate.rewards.numeric import quantity
from curate.rewards.text import polarity

STEADY = settings(deadline=None, derandomize=True)
ANY_TEXT = st.text(st.characters(), max_size=60)
TAGS = st.sampled_from(["<think>", "</think>", "<answer>", "</answer>", "B", " ", "\0", "Cyst", "<", "3 cm", "yes"])
OUTPUTS = ANY_TEXT | st.lists(TAGS, max_size=12).map("".join)
ANSWERS = ANY_TEXT | st.text("ABCDabcd(),.;/& andor或和、1234567890-+xmyesno是否有无", max_size=30)
WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=9).filter(
    lambda word: word not in ("the", "and", "are", "best", "final", "answer", "option", "choice", "correct", "answers")
)
OPTIONS = st.lists(st.lists(WORDS, min_size=1, max_size=3).map(" ".join), min_size=3, max_size=6, unique=True)
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def scored(answer: str, truth: Any, query_type: str, **extra: Any) -> float:
    response = f"<think>t</think><answer>{answer}</answer>"
    return compute_score("p", response, truth, {"query_type": query_type, **extra})["score"]


@STEADY
@given(ANY_TEXT)
def test_normalisation_is_idempotent(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@STEADY
@given(ANY_TEXT)
def test_case_and_outer_space_do_not_matter(text: str) -> None:
    assert normalise(f" \t{text.casefold()}\n") == normalise(text)


@STEADY
@given(ANY_TEXT)
def test_tokens_come_from_the_normalised_text(text: str) -> None:
    assert tokens(text) == tokens(normalise(text))
    assert all(token in normalise(text) for token in tokens(text))


@STEADY
@given(OUTPUTS, JUNK, JUNK, JUNK, st.sampled_from(known_types()))
def test_nothing_raises_and_the_parts_add_up(
    output: str, truth: Any, choices: Any, other: Any, query_type: str
) -> None:
    extra = {"query_type": query_type, "choices": choices, "answers": other, "unit": other, "relative_tolerance": other}
    score = compute_score("p", output, truth, extra)
    assert score["format"] in (0.0, 1.0)
    assert 0.0 <= score["accuracy"] <= score["format"]
    assert score["score"] == 0.1 * score["format"] + 0.9 * score["accuracy"]
    assert score["answer_read"] <= score["format"] <= score["answer_found"]
    reference_problem(truth, extra)


@STEADY
@given(JUNK)
def test_a_response_of_any_type_scores(response: Any) -> None:
    assert compute_score("p", response, "x", {"query_type": "exact"})["score"] in (0.0, 0.1, 1.0)


@STEADY
@given(st.floats(0, 1))
def test_weights_that_sum_to_one_bound_the_score(weight: float) -> None:
    weights = {"format_weight": weight, "accuracy_weight": 1 - weight}
    right = compute_score("p", "<answer>x</answer>", "x", {"query_type": "exact"}, **weights)
    wrong = compute_score("p", "<answer>y</answer>", "x", {"query_type": "exact"}, **weights)
    assert right["score"] == pytest.approx(1.0)
    assert wrong["score"] == pytest.approx(weight)


# A policy that is always right gets 1.0, one that is always wrong gets the format's 0.1 and accuracy 0.


@STEADY
@given(OPTIONS, st.data())
def test_choice_policies(options: list[str], data: st.DataObject) -> None:
    right, wrong = data.draw(st.permutations(range(len(options))))[:2]
    forms = st.sampled_from(["{0}", "({0})", "{0}.", "{0}) {1}", "{0}. {1}", "{1}", "Option {0}", "{2}", "答案：{0}"])
    shown = data.draw(st.sampled_from([options, dict(zip("ABCDEF", options, strict=False))]))
    truth = data.draw(st.sampled_from(["ABCDEF"[right], options[right]]))
    assert reference_problem(truth, {"query_type": "choice", "choices": shown}) is None
    for picked, score in ((right, 1.0), (wrong, 0.1)):
        letter, text = "ABCDEF"[picked], options[picked]
        assert scored(data.draw(forms).format(letter, text, text.upper()), truth, "choice", choices=shown) == score


@STEADY
@given(OPTIONS, st.data())
def test_multi_choice_policies(options: list[str], data: st.DataObject) -> None:
    letters = "ABCDEF"[: len(options)]
    subsets = st.sets(st.sampled_from(letters), min_size=1)
    right, wrong = data.draw(subsets), data.draw(subsets)
    assume(right != wrong)
    truth = data.draw(st.sampled_from([sorted(right), [options[letters.index(x)] for x in right], ", ".join(right)]))
    for picked, score in ((right, 1.0), (wrong, 0.1)):
        order = data.draw(st.permutations(sorted(picked)))
        answer = data.draw(st.sampled_from(["".join(order), ", ".join(order), " and ".join(order), "、".join(order)]))
        assert scored(answer, truth, "multi_choice", choices=options) == score


@pytest.mark.parametrize("query_type", ["exact", "jaccard"])
@STEADY
@given(right=st.lists(WORDS, min_size=1, max_size=5), wrong=st.lists(WORDS, min_size=1, max_size=5))
def test_text_policies(query_type: str, right: list[str], wrong: list[str]) -> None:
    assume(not set(right) & set(wrong))
    assert scored(" ".join(right).title() + ".", " ".join(right), query_type) == 1.0
    assert scored(" ".join(wrong), " ".join(right), query_type) == 0.1


@STEADY
@given(st.text("左右肺上下叶炎骨折肝囊肿", min_size=1), st.text("腹部扫描正常见未", min_size=1))
def test_text_policies_in_chinese(right: str, wrong: str) -> None:
    for query_type in ("exact", "jaccard"):
        assert scored(right + "。", right, query_type) == 1.0
        assert scored(wrong, right, query_type) == 0.1


@STEADY
@given(st.lists(WORDS, min_size=1, max_size=6), st.lists(WORDS, min_size=1, max_size=6))
def test_jaccard_is_symmetric_and_shared_over_all(one: list[str], other: list[str]) -> None:
    forth, back = scored(" ".join(one), " ".join(other), "jaccard"), scored(" ".join(other), " ".join(one), "jaccard")
    shared = len(set(one) & set(other)) / len(set(one) | set(other))
    assert forth == back == pytest.approx(0.1 + 0.9 * shared)


@STEADY
@given(st.sampled_from(["yes", "Yes.", "是", "true"]), st.sampled_from(["no", "No.", "否", "false"]))
def test_yes_no_policies(yes: str, no: str) -> None:
    for truth, lie in ((yes, no), (no, yes)):
        for said in (yes, no):
            assert scored(said, truth, "yes_no") == (0.1 if polarity(said) is polarity(lie) else 1.0)


@STEADY
@given(ANY_TEXT)
def test_a_word_that_only_contains_yes_or_no_says_neither(text: str) -> None:
    assert polarity(f"x{text}") is None


@STEADY
@given(st.decimals(-10_000, 10_000, places=3, allow_nan=False), st.sampled_from(["", " cm", " mg/dL", "%", " 次/分"]))
def test_numeric_policies(value: Any, unit: str) -> None:
    truth = f"{value}{unit}"
    assert scored(truth, truth, "numeric") == 1.0
    assert scored(f"约 {truth}。", truth, "numeric") == 1.0
    assert scored(f"{value + 1}{unit}", truth, "numeric") == 0.1
    assert scored(f"{truth} or {value + 1}{unit}", truth, "numeric") == 0.1


@STEADY
@given(st.integers(1, 10**6))
def test_lengths_are_converted(micrometres: int) -> None:
    truth = f"{micrometres} μm"
    assert scored(f"{micrometres / 1000!r} mm", truth, "numeric") == 1.0
    assert scored(f"{micrometres / 10_000!r} cm", truth, "numeric") == 1.0
    assert scored(f"{micrometres} mm", truth, "numeric") == 0.1


@STEADY
@given(ANSWERS)
def test_a_number_that_is_read_is_finite(text: str) -> None:
    read = quantity(text)
    assert read is None or abs(read.value) < float("inf")


@STEADY
@given(st.sampled_from(known_types()), ANSWERS, st.sampled_from(["A", "C", "yes", "3"]))
def test_an_alternative_is_never_right_when_one_answer_is_asked(query_type: str, other: str, truth: str) -> None:
    assume(query_type != "jaccard" and normalise(other))
    assume(normalise(other) != normalise(truth))
    assert scored(f"{truth} or {other}", truth, query_type, choices=["x y", "z w", "v u"]) == 0.1
