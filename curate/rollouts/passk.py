"""pass@j: how likely at least one of j answers is right, estimated from n answers (Chen et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from math import comb


def pass_at(j: int, n: int, correct: int) -> float:
    """The unbiased estimate 1 - C(n - correct, j) / C(n, j) of Chen et al. (2021, arXiv 2107.03374).

    ``correct`` of ``n`` answers are right, 1 <= j <= n.
    """
    if not (1 <= j <= n and 0 <= correct <= n):
        raise ValueError(f"pass@{j} cannot be estimated from {correct} right answers of {n}")
    return 1.0 - comb(n - correct, j) / comb(n, j)


def mean_pass_at(histogram: Mapping[int, int], n: int) -> dict[int, float]:
    """Mean pass@j for j = 1, 2, 4, ... and n, from {correct answers: queries}; empty without queries."""
    queries = sum(histogram.values())
    if not queries:
        return {}
    steps = sorted({1 << power for power in range(n.bit_length()) if 1 << power <= n} | {n})
    return {j: sum(pass_at(j, n, right) * count for right, count in histogram.items()) / queries for j in steps}
