"""Intervals and tests against figures from the literature and from first principles."""

from __future__ import annotations

import math

import pytest

from curate.evals.statistics import mcnemar_exact
from curate.select.statistics import wilson_interval


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [
        # Newcombe 1998 (Statistics in Medicine 17:857-872), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_s_interval_is_that_of_newcombe_s_table(right: int, rows: int, low: float, high: float) -> None:
    assert wilson_interval(right, rows) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_s_interval_is_symmetric_and_knows_nothing_without_rows() -> None:
    low, high = wilson_interval(3, 10)
    assert wilson_interval(7, 10) == (pytest.approx(1 - high), pytest.approx(1 - low))
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="11 of 10"):
        wilson_interval(11, 10)


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (0, 5, 2 / 32), (10, 2, 2 * (1 + 12 + 66) / 4096), (4, 4, 1.0)],
)
def test_mcnemar_s_exact_test_is_twice_the_binomial_tail(better: int, worse: int, p: float) -> None:
    assert mcnemar_exact(better, worse) == pytest.approx(p)


def test_mcnemar_s_exact_test_holds_for_many_rows() -> None:
    # The normal approximation with continuity correction, which is close for so many rows.
    z = (60_500 - 59_500 - 1) / math.sqrt(120_000)
    assert mcnemar_exact(60_500, 59_500) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-3)
