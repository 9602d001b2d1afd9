"""Conversations as queries, queries as conversations, and there and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources.deriving import derive, outcome, refused
from support.inside import curate
from support.measured import conversation, query, stored
from support.pictures import distinct

from curate.corpus import Sample
from curate.rewards import compute_score
from curate.sources.derive.lineage import reward_settings
from curate.sources.derive.queries import conversation_to_query, query_to_conversation

STEADY = settings(deadline=None, derandomize=True)
LETTERS = "ABCDEFG"
WORD = st.text("bcdfghjklmnpqrstvwxz", min_size=3, max_size=8)
PHRASE = st.lists(WORD, min_size=1, max_size=6).map(" ".join)
ASKED = PHRASE.map(lambda words: f"Is {words} what is seen?") | PHRASE.map(lambda words: f"{words.capitalize()}?")


@st.composite
def queries(draw: st.DrawFn) -> Sample:
    """Queries of every type, whose answers are clear."""
    kind = draw(st.sampled_from(["choice", "multi_choice", "yes_no", "numeric", "exact", "jaccard"]))
    fields: dict[str, Any] = {"query_type": kind}
    if kind in ("choice", "multi_choice"):
        options = draw(st.lists(PHRASE, min_size=2, max_size=6, unique=True))
        fields["choices"] = tuple(zip(LETTERS, options, strict=False))
        several = st.lists(st.sampled_from(range(len(options))), min_size=2, max_size=len(options), unique=True)
        right = draw(several) if kind == "multi_choice" else [draw(st.sampled_from(range(len(options))))]
        answers = [LETTERS[position] for position in sorted(right)]
    elif kind == "yes_no":
        answers = [draw(st.sampled_from(["yes", "No", "YES", "no", "是", "没有"]))]
    elif kind == "numeric":
        answers = [draw(st.sampled_from(["3", "3.5 cm", "12 mm", "40%", "120"]))]
    else:
        low, high = (1, 3) if kind == "exact" else (4, 8)
        answers = [" ".join(draw(st.lists(WORD, min_size=low, max_size=high)))]
    return query(draw(ASKED), *answers, **fields)


@STEADY
@given(queries())
def test_there_and_back_the_answer_is_the_same(sample: Sample) -> None:
    spoken = outcome(query_to_conversation, sample)
    assert isinstance(spoken, Sample)
    back = outcome(conversation_to_query, spoken)
    assert isinstance(back, Sample), back
    assert (back.query_type, back.choices) == (sample.query_type, sample.choices)
    assert str(back.turns[-1].parts[-1]).startswith(str(sample.turns[-1].parts[-1]))
    if sample.query_type == "yes_no":
        assert score(sample, back.answer[0]) == 1.0
    else:
        assert back.answer == sample.answer
    assert back.meta["parent"] == spoken.id
    assert back.meta["derived"]["before"]["parent"] == sample.id
    again = outcome(query_to_conversation, back)
    assert isinstance(again, Sample)
    assert again.id == spoken.id


@STEADY
@given(queries())
def test_what_a_conversation_answers_earns_the_reward(sample: Sample) -> None:
    spoken = outcome(query_to_conversation, sample)
    assert isinstance(spoken, Sample)
    assert score(sample, str(spoken.turns[-1].parts[0])) == 1.0


def score(sample: Sample, answer: str) -> float:
    extra = {"query_type": sample.query_type, "choices": dict(sample.choices), "answers": list(sample.answer)}
    extra |= reward_settings(sample)
    return compute_score("s", f"<answer>{answer}</answer>", list(sample.answer), extra)["score"]


@pytest.mark.parametrize(
    ("asked", "answer", "query_type", "reference"),
    [
        ("Is there a mass?", "Yes", "yes_no", "Yes"),
        ("Is there a mass?", "No, the lungs are clear of any mass in all of the lobes shown.", "yes_no", "no"),
        ("有结节吗？", "没有", "yes_no", "没有"),
        ("How large is it?", "3.5 cm", "numeric", "3.5 cm"),
        ("How many?", "two", "numeric", "two"),
        ("What is it?", "Pneumonia.", "exact", "Pneumonia."),
        (
            "What is it?",
            "<think>It is white.</think><answer>left pleural effusion</answer>",
            "exact",
            "left pleural effusion",
        ),
        ("What is seen?", "a small effusion at the left base", "jaccard", "a small effusion at the left base"),
        ("Which vitamin?", "K", "exact", "K"),
        ("Which arm?", "right", "exact", "right"),
        ("Which stage?", "Stage 3", "exact", "Stage 3"),
        ("Which marker, X or N?", "N", "exact", "N"),
        ("Which one?\nA. left\nB. right", "B. right", "choice", "B"),
        ("Which one?\nA. left\nB. right", "The answer is A", "choice", "A"),
    ],
)
def test_answers_become_references(asked: str, answer: str, query_type: str, reference: str) -> None:
    made = outcome(conversation_to_query, conversation(asked, answer))
    assert isinstance(made, Sample), made
    assert (made.query_type, made.answer) == (query_type, (reference,))
    assert made.turns[-1].parts == (asked,)


@pytest.mark.parametrize(
    ("asked", "answer", "reason"),
    [
        ("Describe it.", "There is a large opacity in the left lower lobe with an effusion beside it.", "long_answer"),
        ("Describe it.", "One.\nTwo.", "long_answer"),
        ("Describe it.", "x" * 100_000, "long_answer"),
        ("What is it?", "I don't know.", "no_answer"),
        ("是什么？", "无法判断", "no_answer"),
        ("What is it?", "?!", "no_answer"),
        ("Which one?\nA. left\nB. right", "C", "answer_not_in_options"),
        ("Which one?\nA. left\nB. right", "both", "answer_not_in_options"),
        ("  ", "left", "no_question"),
    ],
)
def test_what_no_rule_can_verify_says_why(asked: str, answer: str, reason: str) -> None:
    assert refused(conversation_to_query, conversation(asked, answer), "query")[0] == reason


def test_only_one_exchange_makes_a_query() -> None:
    long = conversation("What is it?", "A cyst.", "Where?", "Left.")
    assert refused(conversation_to_query, long, "query")[0] == "several_turns"
    with_system = conversation("What is it?", "A cyst.", system="Be brief.")
    made = outcome(conversation_to_query, with_system)
    assert isinstance(made, Sample)
    assert [turn.role for turn in made.turns] == ["system", "user"]


def test_max_words_bounds_the_reference(tmp_path: Path) -> None:
    said = [conversation("What?", "small left effusion"), conversation("What else?", "effusion", row=2)]
    counts, made, _ = derive(tmp_path, said, "query", "--max-words", "2")
    assert [sample.answer for sample in made] == [("effusion",)]
    assert counts["rejects"] == {"long_answer": 1}


def test_forms_of_answers_are_said_once_and_options_are_added_once() -> None:
    form = "Answer with the option's letter from the given choices directly."
    choices = (("A", "cyst"), ("B", "stone"))
    plain = outcome(query_to_conversation, query("What is it?", "stone", query_type="choice", choices=choices))
    assert isinstance(plain, Sample)
    assert plain.turns[0].parts == (f"What is it?\nA. cyst\nB. stone\n{form}",)
    assert plain.turns[1].parts == ("B",)
    full = query(f"What is it? (A) cyst (B) stone\n{form}", "A", query_type="choice", choices=choices)
    kept = outcome(query_to_conversation, full)
    assert isinstance(kept, Sample)
    assert kept.turns[0].parts == full.turns[0].parts


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (query("Is it?", "No, it is clear.", query_type="yes_no"), "no"),
        (query("这是囊肿吗？", "Yes", query_type="yes_no"), "是"),
        (query("How long?", "12", query_type="numeric", meta={"unit": "mm"}), "12 mm"),
        (query("How long?", "12 cm", query_type="numeric", meta={"extra_info": {"unit": "mm"}}), "12 cm"),
        (query("Where?", "left", "on the left", query_type="jaccard"), "left"),
        (query("Which?", "A", "C", query_type="multi_choice"), "A, C"),
    ],
)
def test_references_are_said_in_the_form_that_is_asked_for(sample: Sample, said: str) -> None:
    made = outcome(query_to_conversation, sample)
    assert isinstance(made, Sample)
    assert made.turns[-1].parts == (said,)


def test_answers_obey_what_the_system_message_asks_for() -> None:
    tagged = query("Where?", "left", system="Give the final answer inside <answer></answer>.")
    made = outcome(query_to_conversation, tagged)
    assert isinstance(made, Sample)
    assert made.turns[-1].parts == ("<answer>left</answer>",)
    back = outcome(conversation_to_query, made)
    assert isinstance(back, Sample)
    assert back.answer == ("left",)
    reasoned = query("Where?", "left", system="Think inside <think></think>, then answer inside <answer></answer>.")
    assert refused(query_to_conversation, reasoned, "conversation")[0] == "asks_for_reasoning"


def test_unclear_references_are_refused() -> None:
    choices = (("A", "cyst"), ("B", "cyst"))
    unclear = query("What?", "cyst", query_type="choice", choices=choices)
    assert refused(query_to_conversation, unclear, "conversation")[0] == "unclear_reference"
    assert (
        refused(query_to_conversation, query("Is it?", "maybe", query_type="yes_no"), "conversation")[0]
        == "not_yes_or_no"
    )


def test_every_row_of_the_verl_export_can_earn_its_reward(tmp_path: Path) -> None:
    said = [
        ("Is there a mass in this picture?", "No, there is none."),
        ("How large is the lesion in this picture?", "3.5 cm"),
        ("What is shown here, with a literal <image>?", "a small left pleural effusion"),
        ("Which organ is this?\nA. liver\nB. kidney", "B"),
        ("Which organs are these?\n(A) liver\n(B) kidney\n(C) spleen", "A, C"),
    ]
    samples = [
        conversation(asked, answer, images=[stored(tmp_path / "curated", distinct(number))], row=number + 1)
        for number, (asked, answer) in enumerate(said)
    ]
    _, made, _ = derive(tmp_path, samples, "query")
    assert {sample.query_type for sample in made} == {"yes_no", "numeric", "jaccard", "choice", "multi_choice"}
    assert "What is shown here, with a literal <image>?" in [sample.turns[-1].parts[-1] for sample in made]
    assert curate("score", tmp_path / "derived").status == 0
    ran = curate(
        "export", tmp_path / "derived", "--format", "verl", "-o", tmp_path / "verl", "--val-fraction", "0",
        "--ignore-rule", "near_blank",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    rows = pq.read_table(tmp_path / "verl" / "train.parquet").to_pylist()
    assert len(rows) == len(said)
    for row in rows:
        truth, extra = row["reward_model"]["ground_truth"], row["extra_info"]
        assert compute_score(row["data_source"], f"<answer>{truth}</answer>", truth, extra)["score"] == 1.0
