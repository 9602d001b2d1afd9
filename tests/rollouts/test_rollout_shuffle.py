"""Options in another order: the answer follows, the letters stay, the question stays whole."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources.deriving import outcome
from support.measured import query

from curate.corpus import Sample
from curate.rollouts.question import render
from curate.rollouts.scoring import score
from curate.rollouts.shuffle import orders
from curate.sources.derive.choices import shuffle_choices

words = st.text("abcdefgh ", min_size=3, max_size=10).map(str.strip).filter(lambda text: len(text) > 2)


@st.composite
def multiple_choice(draw: st.DrawFn) -> Sample:
    options = draw(st.lists(words, min_size=2, max_size=6, unique_by=str.casefold))
    choices = tuple(zip("ABCDEF", options, strict=False))
    several = draw(st.booleans())
    right = draw(st.lists(st.sampled_from(choices), min_size=1, max_size=3 if several else 1, unique=True))
    answer = [label if draw(st.booleans()) else text for label, text in right]
    kind = "multi_choice" if several else "choice"
    listed = "".join(f"\n{label}. {text}" for label, text in choices) if draw(st.booleans()) else ""
    return query(f"Which one? {draw(words)}{listed}", *answer, query_type=kind, choices=choices)


@settings(max_examples=100, deadline=None)
@given(multiple_choice(), st.integers(1, 8))
def test_the_right_texts_stay_right(sample: Sample, count: int) -> None:
    texts = dict(sample.choices)
    right = {texts.get(answer, answer) for answer in sample.answer}
    for order in orders(sample, count):
        assert order is not None
        assert [label for label, _ in order.choices] == [label for label, _ in sample.choices]
        assert sorted(text for _, text in order.choices) == sorted(texts.values())
        assert {dict(order.choices).get(answer, answer) for answer in order.answer} == right
        question = render(order, "")
        for label, text in order.choices:
            assert f"\n{label}. {text}" in question.messages[-1].content
        assert question.messages[-1].content.count("\nA. ") == 1
        letters = [label for label, text in order.choices if text in right]
        assert score(f"<answer>{', '.join(letters)}</answer>", sample, question).right
        wrong = [label for label, text in order.choices if text not in right]
        assert not score(f"<answer>{', '.join(wrong) or 'none'}</answer>", sample, question).right


@settings(max_examples=100, deadline=None)
@given(multiple_choice(), st.integers(1, 8))
def test_orders_differ_while_there_are_any_left_and_do_not_depend_on_how_many_are_asked_for(
    sample: Sample, count: int
) -> None:
    found = orders(sample, count)
    assert found == orders(sample, 8)[:count]
    distinct = {order.choices for order in found if order is not None}
    assert len(distinct) == min(count, math.factorial(len(sample.choices)))


def test_options_about_other_options_stay_where_they_are() -> None:
    choices = (("A", "Liver"), ("B", "Lung"), ("C", "Heart"), ("D", "All of the above"))
    sample = query("Which?", "D", query_type="choice", choices=choices)
    found = orders(sample, 6)
    assert all(order is not None and order.choices[3] == choices[3] and order.answer == ("D",) for order in found)
    assert len({order.choices for order in found if order}) == 6


@pytest.mark.parametrize(
    "fields",
    [
        {"query_type": "yes_no"},
        {"query_type": "choice", "choices": (("A", "Liver"), ("B", "Lung"), ("C", "A and B"))},
        {"query_type": "choice", "choices": (("A", "same"), ("B", "same"))},
        {"query_type": "choice", "choices": (("A", "same"), ("B", "other"), ("C", "Option A is right but small"))},
        {"query_type": "choice", "choices": (("A", "same"), ("B", "none of the above"), ("C", "other"))},
        {"query_type": "choice", "choices": (("A", "same"), ("B", "other")), "text": "Why is option B wrong?"},
        {
            "query_type": "choice",
            "choices": (("A", "same"), ("B", "other")),
            "text": "Which? A. same B. other\nPick one: A. same B. other",
        },
    ],
)
def test_questions_that_cannot_be_shuffled_keep_their_order(fields: dict[str, Any]) -> None:
    sample = query(fields.pop("text", "Which?"), "same", **fields)
    assert orders(sample, 3) == [None] * 3
    assert isinstance(outcome(shuffle_choices, sample), str)  # as a conversion refuses it


def test_letters_that_option_texts_repeat_do_not_travel_with_them() -> None:
    choices = (("A", "A:uterine wall"), ("B", "B:ovary"), ("C", "C:bladder"))
    for order in orders(query("Which?", "B", query_type="choice", choices=choices), 6):
        assert order is not None
        question = render(order, "")
        (letter,) = [label for label, text in question.choices if text == "ovary"]
        assert f"\n{letter}. ovary" in question.messages[-1].content
        assert score(f"<answer>{letter}</answer>", order, question).right


def test_an_order_that_is_listed_in_the_question_is_exchanged_there() -> None:
    choices = (("A", "Liver"), ("B", "Lung"))
    sample = query("Is it (A) Liver or (B) Lung?", "Lung", query_type="choice", choices=choices)
    shown = {render(order, "").messages[-1].content for order in orders(sample, 2) if order}
    assert shown == {"Is it (A) Liver or (B) Lung?", "Is it (A) Lung or (B) Liver?"}
