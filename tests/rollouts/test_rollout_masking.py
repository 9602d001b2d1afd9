"""The answer taken out of explanations, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rollouts.playing import LETTERS, thinking
from support.measured import query

from curate.corpus import Sample
from curate.rewards.answer import extract_answer
from curate.rollouts.masking import MASK, explanation_of, masked

ORGAN = query("Which?", "B", query_type="choice", choices=LETTERS)
EFFUSION = query("Is there an effusion?", "no", query_type="yes_no")
SIZE = query("How large?", "3.5 cm", query_type="numeric")
DRUG = query("Which drug?", "insulin lispro", query_type="exact")
SEVERAL = query("Which ones?", "A", "C", query_type="multi_choice", choices=LETTERS)
CHINESE = query("哪一个？", "肺", query_type="exact")


@pytest.mark.parametrize(
    ("sample", "answer", "thought", "left"),
    [
        (ORGAN, "B", "Air fills the lung, so option B.", f"Air fills the {MASK}, so option {MASK}."),
        (ORGAN, "B", "(B) fits; a lesion in hepatitis B is rarer.", f"{MASK} fits; a lesion in hepatitis B is rarer."),
        (ORGAN, "Lung", "A. Liver is dense. B. LUNG is not.", f"A. Liver is dense. {MASK}. {MASK} is not."),
        (ORGAN, "B", "The answer is B", f"The answer is {MASK}"),
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
            masked(explanation_of(response) or "", response, sample)
