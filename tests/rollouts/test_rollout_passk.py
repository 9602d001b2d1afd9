"""pass@j against its definition: the share of all draws of j answers that hold a right one."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.rollouts import mean_pass_at, pass_at


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n), st.integers(0, n))))
def test_it_is_the_share_of_draws_with_a_right_answer(case: tuple[int, int, int]) -> None:
    j, n, correct = case
    draws = list(combinations([1] * correct + [0] * (n - correct), j))
    assert pass_at(j, n, correct) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


def test_means_over_queries() -> None:
    assert mean_pass_at({0: 1, 4: 1, 8: 2}, 8)[1] == pytest.approx((0 + 0.5 + 1 + 1) / 4)
    assert list(mean_pass_at({3: 1}, 6)) == [1, 2, 4, 6]
    assert list(mean_pass_at({1: 1}, 1)) == [1]
    assert mean_pass_at({}, 8) == {}


@pytest.mark.parametrize("case", [(0, 8, 1), (9, 8, 1), (1, 8, 9), (1, 8, -1)])
def test_what_cannot_be_estimated(case: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="cannot be estimated"):
        pass_at(*case)
