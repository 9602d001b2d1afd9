"""Options in another order, with the answer following: whether a model knows the answer or the letter.

PMC-VQA's authors ask a text-only model with the options shuffled five times and drop the questions that it answers
rightly at least three times: the picture is not needed (Zhang et al. 2023).
"""

from __future__ import annotations

import hashlib
import math
import re
from itertools import pairwise
from typing import Final, NamedTuple

from curate.corpus import Sample
from curate.rewards.choice import options_listed, options_named
from curate.rollouts.question import Choices, content_of, option_places

_OTHERS_ABOVE: Final = re.compile(
    r"\b(?:all|none|both|neither|either|any|some)\s+of\s+(?:the|these|those)\b|\bnone\b|以上|都是|都不是", re.IGNORECASE
)
"""An option about the options before it: it stays where it is."""
_OTHERS_BY_LETTER: Final = re.compile(r"\b(?-i:[A-H])\s*(?:,|&|\+|and|or|和|或)\s*(?-i:[A-H])\b", re.IGNORECASE)
"""An option that names others by their letters: the order must stay."""


class Shuffled(NamedTuple):
    """A question's options in a new order."""

    choices: Choices
    answer: tuple[str, ...]


def orders(sample: Sample, count: int) -> list[Shuffled | None]:
    """For each of ``count`` answers the options in an order of their own; None for the order they have.

    The orders follow from the sample's id and the number of the answer alone: the first four are the same whether four
    or eight are asked for. They differ from one another as long as there are orders left. A question without options,
    with options that name each other by letter, or whose reference is not plainly one of them keeps its order.
    """
    places = _answer_places(sample)
    texts = [text for _, text in sample.choices]
    free = [place for place, text in enumerate(texts) if not _OTHERS_ABOVE.search(text)]
    fixed = places is None or len(free) < 2 or any(map(_OTHERS_BY_LETTER.search, texts)) or _overlapping(sample)
    if fixed or places is None:
        return [None] * count
    found: list[Shuffled | None] = []
    seen: set[tuple[int, ...]] = set()
    left = math.factorial(len(free))
    for number in range(count):
        if len(seen) == left:
            seen.clear()
        attempt, order = 0, _order(sample.id, number, 0, free)
        while order in seen:
            attempt += 1
            order = _order(sample.id, number, attempt, free)
        seen.add(order)
        found.append(_reordered(sample, places, free, order))
    return found


def _order(identity: str, number: int, attempt: int, free: list[int]) -> tuple[int, ...]:
    def rank(place: int) -> bytes:
        return hashlib.sha256(f"{identity}:{number}:{attempt}:{place}".encode()).digest()

    return tuple(sorted(free, key=rank))


def _reordered(sample: Sample, answer: list[int], free: list[int], order: tuple[int, ...]) -> Shuffled:
    taken = list(range(len(sample.choices)))
    """For each place the option that stands there now."""
    for place, option in zip(free, order, strict=True):
        taken[place] = option
    choices = tuple(
        (label, sample.choices[option][1]) for (label, _), option in zip(sample.choices, taken, strict=True)
    )
    return Shuffled(choices, tuple(sample.choices[place][0] for place in sorted(map(taken.index, answer))))


def _answer_places(sample: Sample) -> list[int] | None:
    """Places of the options that the references name; None unless each names plainly what it means."""
    if sample.query_type == "multi_choice":
        places: set[int] = set()
        for reference in sample.answer:
            listed = options_listed(reference, sample.choices)
            if not listed or not all(isinstance(place, int) for place in listed):
                return None
            places |= {place for place in listed if isinstance(place, int)}
        return sorted(places)
    if sample.query_type != "choice":
        return None
    named = [options_named(reference, sample.choices) for reference in sample.answer]
    return [place for places in named for place in places] if all(len(places) == 1 for places in named) else None


def _overlapping(sample: Sample) -> bool:
    """Whether the question lists options at places that are not apart: they could not be exchanged there."""
    places = sorted(option_places(content_of(sample.turns[-1].parts), sample.choices) or [])
    return any(start < stop for (_, stop), (start, _) in pairwise(places))
