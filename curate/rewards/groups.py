"""GRPO's view of scores: the responses to one query are a group, and only differences inside a group teach anything."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["all wrong", "mixed", "all right", "level"]
KINDS: tuple[Kind, ...] = ("all wrong", "mixed", "all right", "level")
"""By accuracy: 0 for every response; different; 1 for every response; the same share of 1 for every response."""


def advantages(rewards: Sequence[float]) -> list[float]:
    """Group-relative advantages, A_i = (r_i - mean) / std, as the recipe defines them.

    ``std`` is the sample standard deviation (divided by G - 1), which verl takes too; verl adds 1e-6 to it. A group
    whose rewards are all equal, or which has one response only, has nothing to compare: 0 for each.
    """
    if not has_spread(rewards):
        return [0.0] * len(rewards)
    mean = math.fsum(rewards) / len(rewards)
    deviations = [reward - mean for reward in rewards]
    std = math.sqrt(math.fsum(d * d for d in deviations) / (len(rewards) - 1))
    return [d / std for d in deviations]


def has_spread(values: Sequence[float]) -> bool:
    """Whether the values differ by more than rounding."""
    return bool(values) and max(values) - min(values) > 1e-9


def kind_of(accuracies: Sequence[float]) -> Kind:
    """What a group is like, judged by accuracy alone.

    Not by the total reward: a format term gives a group without a single right answer a spread, and GRPO then learns
    the format from it and nothing about the question.
    """
    if has_spread(accuracies):
        return "mixed"
    return "all wrong" if accuracies[0] <= 0 else "all right" if accuracies[0] >= 1 else "level"


@dataclass
class Tally:
    """Groups of one kind."""

    groups: int = 0
    responses: int = 0
    mean_score: float = 0.0
    advantage_highest: float = 0.0
    """Mean over the groups of the highest advantage in each."""
    advantage_lowest: float = 0.0
    """Mean over the groups of the lowest."""


@dataclass
class GroupSummary:
    """What a training step would make of the groups."""

    groups: int = 0
    """Groups of at least two responses; the rest of this counts only these."""
    single_responses: int = 0
    """Responses that are alone in their group: no advantage can be computed for them."""
    sizes: dict[int, int] = field(default_factory=dict)
    """Responses in a group -> number of such groups."""
    no_spread_in_accuracy: int = 0
    """Groups from which GRPO learns nothing about being right."""
    no_spread_in_score: int = 0
    """Groups from which GRPO learns nothing at all."""
    kinds: dict[Kind, Tally] = field(default_factory=lambda: {kind: Tally() for kind in KINDS})

    @property
    def share_without_spread(self) -> float:
        """Share of the groups without a spread in accuracy, 0 to 1; 0 without groups."""
        return self.no_spread_in_accuracy / self.groups if self.groups else 0.0

    def to_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {**asdict(self), "share_no_spread_in_accuracy": self.share_without_spread}


def summarise_groups(groups: Iterable[tuple[Sequence[float], Sequence[float]]]) -> GroupSummary:
    """Count groups given as (scores, accuracies) of their responses."""
    summary = GroupSummary()
    for scores, accuracies in groups:
        if len(scores) < 2:
            summary.single_responses += len(scores)
            continue
        kind, group = kind_of(accuracies), advantages(scores)
        summary.groups += 1
        summary.sizes[len(scores)] = summary.sizes.get(len(scores), 0) + 1
        summary.no_spread_in_accuracy += kind != "mixed"
        summary.no_spread_in_score += not has_spread(scores)
        tally = summary.kinds[kind]
        tally.groups += 1
        tally.responses += len(scores)
        tally.mean_score += math.fsum(scores)
        tally.advantage_highest += max(group)
        tally.advantage_lowest += min(group)
    for tally in summary.kinds.values():
        tally.mean_score /= max(tally.responses, 1)
        tally.advantage_highest /= max(tally.groups, 1)
        tally.advantage_lowest /= max(tally.groups, 1)
    summary.sizes = dict(sorted(summary.sizes.items()))
    return summary
