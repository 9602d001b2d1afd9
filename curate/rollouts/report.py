"""The account of a rollout run."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pyarrow as pa

from curate.judge.bill import Bill
from curate.rollouts.options import RolloutOptions
from curate.rollouts.passk import mean_pass_at


@dataclass
class SourceTally:
    """The scored queries of one source."""

    correct: Counter[int] = field(default_factory=Counter)
    """Right answers -> queries."""
    informative: int = 0
    """Queries whose answers differ in accuracy: those that GRPO learns being right from."""

    @property
    def queries(self) -> int:
        """Scored queries."""
        return self.correct.total()


@dataclass
class RolloutSummary(Bill):
    """The account of a run; :class:`curate.judge.bill.Bill` for requests and cost."""

    samples: int = 0
    """Samples of the corpus."""
    queries: int = 0
    scored: int = 0
    """Queries with all their answers."""
    failed: Counter[str] = field(default_factory=Counter)
    """Queries of which an answer is missing, by reason; the next run asks for it again."""
    refused: Counter[str] = field(default_factory=Counter)
    """Queries that were not sent, by reason."""
    not_asked: Counter[str] = field(default_factory=Counter)
    """Queries outside the choice, without a picture (text only), or not reached before the run stopped."""
    by_source: dict[str, SourceTally] = field(default_factory=dict)
    k: int = 0
    reused: int = 0
    """Answers that were in the journal before this run."""
    unparsed: int = 0
    """Answers in which no answer of the query's type was found; they count as wrong."""
    cut_off: int = 0
    """Answers that ran out of tokens."""
    alike: int = 0
    """Scored queries whose answers are all the same text."""
    accuracy: float = 0.0
    """Sum of the mean accuracies of the scored queries."""
    chance_queries: int = 0
    """Scored queries that guessing answers rightly at a known rate: yes or no, one of several options."""
    chance: float = 0.0
    """Sum of these rates."""
    chance_accuracy: float = 0.0
    """Sum of the mean accuracies of these queries."""
    done: int = 0
    """Queries settled so far, for the progress display."""

    @property
    def correct(self) -> Counter[int]:
        """Right answers -> scored queries, over all sources."""
        total: Counter[int] = Counter()
        for tally in self.by_source.values():
            total.update(tally.correct)
        return total

    @property
    def informative(self) -> int:
        """Scored queries whose answers differ in accuracy."""
        return sum(tally.informative for tally in self.by_source.values())

    @property
    def status(self) -> int:
        """The exit status: 0 all scored, 1 some failed or were refused, 2 it cannot work so, 3 stopped early."""
        if self.stop_kind is not None:
            return 2 if self.stop_kind == "hopeless" else 3
        return 1 if self.failed or self.refused else 0

    def add(self, facts: pa.Table, sources: pa.ChunkedArray) -> None:
        """Enter the rows of a facts shard that are about queries; ``sources`` has a value for each row."""
        frame = pl.DataFrame({name: pl.Series(name, facts[name]) for name in _COUNTED})
        frame = frame.with_columns(source=pl.Series("source", sources).cast(pl.String))
        frame = frame.filter(pl.col("rollout_reason").ne_missing("not_a_query"))
        words = pl.col("rollout_reason").str.split(":").list.first()
        for status, reason, count in frame.group_by("rollout_status", words).len().iter_rows():
            if status == "scored":
                self.scored += count
            else:
                counters = {"failed": self.failed, "refused": self.refused, "not_asked": self.not_asked}
                counters[status][reason or "unknown"] += count
        self.unparsed += int(frame["rollout_unparsed"].sum())
        self.cut_off += int(frame["rollout_cut_off"].sum())
        scored = frame.filter(pl.col("rollout_status") == "scored")
        for source, right, count, mixed in (
            scored.group_by("source", "rollout_correct").agg(pl.len(), pl.sum("rollout_informative")).iter_rows()
        ):
            tally = self.by_source.setdefault(source, SourceTally())
            tally.correct[right] += count
            tally.informative += mixed
        self.alike += int(scored["rollout_alike"].sum())
        self.accuracy += float(scored["rollout_mean_accuracy"].sum())
        guessed = scored.filter(pl.col("rollout_chance").is_not_null())
        self.chance_queries += len(guessed)
        self.chance += float(guessed["rollout_chance"].sum())
        self.chance_accuracy += float(guessed["rollout_mean_accuracy"].sum())

    def lineage(self, options: RolloutOptions) -> dict[str, Any]:
        """What ``Corpus.record("rollout", ...)`` takes: parameters and counts; nothing secret, no times."""
        return {
            "parameters": {
                "run": options.run,
                "endpoint": options.endpoint.host,
                "model": options.endpoint.model,
                "k": options.k,
                "text_only": options.text_only,
                "shuffle_options": options.shuffle_options,
                "temperature": options.temperature,
                "max_tokens": options.max_tokens,
                "image_side": options.bound.side,
                "image_bytes": options.bound.bytes,
                "system_prompt": options.system_prompt,
                "sample": options.sample,
                "budget": options.budget,
                "declared_deidentified": sorted(options.declared_deidentified),
            },
            "counts": self.to_json(),
        }

    def to_json(self) -> dict[str, Any]:
        """All counts as JSON values."""
        correct = self.correct
        return {
            "samples": self.samples,
            "queries": self.queries,
            "scored": self.scored,
            "failed": dict(self.failed),
            "refused": dict(self.refused),
            "not_asked": dict(self.not_asked),
            "k": self.k,
            "correct": {str(right): correct[right] for right in range(self.k + 1)},
            "informative": self.informative,
            "mean_accuracy": self.accuracy / self.scored if self.scored else None,
            "pass_at": {str(j): value for j, value in mean_pass_at(correct, self.k).items()},
            "chance": {
                "queries": self.chance_queries,
                "by_guessing": self.chance / self.chance_queries if self.chance_queries else None,
                "accuracy": self.chance_accuracy / self.chance_queries if self.chance_queries else None,
            },
            "unparsed": self.unparsed,
            "cut_off": self.cut_off,
            "alike": self.alike,
            "by_source": {
                source: {
                    "queries": tally.queries,
                    "correct": {str(right): tally.correct[right] for right in range(self.k + 1)},
                    "informative": tally.informative,
                    "pass_at": {str(j): value for j, value in mean_pass_at(tally.correct, self.k).items()},
                }
                for source, tally in sorted(self.by_source.items())
            },
            "reused": self.reused,
            **self.billed(),
        }


_COUNTED = (
    "rollout_status",
    "rollout_reason",
    "rollout_correct",
    "rollout_unparsed",
    "rollout_cut_off",
    "rollout_informative",
    "rollout_alike",
    "rollout_chance",
    "rollout_mean_accuracy",
)
