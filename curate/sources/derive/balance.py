"""Yes/no questions balanced: some are left out so that saying always the same does not pay. None is ever changed.

A question that cannot be told to be answered by yes or by no is no yes/no question here, whatever its type; a choice
between "Yes" and "No" is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import UserError
from curate.rewards.choice import options_named
from curate.rewards.text import polarity
from curate.sources.derive.lineage import draw
from curate.sources.derive.option_lists import LONGEST_OPTION
from curate.sources.derive.options import ConvertOptions
from curate.sources.rejects import RejectError

States = npt.NDArray[np.uint8]
"""For every sample of a shard what is to be done with it."""
CONVERT, LEAVE, SURPLUS = 0, 1, 2
"""Convert it; it is of another kind or not selected; it is a yes/no question too many."""

_COLUMNS: Final = ["id", "source", "query_type", "answer", "choices"]


@dataclass(frozen=True)
class Balance:
    """What became of the yes/no questions."""

    yes: int
    no: int
    kept_yes: int
    kept_no: int
    others: int
    """Queries that are no yes/no questions; all of them stay."""
    by_source: dict[str, tuple[int, int, int, int]]
    """For each source: yes, no, kept yes, kept no."""


def balance_yes_no(shards: Sequence[Path], states: Sequence[States], options: ConvertOptions) -> Balance:
    """Mark the yes/no questions that are too many as :data:`SURPLUS` in ``states``.

    Of the answer there is more of, at most ``ratio`` times as many stay as of the other, in every source or over all;
    then, with ``yes_no_share``, both are cut in equal measure. Which ones stay depends on their ids and the seed alone.
    Raises UserError when the share cannot be kept because nothing but yes/no questions is there.
    """
    names: dict[str, int] = {}
    found: list[tuple[npt.NDArray[np.int64], ...]] = []
    keys: list[npt.NDArray[np.uint64]] = []
    others = 0
    for number, (shard, state) in enumerate(zip(shards, states, strict=True)):
        rows = np.flatnonzero(state == CONVERT)
        if not rows.size:
            continue
        with pq.ParquetFile(shard) as file:
            table = file.read(columns=_COLUMNS).take(pa.array(rows))
        said = _polarities(table)
        asked = np.flatnonzero(said >= 0)
        others += int(rows.size - asked.size)
        chosen = table.select(["id", "source"]).take(pa.array(asked))
        sources = [names.setdefault(name, len(names)) for name in chosen["source"].to_pylist()]
        found.append((np.full(asked.size, number), rows[asked], np.array(sources, np.int64), said[asked]))
        ids = chosen["id"].to_pylist()
        keys.append(np.array([draw(options.seed, sample_id, "yes or no") for sample_id in ids], np.uint64))
    if not found:
        return Balance(0, 0, 0, 0, others, {})
    shard_of, row_of, source_of, said = (np.concatenate(columns) for columns in zip(*found, strict=True))
    counts = np.zeros((len(names), 2), np.int64)
    np.add.at(counts, (source_of, said), 1)
    group_of = source_of if options.balance_by != "corpus" else np.zeros_like(source_of)
    whole = counts if options.balance_by != "corpus" else counts.sum(0, keepdims=True)
    quota = _quotas(whole, options, others, [draw(options.seed, name, "share of yes or no") for name in names])
    keep = _first_of_each(group_of * 2 + said, np.concatenate(keys), quota.ravel())
    for number in np.unique(shard_of[~keep]):
        states[number][row_of[(shard_of == number) & ~keep]] = SURPLUS
    kept = np.zeros_like(counts)
    np.add.at(kept, (source_of[keep], said[keep]), 1)
    by_source = {
        name: (int(counts[n, 1]), int(counts[n, 0]), int(kept[n, 1]), int(kept[n, 0]))
        for name, n in sorted(names.items())
    }
    no, yes = counts.sum(0).tolist()
    kept_no, kept_yes = kept.sum(0).tolist()
    return Balance(yes, no, kept_yes, kept_no, others, by_source)


def surplus() -> RejectError:
    """Why a yes/no question was left out."""
    return RejectError("yes_no_surplus", "left out to balance the yes/no questions (--ratio, --yes-no-share)")


def _polarities(table: pa.Table) -> npt.NDArray[np.int64]:
    """For each query 1 when it is answered by yes, 0 by no, -1 when by anything else."""
    types = table["query_type"].combine_chunks()
    answers = table["answer"].combine_chunks()
    options = pc.fill_null(pc.list_value_length(table["choices"].combine_chunks()), 0)
    single = pc.equal(pc.list_value_length(answers), 1)
    worded = pc.and_(pc.is_in(types, pa.array(["yes_no", "exact", "jaccard"])), single)
    chosen = pc.and_(pc.and_(pc.equal(types, "choice"), pc.equal(options, 2)), single)
    said = np.full(table.num_rows, -1, np.int64)
    for mask, read in ((worded, _of_words), (chosen, _of_choice)):
        rows = np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))
        part = table.select(["answer", "choices"]).take(pa.array(rows))
        pairs = zip(part["answer"].to_pylist(), part["choices"].to_pylist(), strict=True)
        said[rows] = [read(answer[0], pair) for answer, pair in pairs]
    return said


@lru_cache(maxsize=4096)
def _polarity(text: str) -> int:
    value = polarity(text[:2000])
    return -1 if value is None else int(value)


def _of_words(answer: str, _: list[dict[str, str]]) -> int:
    return _polarity(answer)


def _of_choice(answer: str, options: list[dict[str, str]]) -> int:
    if any(len(option["text"]) > LONGEST_OPTION for option in options) or len(answer) > 2 * LONGEST_OPTION:
        return -1
    if {_polarity(option["text"]) for option in options} != {0, 1}:
        return -1
    named = options_named(answer, tuple((option["label"], option["text"]) for option in options))
    return _polarity(options[named.pop()]["text"]) if len(named) == 1 else -1


def _quotas(
    counts: npt.NDArray[np.int64], options: ConvertOptions, others: int, lots: Sequence[int] | None = None
) -> npt.NDArray[np.int64]:
    """How many of each group's no and yes may stay. ``lots`` decides between groups that lack equally much."""
    ratio = options.ratio or 1.0
    quota = _within_ratio(counts, ratio)
    share = options.yes_no_share
    if share is None:
        return quota
    if not others:
        raise UserError(
            f"--yes-no-share {share:g} cannot be kept: all {int(counts.sum()):,} queries are yes/no questions; "
            "leave the option out"
        )
    # y / (y + others) <= share; a little is taken off so that rounding up never oversteps it.
    most = int(share * others / (1 - share) + 1e-9)
    total = int(quota.sum())
    if total > most:
        # In whole numbers: a quotient of floats could come out one below what is allowed.
        floors = _within_ratio(quota * most // total, ratio)
        _hand_out(floors, quota, most, ratio, lots if lots is not None else range(len(quota)))
        return floors
    return quota


def _hand_out(
    quota: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64], most: int, ratio: float, lots: Sequence[int]
) -> None:
    """Raise quotas that were rounded down, in place, until ``most`` are given: the largest remainders first.

    Without this, many small sources would all be rounded down to nothing. A group gets one more of its rarer answer and
    up to what is due to it of the other, so that the ratio holds; ``wanted`` is what it would have without a share.
    """
    total = int(wanted.sum())
    left = most - int(quota.sum())
    lacking = (wanted * most - quota * total).sum(axis=1)
    for group in sorted(range(len(quota)), key=lambda number: (-int(lacking[number]), lots[number])):
        rarer = int(wanted[group].argmin())
        few, many = (int(wanted[group, answer]) for answer in (rarer, 1 - rarer))
        fewer = min(int(quota[group, rarer]) + 1, few)
        due = max(fewer, -(-many * most // total))
        spared = left - (fewer - int(quota[group, rarer])) + int(quota[group, 1 - rarer])
        other = min(many, int(ratio * fewer + 1e-9), due, spared)
        if few and other >= max(fewer, int(quota[group, 1 - rarer])):
            left -= fewer + other - int(quota[group].sum())
            quota[group, rarer], quota[group, 1 - rarer] = fewer, other


def _within_ratio(counts: npt.NDArray[np.int64], ratio: float) -> npt.NDArray[np.int64]:
    fewer = counts.min(axis=1, keepdims=True)
    limit: npt.NDArray[np.int64] = np.minimum(counts, np.floor(ratio * fewer + 1e-9).astype(np.int64))
    return limit


def _first_of_each(
    group: npt.NDArray[np.int64], keys: npt.NDArray[np.uint64], quota: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Whether each member is among the first of its group, as many as the quota says, in the order of the keys."""
    order = np.lexsort((keys, group))
    sizes = np.bincount(group, minlength=len(quota))
    rank = np.arange(group.size) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    keep = np.zeros(group.size, bool)
    keep[order] = rank < quota[group[order]]
    return keep
