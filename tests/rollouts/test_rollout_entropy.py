"""How sure a model was of its answer, from what endpoints tell about its tokens."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.rollouts.entropy import answer_uncertainty


def token(text: str, share: float, **others: float) -> dict[str, Any]:
    top = [{"token": name, "logprob": math.log(value)} for name, value in {text: share, **others}.items()]
    return {"token": text, "logprob": math.log(share), "top_logprobs": top}


def test_the_entropy_of_the_tokens_between_the_tags() -> None:
    tokens = [
        token("<answer", 1.0, x=1e-9),
        token(">", 0.5, x=0.5),
        token("B", 0.5, A=0.5),
        token("</answer>", 0.9, x=0.1),
    ]
    found = answer_uncertainty(tokens)
    assert found is not None
    assert found.measure == "entropy"
    assert found.value == pytest.approx(math.log(2))


def test_what_is_not_told_counts_as_one_more_outcome() -> None:
    found = answer_uncertainty([token("B", 0.5, A=0.25)])
    assert found is not None
    assert found.value == pytest.approx(-0.5 * math.log(0.5) - 2 * 0.25 * math.log(0.25))


def test_tags_that_share_a_token_with_the_answer() -> None:
    found = answer_uncertainty(
        [token("<answer>B", 0.5, A=0.5), token("2</answer>", 0.5, A=0.5), token("!", 1.0, x=1e-9)]
    )
    assert found is not None
    assert found.value == pytest.approx(math.log(2))


def test_without_other_tokens_it_is_the_surprisal() -> None:
    found = answer_uncertainty([{"token": "B", "logprob": -0.25}, {"token": "C", "logprob": -0.75, "top_logprobs": []}])
    assert found is not None
    assert (found.measure, found.value) == ("surprisal", 0.5)


@pytest.mark.parametrize(
    "given",
    [None, [], [None], ["B"], [{"token": "B"}], [{"token": 1, "logprob": -1}], [{"token": "B", "logprob": "-1"}],
     [{"token": "B", "logprob": float("nan")}], [{"token": "B", "logprob": 3.0}], [{"token": "B", "logprob": True}]],
)  # fmt: skip
def test_what_cannot_be_read_is_none(given: list[Any] | None) -> None:
    assert answer_uncertainty(given) is None


@given(st.lists(st.tuples(st.floats(-9999, 0), st.floats(-9999, 0)), min_size=1, max_size=5))
def test_it_is_never_negative_nor_infinite(logprobs: list[tuple[float, float]]) -> None:
    entries = [
        {
            "token": "a",
            "logprob": one,
            "top_logprobs": [{"token": t, "logprob": p} for t, p in (("a", one), ("b", two))],
        }
        for one, two in logprobs
    ]
    found = answer_uncertainty(entries)
    assert found is not None
    assert 0 <= found.value < 10


def test_an_impossible_token_does_not_stop_it() -> None:
    found = answer_uncertainty([{"token": "B", "logprob": -math.inf}])
    assert found is not None
    assert math.isfinite(found.value)
