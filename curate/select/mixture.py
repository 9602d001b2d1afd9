"""The mixture of a policy: which part each sample belongs to, how much each part gives, and how often a sample goes in.

Planned from tables alone, before anything is written: tokens are estimates (:mod:`curate.select.tokens`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.corpus import UserError
from curate.select.draws import Draws, draws
from curate.select.facts import check_columns, fact_columns, is_meta
from curate.select.mixture_account import Mixed, mixture_account
from curate.select.mixture_copies import cell_targets, cells_of, draw_copies
from curate.select.mixture_parts import NO_PART, PartFlags, part_flags
from curate.select.mixture_plan import Supply, plan_targets
from curate.select.policy_sections import Mixture
from curate.select.pool import DROPPED, Pool, Rows, Stage
from curate.select.tokens import IMAGE_MAX_PIXELS, PATCH_RULES, Integers, sample_tokens

RULE = "mixture"
"""The rule that samples are dropped by."""

NO_VALUE = "(no value)"
"""Name of the samples whose column to group or balance by is null."""


@dataclass(frozen=True)
class _Candidates:
    """Columns over the samples that are still in."""

    rows: Rows
    draw: Draws
    text_tokens: Integers
    image_tokens: Integers
    flags: PartFlags | None
    """Which parts' conditions each sample satisfies; None where a column makes the parts."""
    group: pl.Series | None
    balance: pl.Series | None


def mixture_stage(pool: Pool, mixture: Mixture, seed: int) -> tuple[Stage, npt.NDArray[np.int32]]:
    """Plan a mixture of the samples that are still in.

    Returns the stage, whose dropped samples are those that are not drawn or in no part, and for every sample of the
    corpus how often it is in the mixture (0 for not at all). The choice follows from the samples' ids and ``seed``: it
    does not depend on how the samples lie in shards. Raises UserError for unknown columns or subsets, conditions that
    are not understood, and mixtures that cannot be made, saying what would do.
    """
    copies = np.zeros(len(pool.alive), np.int32)
    if not pool.count:
        return Stage(pl.DataFrame(schema=DROPPED), {}), copies
    found = _candidates(pool, mixture, seed)
    tokens = found.text_tokens + found.image_tokens
    units = tokens if mixture.unit == "tokens" else np.ones_like(tokens)

    if found.flags is not None:
        part, supplies = _written_parts(mixture, found.flags, units)
    else:
        assert found.group is not None
        part, supplies = _grouped_parts(mixture, found.group, units)
    targets = plan_targets(supplies, mixture.budget, mixture.shortfall, mixture.unit, grouped=mixture.by is not None)

    taken = np.flatnonzero(part != NO_PART)
    value, names = _codes(found.balance) if found.balance is not None else (None, [])
    cells = cells_of(part[taken], None if value is None else value[taken], units[taken])
    limits = np.array([supply.max_copies for supply in supplies])
    of_cell = cell_targets(cells, targets.of_part, limits)
    drawn = np.zeros(len(part), np.int32)
    # Groups of a column can be smaller than a sample each: then only their sum can be exact.
    exact = np.zeros_like(cells.part) if mixture.by is not None and value is None else cells.part
    drawn[taken] = draw_copies(cells, of_cell, units[taken], found.draw[taken], exact=exact)
    if not drawn.any():
        raise UserError(
            f"the mixture is empty: {targets.whole:,.0f} {mixture.unit} are less than half a sample in every part; "
            "raise its budget"
        )
    copies[found.rows] = drawn
    mixed = Mixed(mixture, seed, supplies, targets, part, drawn, found.text_tokens, found.image_tokens, value, names)
    account = mixture_account(mixed)
    return Stage(_dropped(found.rows, mixed), account), copies


def _candidates(pool: Pool, mixture: Mixture, seed: int) -> _Candidates:
    """Read what the plan needs, shard by shard."""
    columns = fact_columns(pool.corpus)
    for field, name in (("by", mixture.by), ("balance", mixture.balance)):
        if name is not None:
            _check_values(field, name, columns)
    flags_of = part_flags(pool.corpus, mixture.parts, columns) if mixture.parts is not None else None
    wanted = {name for name in (mixture.by, mixture.balance) if name is not None}
    wanted |= flags_of.columns if flags_of is not None else set()
    rule = PATCH_RULES[mixture.model]
    max_pixels = mixture.image_max_pixels or IMAGE_MAX_PIXELS

    rows, drawn, texts, pictures, flags, groups, balances = [], [], [], [], [], [], []
    for (numbers, table), (_, facts) in zip(pool.samples(["turns", "images"]), pool.facts(wanted), strict=True):
        text, picture = sample_tokens(table, rule, max_pixels)
        rows.append(numbers)
        drawn.append(draws(facts["id"].to_list(), seed, RULE))
        texts.append(text)
        pictures.append(picture)
        if flags_of is not None:
            flags.append(flags_of.of(facts))
        if mixture.by is not None:
            groups.append(facts[mixture.by].cast(pl.String))
        if mixture.balance is not None:
            balances.append(facts[mixture.balance].cast(pl.String))
    return _Candidates(
        np.concatenate(rows),
        np.concatenate(drawn),
        np.concatenate(texts),
        np.concatenate(pictures),
        PartFlags.joined(flags) if flags_of is not None else None,
        pl.concat(groups) if groups else None,
        pl.concat(balances) if balances else None,
    )


def _check_values(field: str, name: str, columns: dict[str, pl.DataType]) -> None:
    try:
        check_columns([name], columns)
    except UserError as error:
        raise UserError(f"mixture.{field}: {error}") from None
    if not is_meta(name) and columns[name].is_nested():
        raise UserError(f"mixture.{field}: the column {name!r} holds lists, which make no groups; name a plain column")


def _written_parts(mixture: Mixture, flags: PartFlags, units: Integers) -> tuple[Integers, list[Supply]]:
    """The part of each sample, and what each part of the policy has."""
    parts = mixture.parts or []
    samples = np.bincount(flags.part[flags.part != NO_PART], minlength=len(parts))
    available = np.bincount(flags.part + 1, units, minlength=len(parts) + 1)[1:]
    return flags.part, [
        Supply(
            part.name,
            part.weight,
            part.max_copies or mixture.max_copies,
            int(samples[number]),
            int(available[number]),
            int(flags.satisfied[number] - samples[number]),
        )
        for number, part in enumerate(parts)
    ]


def _grouped_parts(mixture: Mixture, values: pl.Series, units: Integers) -> tuple[Integers, list[Supply]]:
    """The group of each sample, and the groups as parts weighted by temperature."""
    group, names = _codes(values)
    samples = np.bincount(group, minlength=len(names))
    available = np.bincount(group, units, minlength=len(names))
    if not available.any():
        raise UserError("the mixture cannot be made: the samples have no tokens; say unit: samples")
    weights = (available / available.max()) ** (1 / mixture.temperature)
    return group, [
        Supply(name, float(weight), mixture.max_copies, int(count), int(amount))
        for name, weight, count, amount in zip(names, weights, samples, available, strict=True)
    ]


def _codes(values: pl.Series) -> tuple[Integers, list[str]]:
    """Values as numbers from 0 in the order of their names, and the names."""
    frame = values.rename("value").to_frame()
    names = frame.unique().sort("value")
    codes = frame.join(names.with_row_index("code"), on="value", nulls_equal=True, how="left", maintain_order="left")
    return codes["code"].cast(pl.Int64).to_numpy(), names["value"].fill_null(NO_VALUE).to_list()


def _dropped(rows: Rows, mixed: Mixed) -> pl.DataFrame:
    """The samples that are not in the mixture, each with the numbers of its part."""
    out = np.flatnonzero(mixed.copies == 0)
    reasons = pl.Series(["no part of the mixture takes it", *map(_reason_of(mixed), range(len(mixed.supplies)))])
    return pl.DataFrame(
        {
            "row": rows[out],
            "rule": pl.repeat(RULE, len(out), dtype=pl.String, eager=True),
            "reason": reasons.gather(mixed.part[out] + 1),
            "related": pl.repeat(None, len(out), dtype=pl.String, eager=True),
        },
        schema=DROPPED,
    )


def _reason_of(mixed: Mixed) -> Callable[[int], str]:
    members = mixed.part != NO_PART
    part, copies = mixed.part[members], mixed.copies[members]
    tokens = (mixed.text_tokens + mixed.image_tokens)[members]
    count = len(mixed.supplies)
    drawn, available, taken = (
        np.bincount(part, amount, minlength=count).tolist() for amount in (copies > 0, tokens, tokens * copies)
    )
    seed = mixed.seed
    place = f" of {mixed.mixture.by}" if mixed.mixture.by is not None else ""

    def reason(number: int) -> str:
        supply = mixed.supplies[number]
        if not supply.weight:
            return f"the part {supply.name!r}{place} has weight 0"
        return (
            f"the mixture takes {drawn[number]:,.0f} of the {supply.samples:,} samples of the part {supply.name!r}"
            f"{place} ({taken[number]:,.0f} tokens; there are {available[number]:,.0f}): this one was not drawn "
            f"(seed {seed})"
        )

    return reason
