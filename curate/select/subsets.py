"""Subsets that systematically fail: removed whole, on the evidence of a judged random sample."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.select.policy_sections import SubsetGate
from curate.select.pool import DROPPED, Pool, Stage
from curate.select.statistics import wilson_interval

_MOST_MORE = 1_000_000
"""Judged samples beyond which it is not worth saying how many would decide."""

_NOT_JUDGED, _FAILS, _PASSES = range(3)


@dataclass(frozen=True)
class SubsetVerdict:
    """What is decided about a subset, and on what evidence."""

    source: str
    samples: int
    """Samples that no rule about the sample itself drops."""
    judged: int
    """Judged samples that count: those that are a random choice of the subset."""
    passed: int
    low: float
    high: float
    """Wilson score interval of the share of samples that pass."""
    decision: Literal["keep", "drop"]
    decided: bool
    """False when there was too little evidence."""
    sentence: str
    """The evidence, and what it would take to decide otherwise."""


@dataclass
class SubsetTally:
    """What is known of each subset's samples, gathered shard by shard.

    An id is a hash of content, so the judged samples with the smallest ids, up to the first that was not asked, are a
    random choice of the subset whichever way the judge went through the corpus. Those beyond are not: a run that was
    interrupted has judged whatever came first.
    """

    _frames: list[pl.DataFrame] = field(default_factory=list)
    _sizes: Counter[str] = field(default_factory=Counter)
    """All samples of each subset."""

    def add(self, samples: pl.DataFrame) -> None:
        """Take the samples of a shard: ``id``, ``source``, ``judge_status``, ``judge_score``, ``passes``, ``eligible``.

        Only those that are ``eligible``, which no rule about the sample itself drops, count. Those that the judge
        refused or failed to score say nothing about the subset and are left out.
        """
        judged = pl.col("judge_score").is_not_null()
        state = pl.when(judged & pl.col("passes").fill_null(value=False)).then(_PASSES).when(judged).then(_FAILS)
        asked = pl.col("judge_status").is_in(["failed", "refused"]).fill_null(value=False)
        self._sizes.update(dict(samples.group_by("source").len().iter_rows()))
        self._frames.append(
            samples.filter(pl.col("eligible") & (judged | ~asked)).select(
                "source",
                key=pl.col("id").str.head(16).str.to_integer(base=16, dtype=pl.UInt64),
                state=state.otherwise(_NOT_JUDGED).cast(pl.Int8),
            )
        )

    def subsets(self) -> Iterator[tuple[str, int, int, npt.NDArray[np.bool_]]]:
        """For each subset its name, all its samples, those that count, and for each randomly chosen judged sample
        whether it passes."""
        if not self._frames:
            return
        for (source,), rows in sorted(pl.concat(self._frames).group_by("source")):
            state = rows.sort("key")["state"].to_numpy()
            unasked = np.flatnonzero(state == _NOT_JUDGED)
            prefix = state[: unasked[0]] if unasked.size else state
            yield str(source), self._sizes[str(source)], len(state), prefix == _PASSES


def decide_subsets(tally: SubsetTally, gate: SubsetGate) -> list[SubsetVerdict]:
    """Decide about every subset, by name."""
    return [
        _decide(source, whole, size, int(passed.sum()), len(passed), gate)
        for source, whole, size, passed in tally.subsets()
    ]


def subsets_stage(pool: Pool, verdicts: list[SubsetVerdict]) -> Stage:
    """Drop what is still in of the subsets that are removed."""
    account = {"subsets": [asdict(verdict) for verdict in verdicts]}
    sentences = {verdict.source: verdict.sentence for verdict in verdicts if verdict.decision == "drop"}
    if not sentences:
        return Stage(pl.DataFrame(schema=DROPPED), account)
    table = pl.DataFrame({"source": list(sentences), "reason": list(sentences.values())})
    frames = [pl.DataFrame(schema=DROPPED)]
    for rows, facts in pool.facts(["source"]):
        frame = facts.select("source", row=pl.Series(rows)).join(table, on="source", maintain_order="left")
        frames.append(frame.select("row", rule=pl.lit("subset"), reason="reason", related=pl.lit(None, pl.String)))
    return Stage(pl.concat(frames), account)


def _decide(source: str, whole: int, size: int, passed: int, judged: int, gate: SubsetGate) -> SubsetVerdict:
    low, high = wilson_interval(passed, judged, gate.confidence)
    needed, confidence = gate.min_pass_share, f"{100 * gate.confidence:g} %"
    found = (
        f"{passed:,} of {judged:,} judged samples pass ({_percent(low)} to {_percent(high)} at {confidence} confidence)"
    )
    asked = f"the policy asks for {_percent(needed)}"
    decision: Literal["keep", "drop"]
    if judged < gate.min_judged:
        decision, decided = gate.undecided, False
        sentence = (
            f"{found}; {asked} and {gate.min_judged:,} judged samples, and the subset has only {size:,}"
            if judged >= size
            else f"{found}; {asked}, and at least {gate.min_judged:,} judged samples, chosen at random, to decide: "
            f"curate score CORPUS --judge --sample {_sample_size(gate.min_judged * whole / size)}"
        )
    elif high < needed:
        decision, decided = "drop", True
        enough = _fewest_to_stay(judged, gate)
        sentence = f"{found}; {asked}: {enough:,} of {judged:,} would keep it, or min_pass_share {_floor(high):g}"
    elif low >= needed:
        decision, decided = "keep", True
        sentence = f"{found}; {asked}"
    else:
        decision, decided = gate.undecided, False
        more = _judged_to_decide(passed / judged, judged, gate)
        hint = f"about {more:,} judged samples would decide" if more else "no number of judged samples may decide"
        sentence = f"{found}; {asked}, which lies between: {hint}"
    return SubsetVerdict(source, size, judged, passed, round(low, 4), round(high, 4), decision, decided, sentence)


def _sample_size(samples: float) -> int:
    """How many to judge so that enough of them count: rounded up to two digits, with a tenth to spare."""
    wanted = math.ceil(1.1 * samples)
    step: int = 10 ** max(0, len(str(wanted)) - 2)
    return -(-wanted // step) * step


def _fewest_to_stay(judged: int, gate: SubsetGate) -> int:
    """Passing samples out of ``judged`` with which the subset would not be removed."""
    low, high = 0, judged
    while low < high:
        middle = (low + high) // 2
        if wilson_interval(middle, judged, gate.confidence)[1] >= gate.min_pass_share:
            high = middle
        else:
            low = middle + 1
    return low


def _judged_to_decide(share: float, judged: int, gate: SubsetGate) -> int | None:
    """Judged samples that would settle it if the share stayed as it is; None when that is too far off."""

    def settled(rows: int) -> bool:
        low, high = wilson_interval(share * rows, rows, gate.confidence)
        return low >= gate.min_pass_share or high < gate.min_pass_share

    top = judged
    while not settled(top):
        top *= 2
        if top > _MOST_MORE:
            return None
    bottom = judged
    while bottom < top:
        middle = (bottom + top) // 2
        if settled(middle):
            top = middle
        else:
            bottom = middle + 1
    return top


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _floor(share: float) -> float:
    """Rounded down to what can be written into a policy."""
    return int(share * 1000) / 1000
