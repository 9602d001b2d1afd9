"""The rules about single samples, applied shard by shard, and what the later stages need to know of the facts."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.corpus import Corpus, UserError
from curate.engine import map_in_order
from curate.select.facts import first_line, is_meta, read_facts, verdict_shards
from curate.select.policy import Policy
from curate.select.policy_rules import PolicyRules
from curate.select.pool import DROPPED, Pool, Stage
from curate.select.rules import Rule
from curate.select.subsets import SubsetTally

_SCORED = "scored"


class FirstPass:
    """The rules about single samples, shard by shard, and what later stages need of the facts."""

    def __init__(self, corpus: Corpus, rules: PolicyRules, passes: pl.Expr | None, where: str | None) -> None:
        self.tally = SubsetTally()
        self.judged = bool(verdict_shards(corpus))
        self._corpus, self._rules, self._passes, self._where = corpus, rules, passes, where
        self._statuses: list[pl.Series] = []
        self._seen: set[str] = set()
        """Fields of meta that a sample has, and sources."""
        parts = [part for rule in rules.all for part in (rule.violated, rule.reason)]
        needed = {
            column for part in (*parts, *([] if passes is None else [passes])) for column in part.meta.root_names()
        }
        self._needed = needed | {"source", "judge_status", "judge_score"}

    def stage(self, pool: Pool) -> Stage:
        """What the rules drop."""
        frames = [pl.DataFrame(schema=DROPPED)]
        # In threads: Polars and Arrow leave Python's lock, and processes would take longer to start than this takes.
        decided = map_in_order(lambda: self._decide, pool.shards, size=lambda _: 0, patience=float("inf"))
        for number, (dropped, eligible, statuses, seen) in enumerate(decided):
            frames.append(dropped.with_columns(pl.col("row") + int(pool.starts[number])))
            self._statuses.append(statuses)
            self._seen |= seen
            if self._passes is not None:
                self.tally.add(eligible)
        return Stage(pl.concat(frames))

    def _decide(self, shard: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.Series, set[str]]:
        """Of a shard the dropped samples by row, all samples for the gate on subsets, their judge status, and the names
        that occur."""
        facts = read_facts(self._corpus, shard, self._needed)
        before, all_rules = _first_violated(self._rules.before), _first_violated(self._rules.all)
        passes = pl.lit(None, pl.Boolean) if self._passes is None else self._passes
        try:
            ruled = facts.select(
                row=pl.int_range(pl.len(), dtype=pl.Int64),
                rule=all_rules[0],
                reason=all_rules[1],
                related=pl.lit(None, pl.String),
                before=before[0],
                passes=passes,
            )
        except pl.exceptions.PolarsError as error:
            raise UserError(f"{self._failing(facts)} fails on a sample in {shard}: {first_line(error)}") from None
        eligible = facts.select("id", "source", "judge_status", "judge_score").with_columns(
            passes=ruled["passes"], eligible=ruled["before"].is_null()
        )
        meta = {name for name in self._needed if is_meta(name) and facts[name].null_count() < len(facts)}
        seen = {*meta, *(f"source {source}" for source in facts["source"].unique())}
        if "judge_defects" in self._needed:
            seen |= {f"defect {defect}" for defect in facts["judge_defects"].explode().drop_nulls().unique()}
        scored = pl.when(pl.col("judge_score").is_not_null()).then(pl.lit(_SCORED))
        statuses = facts.select(scored.otherwise(pl.col("judge_status").fill_null("not_asked")).cast(pl.Categorical))
        dropped = ruled.filter(pl.col("rule").is_not_null()).drop("before", "passes")
        return dropped, eligible, statuses.to_series(), seen

    def _failing(self, facts: pl.DataFrame) -> str:
        """What the user would call the condition that cannot be worked out on these facts."""
        for name, part in [(rule.name, part) for rule in self._rules.all for part in (rule.violated, rule.reason)]:
            try:
                facts.select(part)
            except pl.exceptions.PolarsError:
                return f"--where {self._where!r}" if name == "where" else f"the rule {name}"
        return "subsets.passes"

    def notes(self, policy: Policy) -> list[str]:
        """Names in the policy that no sample has: nothing is wrong with that, but it may be a slip of the pen."""
        sources = sorted(name.removeprefix("source ") for name in self._seen if name.startswith("source "))
        named = {f"rules.{rule.name}.sources": rule.sources or [] for rule in policy.rules}
        named["declare_deidentified"] = policy.declare_deidentified
        notes = [
            f"no sample is of the source {source!r} ({place}){_near(source, sources)}"
            for place, given in named.items()
            for source in given
            if source not in sources
        ]
        found = sorted(name.removeprefix("defect ") for name in self._seen if name.startswith("defect "))
        notes += [
            f"no verdict has the defect {defect!r} (judge.drop_defects){_near(defect, found)}"
            for defect in policy.judge.drop_defects
            if self.judged and defect not in found
        ]
        notes += [f"no sample has {name}" for name in sorted(filter(is_meta, self._needed)) if name not in self._seen]
        if not self.judged:
            notes.append("nothing was judged: the judge's gates and the gate on subsets decide nothing")
        return notes

    def unjudged(self, alive: npt.NDArray[np.bool_]) -> dict[str, int]:
        """Samples that are still in without a score, by judge status; empty when nothing was ever judged."""
        if not self.judged:
            return {}
        counts: Counter[str] = Counter()
        start = 0
        for statuses in self._statuses:
            kept = statuses.filter(pl.Series(alive[start : start + len(statuses)]))
            counts.update(dict(kept.cast(pl.String).value_counts().iter_rows()))
            start += len(statuses)
        del counts[_SCORED]
        return dict(sorted(counts.items()))


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _first_violated(rules: Sequence[Rule]) -> tuple[pl.Expr, pl.Expr]:
    """Name and reason of the first rule each sample violates, null where it violates none."""
    violated = [rule.violated.fill_null(value=False) for rule in rules]
    names = [pl.when(hit).then(pl.lit(rule.name)) for hit, rule in zip(violated, rules, strict=True)]
    reasons = [pl.when(hit).then(rule.reason) for hit, rule in zip(violated, rules, strict=True)]
    return pl.coalesce(names), pl.coalesce(reasons)
