"""Which part of a mixture takes a sample: the first whose condition and subsets fit."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from curate.corpus import Corpus, UserError
from curate.select.facts import first_line
from curate.select.policy_sections import Part
from curate.select.rules import condition
from curate.select.tokens import Integers

NO_PART: Final = -1
"""Part of a sample that no part takes."""


@dataclass(frozen=True)
class PartFlags:
    """The parts of some samples."""

    part: Integers
    """For each sample the number of its part, or :data:`NO_PART`."""
    satisfied: Integers
    """For each part how many samples satisfy its condition, those that an earlier part takes among them."""

    @staticmethod
    def joined(flags: Sequence[PartFlags]) -> PartFlags:
        """Those of all shards."""
        satisfied: Integers = np.sum([some.satisfied for some in flags], axis=0)
        return PartFlags(np.concatenate([some.part for some in flags]), satisfied)


@dataclass(frozen=True)
class _Flags:
    names: list[str]
    tests: list[pl.Expr]
    columns: set[str]
    """Fact columns that the tests need."""

    def of(self, facts: pl.DataFrame) -> PartFlags:
        """The parts of samples with these facts."""
        satisfied = np.empty((len(self.tests), len(facts)), bool)
        for number, test in enumerate(self.tests):
            try:
                satisfied[number] = facts.select("id", hit=test)["hit"].to_numpy()
            except pl.exceptions.PolarsError as error:
                raise UserError(
                    f"mixture.parts.{self.names[number]}.where fails on a sample: {first_line(error)}"
                ) from None
        part = np.where(satisfied.any(axis=0), satisfied.argmax(axis=0), NO_PART)
        return PartFlags(part.astype(np.int64), satisfied.sum(axis=1))


def part_flags(corpus: Corpus, parts: Sequence[Part], columns: Mapping[str, pl.DataType]) -> _Flags:
    """The tests of the parts, tried before any work.

    Raises UserError for two parts of one name, a part after one that takes everything, a subset that the corpus does
    not have, and conditions that cannot be used.
    """
    seen: set[str] = set()
    known: list[str] | None = None
    tests: list[pl.Expr] = []
    needed: set[str] = set()
    rest: str | None = None
    for part in parts:
        if part.name in seen:
            raise UserError(f"two parts of the mixture are called {part.name!r}")
        if rest is not None:
            raise UserError(
                f"the mixture's part {part.name!r} gets nothing: {rest!r} before it has no condition and takes every "
                f"sample; put {rest!r} last"
            )
        seen.add(part.name)
        test = pl.lit(value=True)
        if part.where is not None:
            test = condition(part.where, columns, f"mixture.parts.{part.name}.where").fill_null(value=False)
            needed.update(test.meta.root_names())
        if part.sources is not None:
            known = _subsets(corpus) if known is None else known
            _check_subsets(part, known)
            inside = pl.col("source").is_in(pl.Series(part.sources, dtype=pl.String).implode())
            test = inside if part.where is None else test & inside
            needed.add("source")
        if part.where is None and part.sources is None:
            rest = part.name
        tests.append(test)
    return _Flags([part.name for part in parts], tests, needed)


def _subsets(corpus: Corpus) -> list[str]:
    found = pl.scan_parquet(corpus.shards()).select(pl.col("source").unique().sort()).collect()
    return found["source"].to_list()


def _check_subsets(part: Part, known: Collection[str]) -> None:
    for name in part.sources or []:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(sorted(known))}"
            raise UserError(f"mixture.parts.{part.name}.sources: the corpus has no subset {name!r}; {hint}")
