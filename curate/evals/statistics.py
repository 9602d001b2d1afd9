"""How sure one can be of a share of right answers, and of a difference between two models on the same rows."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(right: float, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval that holds the true share of right answers with ``confidence`` (Wilson 1927, JASA 22:209-212).

    Unlike the interval of the normal approximation it is usable for few rows and for shares near 0 and 1. ``right`` may
    be a sum of partial credits from 0 to 1 a row, which vary less than right and wrong do: the interval is then wider
    than it needs to be. Without rows nothing is known: (0, 1). Raises ValueError unless 0 <= right <= rows.
    """
    if not 0 <= right <= rows:
        raise ValueError(f"{right} of {rows} rows cannot be right")
    if rows == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, spread = right / rows, z * z / rows
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / rows + spread / (4 * rows))
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar_exact(better: int, worse: int) -> float:
    """How likely a difference this large or larger is, were each changed row as likely to get better as to get worse.

    McNemar 1947 (Psychometrika 12:153-157) in its exact two-sided form: the binomial test on the rows that differ.
    """
    if better < 0 or worse < 0:
        raise ValueError("rows cannot be negative")
    changed, fewer = better + worse, min(better, worse)
    choices = math.lgamma(changed + 1) - math.lgamma(fewer + 1) - math.lgamma(changed - fewer + 1)
    term = math.exp(choices - changed * math.log(2))
    # From the likeliest outcome of the tail outwards, until the rest no longer counts.
    tail, count = 0.0, fewer
    while count >= 0 and term > tail * 1e-17:
        tail += term
        term *= count / (changed - count + 1)
        count -= 1
    return min(1.0, 2 * tail)
