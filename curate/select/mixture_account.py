"""What the report tells of a mixture: for each part what there was, what was asked, and what is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.select.mixture_plan import Supply, Targets
from curate.select.policy_sections import Mixture
from curate.select.tokens import IMAGE_MAX_PIXELS, PATCH_RULES, Integers

_MOST_PARTS = 200
"""Parts that an account lists, the largest first: a column to group by can have a value a sample."""
_MOST_VALUES = 100
"""Values of the balanced column that it lists for each part."""

_COUNTS = ("samples", "tokens_available", "text_tokens_available", "image_tokens_available")
_TAKEN = ("taken", "rows", "tokens_taken", "text_tokens_taken", "image_tokens_taken")


@dataclass(frozen=True)
class Mixed:
    """A mixture as it came out; the arrays have one element a sample that was still in."""

    mixture: Mixture
    seed: int
    supplies: Sequence[Supply]
    targets: Targets
    part: Integers
    """Number of the sample's part; -1 for none."""
    copies: npt.NDArray[np.int32]
    text_tokens: Integers
    image_tokens: Integers
    value: Integers | None
    """Number of the sample's value of the column to balance; None without one."""
    values: Sequence[str]
    """Names of these values."""


def mixture_account(mixed: Mixed) -> dict[str, Any]:
    """The mixture as JSON values.

    ``parts`` in the policy's order (groups of a column by size): ``samples`` and ``tokens_available`` are what there
    was, ``taken`` the distinct samples and ``rows`` the copies that are in, ``copies`` how many samples are in how
    often, ``share_asked`` and ``share_realised`` shares of the whole in ``unit``. ``total`` sums what is in and what
    was there.
    """
    mixture, targets = mixed.mixture, mixed.targets
    rule = PATCH_RULES[mixture.model]
    tokens = mixed.text_tokens + mixed.image_tokens
    frame = pl.DataFrame(
        {
            "part": mixed.part,
            "copies": mixed.copies.astype(np.int64),
            "text": mixed.text_tokens,
            "image": mixed.image_tokens,
            "tokens": tokens,
        }
    )
    if mixed.value is not None:
        frame = frame.with_columns(value=pl.Series(mixed.value))
    total = _sums(frame).row(0, named=True)
    in_unit = "rows" if mixture.unit == "samples" else "tokens_taken"
    listed = list(range(len(mixed.supplies)))
    if mixture.by is not None:
        listed.sort(key=lambda number: -targets.of_part[number])
    listed = listed[:_MOST_PARTS]
    parts = _parts(mixed, listed, frame, total[in_unit], in_unit)
    return {
        "unit": mixture.unit,
        "seed": mixed.seed,
        "by": mixture.by,
        "temperature": mixture.temperature if mixture.by is not None else None,
        "balance": mixture.balance,
        "budget": mixture.budget,
        "shortfall": mixture.shortfall,
        "planned": round(targets.whole),
        "realised": total[in_unit],
        "limited_by": targets.limited_by,
        "shrunk": targets.shrunk,
        "model": mixture.model,
        "patch_rule": asdict(rule),
        "image_max_pixels": mixture.image_max_pixels or IMAGE_MAX_PIXELS,
        "parts": parts,
        "parts_not_listed": len(mixed.supplies) - len(parts),
        "in_no_part": int(np.count_nonzero(mixed.part < 0)),
        "total": total,
        "notes": _notes(mixed, listed, parts),
    }


def _parts(
    mixed: Mixed, listed: Sequence[int], frame: pl.DataFrame, realised: int, in_unit: str
) -> list[dict[str, Any]]:
    supplies, targets = mixed.supplies, mixed.targets.of_part
    weights = sum(supply.weight for supply in supplies)
    frame = frame.filter(pl.col("part").is_in(pl.Series(listed, dtype=pl.Int64).implode()))
    counts = {row["part"]: row for row in _sums(frame, "part").iter_rows(named=True)}
    histograms = _by_part(frame.group_by("part", "copies").len().sort("copies"))
    values = _by_part(_sums(frame, "part", "value")) if mixed.value is not None else {}
    nothing = dict.fromkeys((*_COUNTS, *_TAKEN), 0)
    parts = []
    for number in listed:
        supply = supplies[number]
        found = counts.get(number, nothing)
        part = {
            "name": supply.name,
            "weight": supply.weight,
            "max_copies": supply.max_copies,
            "share_asked": supply.weight / weights,
            "share_realised": found[in_unit] / realised,
            "target": float(targets[number]),
            **{name: found[name] for name in (*_COUNTS, *_TAKEN)},
            "copies": {str(row["copies"]): row["len"] for row in histograms.get(number, [])},
            "taken_by_earlier_parts": supply.elsewhere,
        }
        if mixed.value is not None:
            rows = sorted(values.get(number, []), key=lambda row: (-row[in_unit], row["value"]))
            part["values"] = [
                {"value": mixed.values[row["value"]]} | {name: row[name] for name in (*_COUNTS, *_TAKEN)}
                for row in rows[:_MOST_VALUES]
            ]
            part["values_not_listed"] = max(0, len(rows) - _MOST_VALUES)
        parts.append(part)
    return parts


def _sums(frame: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """Counts of samples and tokens, of all or by keys."""
    taken = pl.col("copies")
    sums = [
        pl.len().cast(pl.Int64).alias("samples"),
        pl.col("tokens").sum().alias("tokens_available"),
        pl.col("text").sum().alias("text_tokens_available"),
        pl.col("image").sum().alias("image_tokens_available"),
        (taken > 0).sum().cast(pl.Int64).alias("taken"),
        taken.sum().alias("rows"),
        (pl.col("tokens") * taken).sum().alias("tokens_taken"),
        (pl.col("text") * taken).sum().alias("text_tokens_taken"),
        (pl.col("image") * taken).sum().alias("image_tokens_taken"),
    ]
    return frame.group_by(keys).agg(sums) if keys else frame.select(sums)


def _by_part(frame: pl.DataFrame) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {}
    for row in frame.iter_rows(named=True):
        found.setdefault(row["part"], []).append(row)
    return found


def _notes(mixed: Mixed, listed: Sequence[int], parts: Sequence[dict[str, Any]]) -> list[str]:
    """Sentences on what a reader of the policy would not expect."""
    mixture, targets = mixed.mixture, mixed.targets
    notes = []
    if targets.limited_by is not None:
        reason = f"instead of the {mixture.budget:,} asked" if targets.shrunk else "the most that the weights allow"
        notes.append(
            f"the whole is {targets.whole:,.0f} {mixture.unit}, {reason}: part {targets.limited_by!r} has no more"
        )
    asked = [(mixed.supplies[number], part) for number, part in zip(listed, parts, strict=True) if part["weight"]]
    missed = [supply.name for supply, part in asked if not part["taken"]]
    if missed:
        notes.append(f"nothing is in of {_named(missed)}: the share is smaller than a sample")
    whole = [supply.name for supply, part in asked if part["target"] >= supply.capacity * (1 - 1e-9)]
    if mixture.balance is not None and whole:
        notes.append(f"the values of {mixture.balance} keep their proportions in what is taken whole: {_named(whole)}")
    return notes


def _named(names: Sequence[str]) -> str:
    more = len(names) - 5
    return ", ".join(map(repr, names[:5])) + (f" and {more:,} more parts" if more > 0 else "")
