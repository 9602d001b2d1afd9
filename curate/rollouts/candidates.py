"""Explanations that were put to the test, and which of them is taught."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A response whose explanation was put to the test."""

    response: str
    right: bool
    """Whether the masked explanation led to the reference."""
    length: int
    measure: str | None
    uncertainty: float | None


def surest(candidates: list[Candidate]) -> tuple[Candidate, str]:
    """The candidate of the least uncertainty, and by what it was chosen: the shortest where none is known for all."""
    measures = {candidate.measure for candidate in candidates}
    measure = measures.pop() if len(measures) == 1 else None
    if measure is None:
        return min(candidates, key=lambda candidate: candidate.length), "length"
    return min(candidates, key=lambda candidate: (candidate.uncertainty or 0.0, candidate.length)), measure
