"""How large a mixture and its parts become: shares against what there is, and what to change where it is too little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from curate.corpus import UserError
from curate.select.policy_sections import MOST_COPIES

Amounts = npt.NDArray[np.float64]

_MOST_NAMED = 12
"""Parts that an error lists; a grouped mixture can have thousands."""


@dataclass(frozen=True)
class Supply:
    """A part of a mixture: what is asked of it and what there is."""

    name: str
    weight: float
    max_copies: float
    samples: int
    available: int
    """Samples or tokens, in the mixture's unit."""
    elsewhere: int = 0
    """Samples that satisfy the part's condition and that parts before it take."""

    @property
    def capacity(self) -> float:
        """The most that the part can give."""
        return self.max_copies * self.available


@dataclass(frozen=True)
class Targets:
    """How much a mixture takes."""

    whole: float
    of_part: Amounts
    limited_by: str | None
    """The part that keeps the whole from being larger; None where the budget does."""
    shrunk: bool
    """Whether the whole is smaller than the budget."""


def plan_targets(
    parts: Sequence[Supply],
    budget: int | None,
    shortfall: Literal["stop", "shrink"],
    unit: Literal["samples", "tokens"],
    *,
    grouped: bool = False,
) -> Targets:
    """What each part gives, in ``unit``: its share of the budget, or of the largest whole that the shares allow.

    A part may be short of its target by half a sample. ``grouped`` says that the parts are the values of a column,
    whose weights nobody wrote. Raises UserError when a part with a weight has nothing, or ``shortfall`` is stop and
    parts have too little for the budget; it names each with numbers that would do.
    """
    _check_filled(parts, unit)
    shares = np.array([part.weight for part in parts]) / sum(part.weight for part in parts)
    largest, narrowest = _largest_whole(parts, shares)
    if budget is None:
        return Targets(largest, shares * largest, narrowest, shrunk=False)
    if not _short(parts, shares, budget).any():
        return Targets(float(budget), shares * budget, None, shrunk=False)
    if shortfall == "shrink":
        return Targets(largest, shares * largest, narrowest, shrunk=True)
    raise UserError(_short_sentence(parts, shares, budget, unit, grouped))


def _check_filled(parts: Sequence[Supply], unit: str) -> None:
    empty = [part for part in parts if part.weight > 0 and not part.available]
    if empty:
        lines = [
            f"part {part.name!r} has weight {part.weight:.6g} but no {'tokens' if part.samples else 'sample'}"
            + (f" ({part.elsewhere:,} satisfy its condition, but parts before it take them)" if part.elsewhere else "")
            for part in empty
        ]
        raise UserError(
            f"the mixture cannot be made: {_listed(lines)}; give such a part weight 0, or change its condition or the "
            "order of the parts"
        )


def _largest_whole(parts: Sequence[Supply], shares: Amounts) -> tuple[float, str]:
    """The largest whole that the shares allow, and the part that limits it."""
    capacity = np.array([part.capacity for part in parts])
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.where(shares > 0, capacity / shares, np.inf)
    narrowest = int(np.argmin(whole))
    return float(whole[narrowest]), parts[narrowest].name


def _short(parts: Sequence[Supply], shares: Amounts, budget: float) -> npt.NDArray[np.bool_]:
    """Which parts have too little, by more than the half sample to which amounts are rounded anyway."""
    capacity = np.array([part.capacity for part in parts])
    half_sample = np.array([0.5 * part.available / max(part.samples, 1) for part in parts])
    found: npt.NDArray[np.bool_] = shares * budget > capacity + half_sample
    return found


def _short_sentence(parts: Sequence[Supply], shares: Amounts, budget: int, unit: str, grouped: bool) -> str:
    short = np.flatnonzero(_short(parts, shares, budget)).tolist()
    lines = [
        f"it asks {100 * shares[number]:.4g} % ({shares[number] * budget:,.0f} {unit}) of part {parts[number].name!r}, "
        f"which has {parts[number].available:,} (x max_copies {parts[number].max_copies:g} = "
        f"{parts[number].capacity:,.0f}): {shares[number] * budget - parts[number].capacity:,.0f} too few"
        for number in short
    ]
    largest, _ = _largest_whole(parts, shares)
    copies = {parts[number].name: enough_copies(parts[number], shares[number] * budget) for number in short}
    weights = None if grouped else enough_weights(parts, budget)
    ways = (
        [] if weights is None else [f"lower weights ({_listed([f'{name} to {to}' for name, to in weights.items()])})"]
    )
    if max(map(float, copies.values())) <= MOST_COPIES:
        each = _listed([f"{name} to {value}" for name, value in copies.items()])
        ways.append(
            f"raise max_copies to {max(copies.values(), key=float)}" if grouped else f"raise max_copies ({each})"
        )
    if largest >= 1:
        ways.append(f"lower the budget to {math.floor(largest):,}")
    return (
        f"the mixture cannot have its {budget:,} {unit}: {_listed(lines, '; ')}. Either {', or '.join(ways)}, or say "
        "shortfall: shrink"
    )


def enough_copies(part: Supply, target: float) -> str:
    """The least ``max_copies``, with two decimals, by which a part reaches a target."""
    hundredths = math.ceil(100 * target / part.available)
    if hundredths / 100 * part.available < target:
        hundredths += 1
    return f"{hundredths / 100:.2f}".rstrip("0").rstrip(".")


def enough_weights(parts: Sequence[Supply], budget: int) -> dict[str, str] | None:
    """The weights to lower, the others left as they are, for no part to be short; None where no weights do.

    The parts that are short get what they have, the others share the rest by their weights; those that this makes short
    join the short ones.
    """
    weights = np.array([part.weight for part in parts])
    capacity = np.array([part.capacity for part in parts])
    short = _short(parts, weights / weights.sum(), budget)
    while True:
        rest = 1 - capacity[short].sum() / budget
        if rest <= 0 or not weights[~short].sum():
            return None
        lowered = np.where(short, capacity / budget * weights[~short].sum() / rest, weights)
        more = _short(parts, lowered / lowered.sum(), budget) | short
        if (more == short).all():
            break
        short = more
    for digits in range(3, 18):
        shown = [_rounded_down(weight, digits) for weight in lowered]
        tried = [
            replace(part, weight=float(text)) if low else part
            for part, text, low in zip(parts, shown, short, strict=True)
        ]
        shares = np.array([part.weight for part in tried]) / sum(part.weight for part in tried)
        if not _short(tried, shares, budget).any():
            break
    return {part.name: text for part, text, low in zip(parts, shown, short, strict=True) if low}


def _rounded_down(value: float, digits: int) -> str:
    """A positive number with so many significant digits, not larger than it is."""
    if not value:
        return "0"
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    shown = f"{math.floor(value / step) * step:.{digits}g}"
    return shown if "e" not in shown else format(float(shown), "f").rstrip("0").rstrip(".")


def _listed(lines: Sequence[str], separator: str = ", ") -> str:
    more = len(lines) - _MOST_NAMED
    return separator.join(lines[:_MOST_NAMED]) + (f"{separator}and {more:,} more" if more > 0 else "")
