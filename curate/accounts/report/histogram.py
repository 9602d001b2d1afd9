"""Histograms that are counted shard by shard: the axis first, from a part of the values, then every value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
"""Measured values, NaN where there is none."""
Groups = npt.NDArray[np.int8]
"""For every sample 0 when it is kept (or nothing was decided), 1 when it is dropped."""

_BINS: Final = 36
_SINGLE_VALUES: Final = 40
"""Whole numbers that span no more than this get a bar each."""
_LARGEST: Final = 1e300
_SMALLEST: Final = 1e-290
_EXACT: Final = 2.0**46
"""Beyond it floats lie too far apart for bars between them; no measure of a sample comes near."""
_FEWEST_BARS: Final = 6
_SKEW: Final = 12
"""How many times farther from the median the upper end lies than the lower when the axis is logarithmic."""


@dataclass(frozen=True)
class Axis:
    """Where the bars of a histogram begin and end."""

    edges: Values
    """One more than there are bars. Values outside are counted in the first and the last."""
    whole: bool = False
    """Whether every bar is one whole number, in the middle between its edges."""
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        low, high = float(self.edges[0]), float(self.edges[-1])
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, low))
        return min(1.0, max(0.0, (value - low) / (high - low)))


def whole_axis(low: int, high: int) -> Axis:
    """A bar for every whole number from ``low`` to ``high``."""
    return Axis(np.arange(low, high + 2, dtype=np.float64) - 0.5, whole=True)


def choose_axis(values: Values, *, whole: bool, thresholds: Sequence[float] = ()) -> Axis:
    """The axis on which these values, of which there is at least one, are best seen.

    The half per cent at either end is left to the outermost bars where it would stretch the axis. Thresholds that lie
    near the values are on it.
    """
    values = np.clip(values, -_LARGEST, _LARGEST)
    low, high = float(values.min()), float(values.max())
    if max(abs(low), abs(high)) > _EXACT:
        return Axis(np.linspace(low, np.nextafter(high + (high - low), math.inf), 2))
    if whole and high - low <= _SINGLE_VALUES:
        near = [value for value in thresholds if low - 5 <= value <= high + 5]
        first, last = math.floor(min([low, *near])), math.ceil(max([high, *near]))
        return whole_axis(first, max(last, first + _FEWEST_BARS - 1))
    left, middle, right = (float(value) for value in np.quantile(values, [0.005, 0.5, 0.995]))
    left = low if left - low <= (right - left) / 4 else left
    right = high if high - right <= (right - left) / 4 else right
    reach = right - left or abs(right) or 1.0
    for value in thresholds:
        if left - reach <= value < left:
            left = max(value - reach / 20, min(0.0, low))
        elif right < value <= right + reach:
            right = value + reach / 20
    if low > 0 and left > _SMALLEST and right / left > 20 and right - middle > _SKEW * (middle - left):
        edges = 10 ** np.linspace(math.log10(left), math.log10(right), _BINS + 1)
        return Axis(edges, logarithmic=True)
    span = max(right - left or abs(right) or 1.0, _SMALLEST, max(abs(left), abs(right)) * 1e-9)
    step = _step(span / _BINS, whole=whole)
    first = math.floor(left / step)
    number = math.floor(right / step) + 1 - first if whole else max(1, math.ceil(right / step) - first)
    return Axis((first + np.arange(number + 1, dtype=np.float64)) * step)


def _step(least: float, *, whole: bool) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is not below ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least * (1 - 1e-9))
    return max(1.0, math.ceil(step)) if whole else step


@dataclass
class Histogram:
    """Counts on an axis, kept and dropped apart."""

    axis: Axis
    counts: npt.NDArray[np.int64] = field(init=False)
    """Shape (2, bars)."""
    missing: int = 0
    """Samples without a value, or with one that is no number."""
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf

    def __post_init__(self) -> None:
        self.counts = np.zeros((2, len(self.axis.edges) - 1), np.int64)

    def add(self, values: Values, groups: Groups) -> None:
        """Count the values of a shard."""
        known = np.isfinite(values)
        self.missing += len(values) - int(np.count_nonzero(known))
        found, bars = values[known], self.counts.shape[1]
        if not found.size:
            return
        places = np.clip(np.searchsorted(self.axis.edges, found, side="right") - 1, 0, bars - 1)
        flat = np.bincount(groups[known] * bars + places, minlength=2 * bars)
        self.counts += flat.reshape(2, bars)
        self.total += float(found.sum())
        self.low, self.high = min(self.low, float(found.min())), max(self.high, float(found.max()))

    @property
    def known(self) -> int:
        """Samples with a value."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Mean of the values; NaN without any."""
        return self.total / self.known if self.known else math.nan
