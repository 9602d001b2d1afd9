"""How sure one can be of a share, given a sample."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson_interval(right: float, rows: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval that holds the true share of successes with ``confidence`` (Wilson 1927, JASA 22:209-212).

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
