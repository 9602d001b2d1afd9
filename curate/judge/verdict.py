"""From a reply to a verdict: the score and the decision are derived here, not asked of the judge."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from curate.judge.reply import Reply
from curate.judge.rubric import DIMENSIONS, Rubric

Decided = Literal["accept", "review", "reject"]


class Verdict(BaseModel):
    """What the judge's reply means for the sample."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    score: float
    """Mean of the dimensions that were scored, 0 to 5."""
    decided: Decided
    medical_correctness: int
    fluency: int
    relevance: int | None
    completeness: int
    practicality: int
    defects: list[str]
    rationale: str


def derive(reply: Reply, rubric: Rubric) -> Verdict:
    """The verdict that follows from a reply by the rubric's decision rules (:class:`curate.judge.rubric.Decision`)."""
    scores = {name: getattr(reply, name) for name in DIMENSIONS}
    given = [score for score in scores.values() if score is not None]
    mean = sum(given) / len(given)
    accept, reject = rubric.decision.accept, rubric.decision.reject
    decided: Decided
    if rubric.critical & set(reply.defects) or mean < reject.mean_below or min(given) <= reject.any_at_most:
        decided = "reject"
    elif mean >= accept.mean_at_least and min(given) >= accept.every_at_least:
        decided = "accept"
    else:
        decided = "review"
    defects = list(dict.fromkeys(reply.defects))
    return Verdict(score=mean, decided=decided, defects=defects, rationale=reply.rationale, **scores)
