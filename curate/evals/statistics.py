"""How sure one can be of a difference between two models on the same rows."""

from __future__ import annotations

import math


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
