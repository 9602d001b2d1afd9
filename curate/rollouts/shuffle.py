"""Options in another order, with the answer following: whether a model knows the answer or the letter.

PMC-VQA's authors ask a text-only model with the options shuffled five times and drop the questions that it answers
rightly at least three times: the picture is not needed (Zhang et al. 2023).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace

from curate.corpus import Sample, Turn
from curate.sources.derive.relettering import movable, relettered
from curate.sources.rejects import RejectError


def orders(sample: Sample, count: int) -> list[Sample | None]:
    """For each of ``count`` answers the question with its options in an order of their own; None for the one they have.

    The orders follow from the sample's id and the number of the answer alone: the first four are the same whether four
    or eight are asked for. They differ from one another as long as there are orders left. A question keeps its order
    where ``curate convert --to shuffled-choices`` would refuse it: without options, with options that name each other,
    with a reference that is not plainly one of them.
    """
    try:
        moving = movable(sample)
    except RejectError:
        return [None] * count
    found: list[Sample | None] = []
    seen: set[tuple[int, ...]] = set()
    left = math.factorial(moving)
    for number in range(count):
        if len(seen) == left:
            seen.clear()
        attempt, order = 0, _order(sample.id, number, 0, moving)
        while order in seen:
            attempt += 1
            order = _order(sample.id, number, attempt, moving)
        seen.add(order)
        found.append(_reordered(sample, order))
    return found


def _order(identity: str, number: int, attempt: int, moving: int) -> tuple[int, ...]:
    def rank(place: int) -> bytes:
        return hashlib.sha256(f"{identity}:{number}:{attempt}:{place}".encode()).digest()

    return tuple(sorted(range(moving), key=rank))


def _reordered(sample: Sample, order: tuple[int, ...]) -> Sample | None:
    """The sample as it is asked; it keeps the id of the one it was made of."""
    try:
        parts, choices, answer = relettered(sample, (*order, *range(len(order), len(sample.choices))))
    except RejectError:
        return None
    turns = (*sample.turns[:-1], Turn("user", parts))
    return replace(sample, turns=turns, choices=choices, answer=answer)
