"""Splits by picture: whatever shares one, however indirectly, is on one side."""

from __future__ import annotations

import random

import numpy as np
import pytest

from curate.exports.splits import content_keys, validation_rows


def split(rows: list[list[int]], *, fraction: float = 0.2, seed: int = 0, keys: list[int] | None = None) -> list[bool]:
    """Sides of rows given by their pictures; rows without any are keyed by their position."""
    return validation_rows(
        np.array([image for row in rows for image in row], dtype=np.uint64),
        np.array([len(row) for row in rows], dtype=np.int64),
        np.array(keys or [10**6 + position for position in range(len(rows))], dtype=np.uint64),
        fraction=fraction,
        seed=seed,
    ).tolist()


def test_no_picture_is_on_both_sides_over_many_random_corpora() -> None:
    for seed in range(60):
        draw = random.Random(seed)
        rows = [draw.sample(range(draw.choice([10, 200])), draw.choice([0, 1, 1, 1, 2, 3])) for _ in range(150)]
        sides = split(rows, seed=seed, fraction=draw.choice([0.1, 0.5]))
        seen: dict[int, bool] = {}
        for row, side in zip(rows, sides, strict=True):
            for image in row:
                assert seen.setdefault(image, side) == side


def test_a_chain_of_shared_pictures_stays_together() -> None:
    rows = [[number, number + 1] for number in range(500)]
    random.Random(3).shuffle(rows)
    for seed in range(20):
        assert len(set(split([*rows, [9000], []], seed=seed, fraction=0.5)[:500])) == 1


def test_the_share_is_that_of_the_groups() -> None:
    sides = split([[number] for number in random.Random(0).sample(range(2**62), 20_000)], fraction=0.1)
    assert 0.09 < np.mean(sides) < 0.11


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    rows = [[number] for number in random.Random(1).sample(range(2**62), 300)]
    assert split(rows) == split(rows)
    assert split(rows) != split(rows, seed=1)
    assert split(rows[::-1])[::-1] == split(rows)


def test_more_rows_do_not_move_the_ones_before() -> None:
    rows = [[number] for number in random.Random(2).sample(range(2**62), 400)]
    assert split(rows)[:300] == split(rows[:300])


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_both_sides_have_rows_when_there_are_two_groups(fraction: float) -> None:
    for seed in range(20):
        assert sorted(split([[1], [2]], fraction=fraction, seed=seed)) == [False, True]


def test_a_group_larger_than_the_share_is_for_training() -> None:
    for seed in range(50):
        sides = split([*([[1]] * 10), *([number] for number in range(2, 11))], fraction=0.1, seed=seed)
        assert not any(sides[:10])
        assert any(sides[10:])


def test_small_corpora_get_about_their_share() -> None:
    for seed in range(100):
        assert 1 <= sum(split([[number, number + 100] for number in range(19)], fraction=0.1, seed=seed)) <= 3


def test_with_large_groups_only_the_smallest_is_for_validation() -> None:
    for seed in range(20):
        assert (
            split([[1], [1], [1], [2], [2], [3], [3], [3]], fraction=0.1, seed=seed)
            == [False] * 3 + [True] * 2 + [False] * 3
        )


def test_a_single_group_is_for_training() -> None:
    for seed in range(20):
        assert split([[1], [1, 2], [2]], fraction=0.9, seed=seed) == [False, False, False]
        assert split([[]], fraction=0.9, seed=seed) == [False]


def test_negative_seeds_and_rows_without_pictures() -> None:
    sides = split([[] for _ in range(1000)], fraction=0.5, seed=-5)
    assert 400 < sum(sides) < 600


def test_keys_are_the_leading_bits_of_hashes() -> None:
    assert content_keys(["00000000000000ff" + "7" * 48, "f" * 64]).tolist() == [255, 2**64 - 1]
    assert content_keys([]).tolist() == []
