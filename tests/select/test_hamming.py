"""Near hashes are found exactly: as many pairs as comparing all with all would find."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.select.duplicates import hamming
from curate.select.duplicates.hamming import near_matches, near_pair_batches, near_pairs

Hashes = npt.NDArray[np.uint64]


def random_hashes(count: int, seed: int, mask: int = 2**64 - 1) -> Hashes:
    values = np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64, endpoint=False)
    return np.unique(values & np.uint64(mask))


def all_pairs(hashes: Hashes, distance: int) -> list[tuple[int, int, int]]:
    differing = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    left, right = np.nonzero(np.triu(differing <= distance, 1))
    return list(zip(left.tolist(), right.tolist(), differing[left, right].tolist(), strict=True))


def all_matches(queries: Hashes, targets: Hashes, distance: int) -> list[tuple[int, int, int]]:
    differing = np.bitwise_count(queries[:, None] ^ targets[None, :])
    left, right = np.nonzero(differing <= distance)
    return list(zip(left.tolist(), right.tolist(), differing[left, right].tolist(), strict=True))


def rows(found: hamming.Matches) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in found), strict=True))


hashes = st.lists(st.integers(0, 2**64 - 1), max_size=40).map(lambda values: np.array(values, dtype=np.uint64))


@given(hashes, st.integers(0, 16))
def test_pairs_are_those_of_comparing_all(values: Hashes, distance: int) -> None:
    values = np.unique(values)
    assert rows(near_pairs(values, distance)) == all_pairs(values, distance)


@given(hashes, hashes, st.integers(0, 16))
def test_matches_are_those_of_comparing_all(queries: Hashes, targets: Hashes, distance: int) -> None:
    assert rows(near_matches(queries, targets, distance)) == all_matches(queries, targets, distance)


@pytest.mark.parametrize("distance", [0, 1, 2, 4, 6, 9, 16])
@pytest.mark.parametrize("mask", [2**64 - 1, 0xFFFF, 0x0F0F0F0F0F0F0F0F, 0xFFFF0000FFFF0001])
@pytest.mark.parametrize("sort_cost", [1e-6, 60.0, 1e9])
def test_every_choice_of_blocks_finds_the_same(
    monkeypatch: pytest.MonkeyPatch, distance: int, mask: int, sort_cost: float
) -> None:
    monkeypatch.setattr(hamming, "_SORT_COST", sort_cost)
    values = random_hashes(900, distance, mask)
    # Neighbours of some of them, at every distance up to a little more than asked for.
    chance = np.random.default_rng(1)
    for bits in range(1, distance + 3):
        flips = np.array([sum(1 << int(bit) for bit in chance.choice(64, bits, replace=False)) for _ in range(20)])
        values = np.concatenate([values, values[:20] ^ flips.astype(np.uint64)])
    values = np.unique(values)
    assert rows(near_pairs(values, distance)) == all_pairs(values, distance)
    assert rows(near_matches(values[::3], values, distance)) == all_matches(values[::3], values, distance)


def test_batches_are_bounded_and_give_each_pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamming, "_BATCH", 64)
    values = random_hashes(500, 0, 0xFFF)
    batches = list(near_pair_batches(values, 3))
    assert len(batches) > 10
    # A batch goes over its bound by the partners of one hash at most.
    assert max(left.size for left, _, _ in batches) <= 64 + len(values)
    found = sorted(pair for batch in batches for pair in rows(batch))
    assert found == all_pairs(values, 3)


def test_equal_hashes_cost_no_comparisons_among_themselves() -> None:
    pile = np.full(100_000, 7, dtype=np.uint64)
    left, right, distance = near_matches(pile, np.array([6, 2**63], dtype=np.uint64), 1)
    assert left.tolist() == list(range(100_000))
    assert set(right.tolist()) == {0}
    assert set(distance.tolist()) == {1}


def test_nothing_is_near_nothing() -> None:
    none = np.empty(0, dtype=np.uint64)
    some = random_hashes(5, 0)
    assert rows(near_pairs(none, 4)) == []
    assert rows(near_matches(none, some, 4)) == rows(near_matches(some, none, 4)) == []


def test_what_is_asked_wrongly_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct"):
        near_pairs(np.array([1, 1], dtype=np.uint64), 0)
    for distance in (-1, 17):
        with pytest.raises(ValueError, match="0 to 16"):
            near_pairs(np.array([1], dtype=np.uint64), distance)
        with pytest.raises(ValueError, match="0 to 16"):
            near_matches(np.array([1], dtype=np.uint64), np.array([1], dtype=np.uint64), distance)
