"""The answer taken out of explanations, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollouts.playing import LETTERS, thinking
from support.measured import query

from curate.corpus import Sample
from curate.rewards.answer import extract_answer
from curate.rollouts.masking import MASK, explanation_of, masked, still_named
from curate.rollouts.teaching import rewriting_fault

ORGAN = query("Which?", "B", query_type="choice", choices=LETTERS)
EFFUSION = query("Is there an effusion?", "no", query_type="yes_no")
THERE = query("Is there an effusion?", "yes", query_type="yes_no")
LIVER = query("Which?", "A", query_type="choice", choices=LETTERS)
SIZE = query("How large?", "3.5 cm", query_type="numeric")
DRUG = query("Which drug?", "insulin lispro", query_type="exact")
SEVERAL = query("Which ones?", "A", "C", query_type="multi_choice", choices=LETTERS)
CHINESE = query("哪一个？", "肺", query_type="exact")


@pytest.mark.parametrize(
    ("sample", "answer", "thought", "left"),
    [
        (ORGAN, "B", "Air fills the lung, so option B.", f"Air fills the {MASK}, so option {MASK}."),
        (
            ORGAN,
            "B",
            "(B) fits; a lesion with B-lines in a B cell.",
            f"{MASK} fits; a lesion with B-lines in a {MASK} cell.",
        ),
        (ORGAN, "Lung", "A. Liver is dense. B. LUNG is not.", f"A. Liver is dense. {MASK}. {MASK} is not."),
        (ORGAN, "B", "The answer is B", f"The answer is {MASK}"),
        (ORGAN, "B", "Air, so B is right.", f"Air, so {MASK} is right."),
        (ORGAN, "B", "B is correct because of air.", f"{MASK} is correct because of air."),
        (ORGAN, "B", "I pick B because of air. Hence B", f"I pick {MASK} because of air. Hence {MASK}"),
        (ORGAN, "B", "C is wrong; option b it is.", f"C is wrong; option {MASK} it is."),
        (LIVER, "A", "A dense organ. A fits. So A", f"A dense organ. {MASK} fits. So {MASK}"),
        (LIVER, "A", "- A is dense, and A too.", f"- {MASK} is dense, and {MASK} too."),
        (EFFUSION, "no", "**Answer:** No", f"**Answer:** {MASK}"),
        (
            EFFUSION,
            "no",
            "Sharp angles, so no, there is no effusion.",
            f"Sharp angles, so {MASK}, there is no effusion.",
        ),
        (
            EFFUSION,
            "no",
            "Clearly no. No\npleural fluid, **no** air.",
            f"Clearly {MASK}. No\npleural fluid, **no** air.",
        ),
        (EFFUSION, "no", "No there is none\n- no\nSharp.", f"{MASK} there is none\n- {MASK}\nSharp."),
        (THERE, "yes", "Fluid, so yes.", f"Fluid, so {MASK}."),
        (THERE, "yes", "The answer would be yes.", f"The answer would be {MASK}."),
        (THERE, "yes", "- yes\nSo, yes, there is. Clearly yes", f"- {MASK}\nSo, {MASK}, there is. Clearly {MASK}"),
        (ORGAN, "B", "Lungs and Lungworm are other words.", "Lungs and Lungworm are other words."),
        (
            EFFUSION,
            "No",
            "No effusion, no collapse. So the answer is no.",
            f"No effusion, no collapse. So the answer is {MASK}.",
        ),
        (EFFUSION, "no", "The angle is sharp. No, nothing.", f"The angle is sharp. {MASK}, nothing."),
        (SIZE, "35 mm", "It spans 35 mm, that is 3.5 cm.", f"It spans {MASK}, that is {MASK}."),
        (SIZE, "3.5", "Between 13.5 and 3.55 lies 3.5.", f"Between 13.5 and 3.55 lies {MASK}."),
        (DRUG, "Insulin lispro", "Give INSULIN\nLISPRO now; not insulin.", f"Give {MASK} now; not insulin."),
        (SEVERAL, "A, C", "Liver (A) and heart (C), not lung (B).", f"{MASK} {MASK} and {MASK} {MASK}, not lung (B)."),
        (CHINESE, "肺", "图中是肺部。", f"图中是{MASK}部。"),
    ],
)
def test_the_answer_is_masked_and_the_rest_stays(sample: Sample, answer: str, thought: str, left: str) -> None:
    response = thinking(answer, thought)
    explanation = explanation_of(response)
    assert explanation == thought
    assert masked(explanation, response, sample) == left


@pytest.mark.parametrize(
    ("response", "explanation"),
    [
        ("<think>Because.</think> So: <answer>B</answer> it is.", "Because.\nSo:   it is."),
        ("Because.\n<answer>B</answer>", "Because."),
        ("<answer>B</answer>", None),
        ("<think> ... </think><answer>B</answer>", None),
        ("<think>Because.</think> B", None),
        ("<think>Because <answer>A</answer>.</think><answer>B</answer>", "Because A."),
    ],
)
def test_what_an_explanation_is(response: str, explanation: str | None) -> None:
    assert explanation_of(response) == explanation


@given(
    st.lists(
        st.sampled_from(["Lung", "(B)", "B.", "option B", "the", "sharp", "\n", "answer:", "is", " "]), max_size=12
    )
)
def test_no_option_text_is_left(pieces: list[str]) -> None:
    response = thinking("B", " ".join(["so", *pieces]))
    explanation = explanation_of(response)
    assert explanation is not None
    left = masked(explanation, response, ORGAN)
    assert "lung" not in left.casefold()
    assert "(B)" not in left
    assert "option B" not in left
    assert extract_answer(left).think is None


def test_long_runs_take_no_long_time() -> None:
    for filling in ("answer ", " ", "answer" + " " * 50, "(B", "yes ", ":", "no\n"):
        response = thinking("B", "so " + filling * (200_000 // len(filling)))
        for sample in (ORGAN, EFFUSION, SIZE, DRUG):
            left = masked(explanation_of(response) or "", response, sample)
            assert "<answer>" not in left
            assert len(left) < 2_000_000, "what is masked grows no faster than the text"


@pytest.mark.parametrize(
    ("sample", "answer", "thought", "named"),
    [
        (ORGAN, "B", "Air fills the lung, so B.", False),
        (ORGAN, "B", "Air fills the l\u00adung.", True),
        (EFFUSION, "no", "The answer: no effusion is seen.", True),
        (THERE, "yes", "The answer is affirmative.", True),
        (THERE, "yes", "A meniscus and no air.", False),
        (SIZE, "3.5 cm", "It spans 3.5\u00a0cm, level L3.", False),
        (SIZE, "3.5 cm", "It spans 3.5cm.", False),
        (DRUG, "insulin lispro", "Insulin-lispro it is.", True),
    ],
)
def test_what_still_names_the_answer(sample: Sample, answer: str, thought: str, named: bool) -> None:
    response = thinking(answer, thought)
    assert still_named(masked(thought, response, sample), response, sample) == named


@pytest.mark.parametrize(
    ("thought", "given_away"),
    [
        ("Among the given answer choices, B fits best.", False),
        ("Looking at the provided answer options, only B shows air.", False),
        ("The agent is gadolinium; it is given intravenously.", False),
        ("The patient was told to hold his breath.", False),
        ("We are given a chest film.", False),
        ("Since we know the right answer is Lung, look for air.", True),
        ("As the answer is known to be B, air it is.", True),
        ("I was told that it is the lung.", True),
        ("I was given the reference answer.", True),
        ("The known answer is B.", True),
    ],
)
def test_what_gives_a_response_away(thought: str, given_away: bool) -> None:
    assert rewriting_fault(thinking("B", thought)) == ("gives_itself_away" if given_away else None)
