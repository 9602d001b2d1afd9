"""Multiple-choice queries shuffled, made open, and read out of the words of a question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sources.deriving import context, derive, outcome, refused
from support.measured import query

from curate.corpus import Sample
from curate.rewards import compute_score
from curate.rewards.choice import options_named
from curate.sources.derive.answers import needs_options, rephrased
from curate.sources.derive.choices import choice_to_open, shuffle_choices, words_to_choice
from curate.sources.derive.option_lists import locate_options, parse_options

STEADY = settings(deadline=None, derandomize=True)
WORD = st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=9).filter(
    lambda word: word not in ("both", "neither", "either", "none", "other", "others", "former", "latter", "answer")
)
OPTION = st.lists(WORD, min_size=1, max_size=3).map(" ".join) | st.sampled_from(
    ["3 cm", "T2", "肺炎", "<image>", "B. cepacia"]
)
OPTIONS = st.lists(OPTION, min_size=2, max_size=7, unique=True)
STEM = st.lists(WORD, min_size=2, max_size=6).map(lambda words: " ".join(words).capitalize() + "?")
LETTERS = "ABCDEFG"


NEGATED = (
    "What organ is not shown?",
    "What structure is absent from this image?",
    "Which organ does this image lack?",
    "What is NOT a feature of this scan?",
    "All are seen in the image but?",
    "Name an organ that cannot be seen.",
    "What is the odd one out?",
    "Which of them is shown?",
    "图中没有显示的器官是？",
    "哪个器官未显示？",
    "哪个不是良性？",
)


def mcq(options: list[str], answer: str | tuple[str, ...], stem: str = "Which lesion is it?", **fields: Any) -> Sample:
    fields = {"query_type": "choice", "choices": tuple(zip(LETTERS, options, strict=False)), **fields}
    return query(stem, *([answer] if isinstance(answer, str) else answer), **fields)


def right_text(sample: Sample) -> str:
    (position,) = options_named(sample.answer[0], sample.choices)
    return sample.choices[position][1]


@STEADY
@given(OPTIONS, st.data())
def test_shuffling_keeps_options_letters_and_the_text_of_the_answer(options: list[str], data: st.DataObject) -> None:
    right = data.draw(st.sampled_from(range(len(options))))
    by_text = data.draw(st.booleans())
    seed = data.draw(st.integers(0, 9))
    sample = mcq(options, options[right] if by_text else LETTERS[right])
    made = outcome(shuffle_choices, sample, seed)
    assert isinstance(made, Sample), made
    assert sorted(text for _, text in made.choices) == sorted(options)
    assert [label for label, _ in made.choices] == list(LETTERS[: len(options)])
    assert right_text(made) == options[right]
    assert made.turns == sample.turns
    assert made == outcome(shuffle_choices, sample, seed)
    choices = [{"label": label, "text": text} for label, text in made.choices]
    extra = {"query_type": "choice", "choices": choices}
    assert compute_score("s", f"<answer>{made.answer[0]}</answer>", list(made.answer), extra)["score"] == 1.0
    assert made.meta["parent"] == sample.id
    assert [options[place] for place in made.meta["derived"]["order"]] == [text for _, text in made.choices]


@STEADY
@given(OPTIONS, STEM, st.sampled_from(["\nA. ", " (A) ", "\nA) ", " A: "]), st.data())
def test_options_in_the_question_change_places_with_the_choices(
    options: list[str], stem: str, style: str, data: st.DataObject
) -> None:
    right = data.draw(st.sampled_from(range(len(options))))
    asked = stem + "".join(style.replace("A", letter) + text for letter, text in zip(LETTERS, options, strict=False))
    sample = mcq(options, LETTERS[right], asked)
    made = outcome(shuffle_choices, sample)
    assume(made != "options_in_question")
    assert isinstance(made, Sample), made
    written = made.turns[-1].parts[-1]
    assert isinstance(written, str)
    found = locate_options(written, made.choices)
    assert found is not None
    assert found.choices(written) == made.choices
    assert written.startswith(stem)
    assert len(written) == len(asked)
    assert right_text(made) == options[right]


def test_every_place_is_equally_likely_for_the_answer() -> None:
    places = [0, 0, 0, 0]
    for number in range(1200):
        made = shuffle_choices(mcq(["cyst", "abscess", "tumour", "stone"], "A", f"Lesion {number}?"), context("x"))
        places["ABCD".index(made.answer[0])] += 1
    assert all(240 <= count <= 360 for count in places), places


def test_the_seed_changes_the_order() -> None:
    samples = [mcq(["cyst", "abscess", "tumour", "stone"], "A", f"Lesion {number}?") for number in range(30)]
    orders = [[shuffle_choices(s, context("x", seed=seed)).choices for s in samples] for seed in (1, 2)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    "last",
    ["All of the above", "None of the above", "none of these", "Both", "以上都是", "以上都不是", "None of the others"],
)
def test_an_option_that_speaks_of_all_others_stays_last(last: str) -> None:
    for number in range(12):
        made = shuffle_choices(mcq(["cyst", "abscess", "stone", last], "D", f"Lesion {number}?"), context("x"))
        assert made.choices[-1] == ("D", last)
        assert made.answer == ("D",)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["cyst", "none of the above", "stone"], "options_speak_of_others"),
        (["cyst", "all of the above"], "options_speak_of_others"),
        (["cyst", "stone", "Both A and B"], "options_name_letters"),
        (["cyst", "stone", "tumour", "A and C only"], "options_name_letters"),
        (["cyst", "stone", "A、B"], "options_name_letters"),
        (["cyst", "stone", "A和B都对"], "options_name_letters"),
        (["cyst", "stone", "option A is larger"], "options_name_letters"),
        (["cyst", "stone", "the former"], "options_name_letters"),
        (["cyst", "A"], "options_name_letters"),
        (["cyst", "cyst "], "unclear_reference"),
        (["cyst", "x" * 2001], "long_option"),
    ],
)
def test_what_cannot_be_shuffled_says_why(options: list[str], reason: str) -> None:
    answer = "cyst" if reason == "unclear_reference" else "A"
    assert refused(shuffle_choices, mcq(options, answer), "shuffled-choices")[0] == reason


@pytest.mark.parametrize(
    "options", [["vitamin A", "vitamin B"], ["Vitamins A and D", "iron"], ["hepatitis A or B", "flu"]]
)
def test_letters_that_are_names_are_no_letters_of_options(options: list[str]) -> None:
    assert right_text(shuffle_choices(mcq(options, "B"), context("x"))) == options[1]


@pytest.mark.parametrize(
    ("stem", "reason"),
    [
        ("Why is option B wrong?", "question_names_letters"),
        ("A. cyst, or what?", "options_in_question"),
        ("Which?\nA. mass\nB. nodule", "options_in_question"),
        ("Which?\nA. cyst\nB. stone\nAgain: A. cyst B. stone", "options_in_question"),
    ],
)
def test_questions_that_cannot_be_relettered_say_why(stem: str, reason: str) -> None:
    assert refused(shuffle_choices, mcq(["cyst", "stone"], "A", stem), "shuffled-choices")[0] == reason


def test_several_letters_follow_together() -> None:
    for number in range(10):
        options = ["cyst", "abscess", "tumour", "stone"]
        sample = mcq(options, ("A", "stone"), f"Which {number}?", query_type="multi_choice")
        made = shuffle_choices(sample, context("x"))
        texts = dict(made.choices)
        assert texts[made.answer[0]] == "cyst"
        assert made.answer[1] == "stone"
        joined = mcq(["cyst", "abscess", "tumour", "stone"], "A, C", f"Which {number}?", query_type="multi_choice")
        again = shuffle_choices(joined, context("x"))
        assert {dict(again.choices)[letter] for letter in again.answer[0].split(", ")} == {"cyst", "tumour"}


def test_letters_that_option_texts_repeat_do_not_travel_with_them() -> None:
    texts = ["A:uterine wall", "B: ovary", "C:bladder"]
    for reference in ("B", "B: ovary", "ovary"):
        made = shuffle_choices(mcq(texts, reference), context("x"))
        assert sorted(text for _, text in made.choices) == ["bladder", "ovary", "uterine wall"]
        assert right_text(made) == "ovary"
    opened = choice_to_open(mcq(texts, "B", "What is it?"), context("open"))
    assert opened.answer == ("ovary",)
    microbes = shuffle_choices(mcq(["E. coli", "B. cepacia"], "B"), context("x"))
    assert right_text(microbes) == "B. cepacia"


def test_stale_choices_of_a_verl_row_are_not_carried_along() -> None:
    extra = {"choices": {"A": "cyst"}, "answers": ["A"], "unit": "mm", "index": 3}
    made = shuffle_choices(mcq(["cyst", "stone"], "A", meta={"extra_info": extra, "patient": "p1"}), context("x"))
    assert made.meta["extra_info"] == {"unit": "mm"}
    assert made.meta["patient"] == "p1"


def test_open_question_from_words() -> None:
    made = choice_to_open(
        mcq(["cyst", "large simple renal cyst", "stone"], "C", "What lies in the kidney?"), context("open")
    )
    assert (made.answer, made.query_type, made.choices) == (("stone",), "exact", ())
    longer = choice_to_open(mcq(["cyst", "large simple renal cyst"], "B", "What lies in the kidney?"), context("open"))
    assert (longer.answer, longer.query_type) == (("large simple renal cyst",), "jaccard")
    number = choice_to_open(mcq(["3 cm", "5 cm"], "5 cm", "How long is it?"), context("open"))
    assert (number.answer, number.query_type) == (("5 cm",), "numeric")


@pytest.mark.parametrize(
    "listed",
    [
        "What is it?\nOptions:\nA. cyst\nB. stone\nAnswer with the option's letter from the given choices directly.",
        "What is it? The choices are: (A) cyst (B) stone",
        "What is it? A: cyst, B: stone.\nAnswer:",
        "What is it?\nAnswer with the option's letter from the given choices directly.",
    ],
)
def test_open_question_loses_the_options_it_listed(listed: str) -> None:
    made = choice_to_open(mcq(["cyst", "stone"], "B", listed), context("open"))
    assert made.turns[-1].parts == ("What is it?",)


@pytest.mark.parametrize(
    ("stem", "options", "answer", "reason"),
    [
        ("Which of the following is shown?", ["cyst", "stone"], "A", "needs_its_options"),
        ("Which of these is it?", ["cyst", "stone"], "A", "needs_its_options"),
        ("All are seen EXCEPT", ["cyst", "stone"], "A", "needs_its_options"),
        ("Which finding is not present?", ["cyst", "stone"], "A", "needs_its_options"),
        *((stem, ["cyst", "stone"], "A", "needs_its_options") for stem in NEGATED),
        ("下列哪项正确？", ["囊肿", "结石"], "A", "needs_its_options"),
        ("What is it?", ["cyst", "stone", "none of the above"], "C", "options_speak_of_others"),
        ("What is it?", ["cyst", "one two three four five six seven eight nine"], "B", "long_answer"),
        ("A. cyst B. stone", ["cyst", "stone"], "A", "needs_its_options"),
        ("What is it? A. cyst B. stone\nLook closely at the left.", ["cyst", "stone"], "A", "options_in_question"),
    ],
)
def test_what_cannot_be_opened_says_why(stem: str, options: list[str], answer: str, reason: str) -> None:
    assert refused(choice_to_open, mcq(options, answer, stem), "open")[0] == reason


def test_rephrasing_is_asked_for_and_changes_one_form_only() -> None:
    stem = "A man of 60. Which of the following is the most likely diagnosis?"
    made = choice_to_open(mcq(["gout", "sepsis"], "A", stem), context("open", rephrase=True))
    assert made.turns[-1].parts == ("A man of 60. What is the most likely diagnosis?",)
    assert rephrased("Which of the following are correct?") == "Which of the following are correct?"
    assert needs_options(rephrased("Which of the following is the correct statement?"))
    assert needs_options("What is the treatment of choice?") is None
    for asked in ("What is the most likely diagnosis?", "A man who does not smoke. What is it?", "有没有积液，在哪？"):
        assert needs_options(asked) is None


def test_words_become_choices() -> None:
    asked = "Which view is it?\nAnswer Choices: (A) axial (B) coronal (C) sagittal"
    for reference in ("B", "coronal", "(B) coronal"):
        made = words_to_choice(query(asked, reference), context("choice-from-words"))
        assert made.choices == (("A", "axial"), ("B", "coronal"), ("C", "sagittal"))
        assert (made.answer, made.query_type) == (("B",), "choice")
        assert made.turns[-1].parts == (asked,)
    both = words_to_choice(query(asked, "A", "C", query_type="multi_choice"), context("choice-from-words"))
    assert (both.answer, both.query_type) == (("A", "C"), "multi_choice")
    assert refused(words_to_choice, query(asked, "oblique"), "choice-from-words")[0] == "answer_not_in_options"
    assert refused(words_to_choice, query(asked, "A", "C"), "choice-from-words")[0] == "unclear_reference"
    assert refused(words_to_choice, query("Which view?", "B"), "choice-from-words")[0] == "no_choices"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("Q?\nA. E. coli\nB. B. cepacia\nC. S. aureus", ("E. coli", "B. cepacia", "S. aureus")),
        ("Q?\nA. B. cepacia\nB. E. coli", ("B. cepacia", "E. coli")),
        ("Q? A:left lung, B:right lung;C:heart", None),
        ("Q? A:left lung, B:right lung", ("left lung", "right lung")),
        ("问题？A、肺炎 B、肺癌", ("肺炎", "肺癌")),
        ("Q (A) one\n(B) two\n\nThen more.", ("one", "two")),
        ("Seen by A. Smith.", None),
        ("A) one (B) two", None),
    ],
)
def test_lists_of_options_in_a_text(text: str, options: tuple[str, ...] | None) -> None:
    found = parse_options(text)
    got = None if found is None else tuple(option for _, option in found.choices(text))
    assert got == (options if options is not None or found is None else ("left lung", "right lung", "heart"))


def test_hostile_texts_come_to_an_end() -> None:
    for text in (
        "A. x " * 40_000,
        "which " * 30_000,
        "A) B) " * 30_000,
        "option " * 30_000,
        "(" * 200_000,
        "A. \n" * 50_000,
    ):
        for function in (shuffle_choices, choice_to_open, words_to_choice):
            assert outcome(function, mcq(["cyst", "stone"], "A", text))


def test_the_command_shuffles_a_corpus(tmp_path: Path) -> None:
    samples = [mcq(["cyst", "abscess", "stone"], "B", f"Lesion {number}?", row=number + 1) for number in range(40)]
    counts, made, rejects = derive(
        tmp_path, [*samples, query("Size?", "3 cm", query_type="numeric", row=99)], "shuffled-choices"
    )
    assert counts["derived"] == 40
    assert [reject["reason"] for reject in rejects] == ["no_choices"]
    assert rejects[0]["row"] == 99
    assert {right_text(sample) for sample in made} == {"abscess"}
    assert {sample.meta["parent"] for sample in made} == {sample.id for sample in samples}
