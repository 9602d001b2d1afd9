"""Sizes of a mixture: what is taken adds up, and what an error suggests works when one does it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.corpus import UserError
from curate.select.mixture_copies import cell_targets, cells_of, draw_copies, level
from curate.select.mixture_plan import Supply, plan_targets

supplies = st.lists(
    st.builds(
        lambda weight, samples, size, copies: (weight, samples, samples * size, copies),
        st.floats(0.01, 100),
        st.integers(1, 5000),
        st.integers(1, 900),
        st.sampled_from([1.0, 1.5, 3.0]),
    ),
    min_size=1,
    max_size=6,
).map(
    lambda rows: [
        Supply(f"p{number}", weight, copies, samples, available)
        for number, (weight, samples, available, copies) in enumerate(rows)
    ]
)
budgets = st.integers(1, 10_000_000)


@given(supplies)
def test_without_a_budget_the_whole_is_the_largest_that_the_weights_allow(parts: list[Supply]) -> None:
    targets = plan_targets(parts, None, "stop", "tokens")
    weights = np.array([part.weight for part in parts])
    assert targets.of_part == pytest.approx(targets.whole * weights / weights.sum())
    room = [part.capacity - target for part, target in zip(parts, targets.of_part, strict=True)]
    assert min(room) >= -1e-6 * targets.whole
    narrowest = next(number for number, part in enumerate(parts) if part.name == targets.limited_by)
    assert room[narrowest] == pytest.approx(0, abs=1e-6 * targets.whole)


@given(supplies, budgets)
def test_shrinking_gives_the_budget_or_the_largest_whole(parts: list[Supply], budget: int) -> None:
    targets = plan_targets(parts, budget, "shrink", "tokens")
    largest = plan_targets(parts, None, "stop", "tokens").whole
    assert targets.whole == (largest if targets.shrunk else budget)
    assert targets.whole <= budget
    if targets.shrunk:
        with pytest.raises(UserError):
            plan_targets(parts, budget, "stop", "tokens")


def suggested(sentence: str, way: str) -> dict[str, str]:
    """Parts and the numbers that an error suggests for them."""
    listed = re.search(rf"{way} \(([^)]*)\)", sentence)
    return dict(entry.split(" to ") for entry in listed.group(1).split(", ")) if listed else {}


@given(supplies, budgets)
def test_each_suggestion_works(parts: list[Supply], budget: int) -> None:
    try:
        plan_targets(parts, budget, "stop", "tokens")
    except UserError as error:
        sentence = str(error)
    else:
        return
    shares = np.array([part.weight for part in parts]) / sum(part.weight for part in parts)
    for part, share in zip(parts, shares, strict=True):
        assert (f"of part {part.name!r}" in sentence) == (
            share * budget > part.capacity + 0.5 * part.available / part.samples
        )

    copies = suggested(sentence, "raise max_copies")
    if copies:
        more = [replace(part, max_copies=float(copies.get(part.name, part.max_copies))) for part in parts]
        plan_targets(more, budget, "stop", "tokens")
    weights = suggested(sentence, "lower weights")
    if weights:
        assert all(0 <= float(weights.get(part.name, 0)) <= part.weight for part in parts)
        lower = [replace(part, weight=float(weights.get(part.name, part.weight))) for part in parts]
        plan_targets(lower, budget, "stop", "tokens")
    else:
        assert sum(part.capacity for part in parts) <= budget * (1 + 1e-9)
    smaller = re.search(r"lower the budget to ([\d,]+)", sentence)
    if smaller:
        plan_targets(parts, int(smaller.group(1).replace(",", "")), "stop", "tokens")
    plan_targets(parts, budget, "shrink", "tokens")


def short() -> list[Supply]:
    return [
        Supply("books", 79.6, 1, 1000, 60_000),
        Supply("exercises", 20.4, 1, 100, 3_100),
    ]


def test_the_sentence_has_the_numbers() -> None:
    with pytest.raises(UserError) as caught:
        plan_targets(short(), 60_000, "stop", "tokens")
    assert str(caught.value) == (
        "the mixture cannot have its 60,000 tokens: it asks 20.4 % (12,240 tokens) of part 'exercises', which has "
        "3,100 (x max_copies 1 = 3,100): 9,140 too few. Either lower weights (exercises to 4.33), or raise max_copies "
        "(exercises to 3.95), or lower the budget to 15,196, or say shortfall: shrink"
    )


@pytest.mark.parametrize(
    ("weight", "copies", "budget", "fits"),
    [
        (4.33, 1.0, 60_000, True),
        (4.40, 1.0, 60_000, False),
        (20.4, 3.95, 60_000, True),
        (20.4, 3.92, 60_000, False),
        (20.4, 1.0, 15_196, True),
        (20.4, 1.0, 15_300, False),
    ],
)
def test_the_suggested_numbers_are_the_borders(weight: float, copies: float, budget: int, fits: bool) -> None:
    books, exercises = short()
    parts = [books, replace(exercises, weight=weight, max_copies=copies)]
    if fits:
        assert plan_targets(parts, budget, "stop", "tokens").whole == budget
    else:
        with pytest.raises(UserError, match="exercises"):
            plan_targets(parts, budget, "stop", "tokens")


def test_all_short_parts_are_named_and_none_that_has_enough() -> None:
    parts = [Supply("a", 1, 1, 10, 10), Supply("b", 1, 1, 20, 20), Supply("c", 8, 1, 9000, 9000)]
    with pytest.raises(UserError) as caught:
        plan_targets(parts, 1000, "stop", "samples")
    assert "'a', which has 10 (x max_copies 1 = 10): 90 too few" in str(caught.value)
    assert "'b', which has 20 (x max_copies 1 = 20): 80 too few" in str(caught.value)
    assert "'c'" not in str(caught.value)


def test_when_all_parts_together_have_too_little_no_weights_are_suggested() -> None:
    with pytest.raises(UserError) as caught:
        plan_targets([Supply("a", 1, 1, 10, 10), Supply("b", 1, 1, 10, 10)], 100, "stop", "samples")
    assert "lower weights" not in str(caught.value)
    assert "raise max_copies (a to 5, b to 5)" in str(caught.value)


def test_copies_beyond_the_limit_are_not_suggested() -> None:
    with pytest.raises(UserError) as caught:
        plan_targets([Supply("a", 1, 1, 1, 1), Supply("b", 1, 1, 9000, 9000)], 9000, "stop", "samples")
    assert "raise max_copies" not in str(caught.value)


def test_thousands_of_short_groups_are_not_all_named() -> None:
    with pytest.raises(UserError) as caught:
        plan_targets([Supply(f"g{n}", 1, 1, 1, 1) for n in range(5000)], 10**6, "stop", "samples", grouped=True)
    assert "and 4,988 more" in str(caught.value)
    assert len(str(caught.value)) < 3000
    assert "weights" not in str(caught.value)
    assert "raise max_copies to 200" in str(caught.value)


def test_parts_that_have_nothing_are_named_with_what_earlier_parts_took() -> None:
    parts = [Supply("a", 1, 1, 5, 5), Supply("b", 2, 1, 0, 0, elsewhere=7), Supply("c", 0, 1, 0, 0)]
    with pytest.raises(UserError) as caught:
        plan_targets(parts, None, "shrink", "samples")
    assert "part 'b' has weight 2 but no sample (7 satisfy its condition, but parts before it" in str(caught.value)
    assert "'c'" not in str(caught.value)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.floats(0, 1.2))
def test_levels_are_even_as_far_as_they_reach(have: list[int], asked: float) -> None:
    capacity = np.array(have, float)
    target = asked * capacity.sum()
    shares = level(capacity, target)
    assert (shares <= capacity + 1e-9).all()
    assert shares.sum() == pytest.approx(min(target, capacity.sum()))
    free = shares[shares < capacity - 1e-9]
    assert free.size == 0 or (free.max() - free.min() < 1e-6 and shares.max() <= free.min() + 1e-6)


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 300)), min_size=1, max_size=120)


@given(
    rows, st.lists(st.floats(0, 1), min_size=4, max_size=4), st.sampled_from([1.0, 1.5, 2.0, 4.7]), st.integers(0, 99)
)
def test_parts_meet_their_targets_to_half_a_sample_and_cells_to_one(
    rows: list[tuple[int, int, int]], asked: list[float], most: float, seed: int
) -> None:
    part, value, units = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    draw = np.random.default_rng(seed).integers(0, 2**64, len(rows), np.uint64)
    capacity = most * np.bincount(part, units, minlength=4)
    of_part = capacity * asked
    cells = cells_of(part, value, units)
    targets = cell_targets(cells, of_part, np.full(4, most))
    copies = draw_copies(cells, targets, units, draw, exact=cells.part)
    assert copies.min() >= 0
    assert copies.max() <= np.ceil(most)
    for number in range(4):
        own = units[part == number]
        off = abs((own * copies[part == number]).sum() - of_part[number])
        assert off <= own.max(initial=0) / 2 + 1e-3
    for number, target in enumerate(targets):
        own = cells.of_sample == number
        assert abs((units[own] * copies[own]).sum() - target) <= units[own].max() + 1e-3
        assert copies[own].max() - copies[own].min() <= 1


def test_groups_smaller_than_a_sample_are_exact_together_and_drawn_evenly() -> None:
    count = 20_000
    units = np.random.default_rng(0).integers(50, 150, count)
    draw = np.random.default_rng(1).integers(0, 2**64, count, np.uint64)
    cells = cells_of(np.arange(count), None, units)
    targets = units * 0.1
    copies = draw_copies(cells, targets, units, draw, exact=np.zeros(count, np.int64))
    assert abs((copies * units).sum() - targets.sum()) <= 75
    large = units >= 100
    assert copies[large].mean() == pytest.approx(copies[~large].mean(), abs=0.015)
