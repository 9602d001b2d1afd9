"""Group-relative advantages and what a group can teach."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.rewards.groups import advantages, has_spread, kind_of, summarise_groups

REWARDS = st.lists(st.sampled_from([0.0, 0.1, 0.325, 0.7, 1.0]), min_size=2, max_size=16)


@settings(deadline=None, derandomize=True)
@given(REWARDS)
def test_advantages_are_standard_scores_with_the_sample_deviation(rewards: list[float]) -> None:
    found = advantages(rewards)
    if len(set(rewards)) == 1:
        assert found == [0.0] * len(rewards)
        return
    expected = (np.array(rewards) - np.mean(rewards)) / np.std(rewards, ddof=1)
    assert found == pytest.approx(expected.tolist())
    assert np.mean(found) == pytest.approx(0.0, abs=1e-12)
    assert np.std(found, ddof=1) == pytest.approx(1.0)
    assert [a > b for a, b in pairwise(found)] == [a > b for a, b in pairwise(rewards)]


def test_one_right_of_four() -> None:
    assert advantages([1.0, 0.1, 0.1, 0.1]) == pytest.approx([1.5, -0.5, -0.5, -0.5])


def test_groups_without_anything_to_compare() -> None:
    assert advantages([]) == []
    assert advantages([0.7]) == [0.0]
    assert advantages([0.1 + 0.2, 0.3]) == [0.0, 0.0]
    assert not has_spread([])


def test_a_group_is_judged_by_accuracy_not_by_the_format_term() -> None:
    assert kind_of([0.0, 0.0]) == "all wrong"
    assert kind_of([1.0, 1.0]) == "all right"
    assert kind_of([0.5, 0.5]) == "level"
    assert kind_of([0.5, 0.6]) == "mixed"


def test_summary() -> None:
    summary = summarise_groups(
        [
            ([1.0, 0.1, 0.1, 0.1], [1.0, 0.0, 0.0, 0.0]),
            ([0.1, 0.0], [0.0, 0.0]),
            ([1.0, 1.0], [1.0, 1.0]),
            ([0.55, 0.55], [0.5, 0.5]),
            ([1.0], [1.0]),
        ]
    )
    assert (summary.groups, summary.single_responses, summary.sizes) == (4, 1, {2: 3, 4: 1})
    assert (summary.no_spread_in_accuracy, summary.no_spread_in_score) == (3, 2)
    assert summary.share_without_spread == 0.75
    assert {kind: tally.groups for kind, tally in summary.kinds.items()} == dict.fromkeys(summary.kinds, 1)
    wrong, mixed = summary.kinds["all wrong"], summary.kinds["mixed"]
    assert (wrong.advantage_highest, wrong.advantage_lowest) == pytest.approx((0.5**0.5, -(0.5**0.5)))
    assert (mixed.advantage_highest, mixed.advantage_lowest, mixed.mean_score) == pytest.approx((1.5, -0.5, 0.325))
    assert summary.to_json()["share_no_spread_in_accuracy"] == 0.75


def test_no_groups() -> None:
    assert summarise_groups([]).to_json()["share_no_spread_in_accuracy"] == 0.0
