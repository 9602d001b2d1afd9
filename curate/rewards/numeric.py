"""The accuracy of numbers: one value, a tolerance, a unit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from curate.rewards.normalise import compatible
from curate.rewards.registry import Context, register
from curate.rewards.units import Unit, unit_of

_ABOUT = re.compile(
    r"(?:about|approximately|approx\.?|around|roughly|circa|ca\.|~|≈|=|大约|大概|约为|约)\s*", re.IGNORECASE
)
_NUMBER = re.compile(
    r"([+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9,])|[0-9]+(?!,[0-9]))(?:\.[0-9]+)?|[+-]?\.[0-9]+)"
    r"(?:[eE]([+-]?[0-9]{1,3})(?![0-9])| ?[x×*·] ?10\^([+-]?[0-9]{1,3}))?"
)
_NUMBER_WORDS = "zero one two three four five six seven eight nine ten eleven twelve"
_WORDS = {word: str(n) for words in (_NUMBER_WORDS.split(), "零一二三四五六七八九十") for n, word in enumerate(words)}
_WORDS["两"] = "2"
_NUMBER_WORD = re.compile(rf"(?:{_NUMBER_WORDS.replace(' ', '|')})\b|[零一二两三四五六七八九十]", re.IGNORECASE)
_COUNTED = re.compile(r"[^\W\d_]{1,20}")
_NOT_COUNTED = frozenset({"hundred", "thousand", "million", "billion", "dozen", "half", "or", "to", "and", "plus", "k"})
_MORE_NUMBER = frozenset("零一二两三四五六七八九十百千万亿半几多余或至到点分")
_EDGE = " \"'`*_$"


class Quantity(NamedTuple):
    """A number with its unit."""

    value: float
    unit: Unit | str | None
    """A known unit, the word for what is counted ("lesions"), or None."""


@register("numeric")
def numeric(answer: str, references: Sequence[str], context: Context) -> float | None:
    """1 when the number of the answer is within the tolerance of a reference's, in the same unit after conversion.

    The tolerance is the larger of ``relative_tolerance`` times the reference and ``absolute_tolerance`` (in the
    reference's unit); both may be given by the row in ``extra_info``. A reference without a unit takes
    ``extra_info["unit"]``. Where one side has no unit at all, the numbers are compared as they stand.
    """
    said = quantity(answer)
    if said is None:
        return None
    relative = _tolerance(context.extra.get("relative_tolerance"), context.relative_tolerance)
    absolute = _tolerance(context.extra.get("absolute_tolerance"), 0.0)
    if relative is None or absolute is None:
        return 0.0
    return float(any(_close(said, _reference(text, context), relative, absolute) for text in references))


def quantity(text: str) -> Quantity | None:
    """The one number that ``text`` is, with its unit.

    None for anything else: ranges, bounds ("< 5"), fractions, two numbers, "3,5" (which may be 3.5 or two numbers).
    """
    text = compatible(text).strip(_EDGE).rstrip(".。,，;；!！ ")
    text = text[about.end() :] if (about := _ABOUT.match(text)) else text
    if word := _NUMBER_WORD.match(text):
        text = _WORDS[word.group().casefold()] + text[word.end() :]
    number = _NUMBER.match(text)
    if number is None:
        return None
    value = float(f"{number[1].replace(',', '')}e{number[2] or number[3] or 0}")
    if not math.isfinite(value):
        return None
    suffix = text[number.end() :].strip()
    if not suffix:
        return Quantity(value, None)
    unit = unit_of(suffix)
    if unit is not None:
        return Quantity(value, unit)
    counted = suffix.casefold()
    # "3 million", "3万" and "3或4" are other numbers than 3; "3 lesions" is not.
    if not _COUNTED.fullmatch(suffix) or counted in _NOT_COUNTED or not _MORE_NUMBER.isdisjoint(counted):
        return None
    return Quantity(value, counted.removesuffix("s"))


def _reference(text: str, context: Context) -> Quantity | None:
    reference = quantity(text)
    unit = context.extra.get("unit")
    if reference is None or reference.unit is not None or not isinstance(unit, str):
        return reference
    return reference._replace(unit=unit_of(compatible(unit)))


def _close(said: Quantity, reference: Quantity | None, relative: float, absolute: float) -> bool:
    if reference is None:
        return False
    value = said.value
    if said.unit is not None and reference.unit is not None:
        if isinstance(said.unit, str) or isinstance(reference.unit, str):
            if said.unit != reference.unit:
                return False
        elif said.unit.dimension != reference.unit.dimension:
            return False
        else:
            value *= said.unit.factor / reference.unit.factor
    # The last term covers what binary fractions lose in a conversion.
    allowed = max(relative * abs(reference.value), absolute) + 1e-9 * abs(reference.value)
    return abs(value - reference.value) <= allowed


def _tolerance(given: Any, default: float) -> float | None:
    """A row's tolerance, the default where it names none, None when what it names is no tolerance."""
    if given is None:
        return default
    try:
        value = float(given)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and value >= 0 else None
