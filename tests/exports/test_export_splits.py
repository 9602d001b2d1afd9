"""Splits by picture, patient and study: whatever shares one, however indirectly, is on one side."""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.exports import splits
from curate.exports.splits import Links, validation_rows, value_keys
from curate.select.draws import content_keys, draws


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


ROWS = st.lists(
    st.tuples(
        st.lists(st.integers(0, 40), max_size=3),
        st.none() | st.integers(0, 30),
        st.none() | st.integers(0, 60),
    ),
    min_size=1,
    max_size=80,
)
"""Rows by their pictures, patient and study."""


def linked(values: list[int | None]) -> Links:
    given = [row for row, value in enumerate(values) if value is not None]
    return Links(np.array(given, np.int64), value_keys([str(values[row]) for row in given]))


def split_rows(rows: Sequence[tuple[list[int], int | None, int | None]], *, fraction: float, seed: int) -> list[bool]:
    """Sides of rows given by their pictures, patient and study."""
    shown = [image for images, _, _ in rows for image in images]
    return validation_rows(
        content_keys([sha256(b"%d" % image).hexdigest() for image in shown]),
        np.array([len(images) for images, _, _ in rows], np.int64),
        content_keys([sha256(b"row %d" % number).hexdigest() for number in range(len(rows))]),
        fraction=fraction,
        seed=seed,
        together=[linked([row[1] for row in rows]), linked([row[2] for row in rows])],
    ).tolist()


def groups(rows: Sequence[tuple[list[int], int | None, int | None]]) -> list[set[int]]:
    """The rows that belong together, found one link at a time."""
    found: list[tuple[set[object], set[int]]] = []
    for number, (images, patient, study) in enumerate(rows):
        marks: set[object] = {("image", image) for image in images}
        marks |= {("patient", patient)} if patient is not None else set()
        marks |= {("study", study)} if study is not None else set()
        members = {number}
        for other in [group for group in found if group[0] & marks]:
            found.remove(other)
            marks |= other[0]
            members |= other[1]
        found.append((marks, members))
    return [members for _, members in found]


@given(ROWS, st.sampled_from([0.1, 0.3, 0.5]), st.integers(-(2**63), 2**63 - 1))
def test_no_picture_patient_or_study_is_on_both_sides(
    rows: list[tuple[list[int], int | None, int | None]], fraction: float, seed: int
) -> None:
    sides = split_rows(rows, fraction=fraction, seed=seed)
    assert sides == split_rows(rows, fraction=fraction, seed=seed)
    together = groups(rows)
    for members in together:
        assert len({sides[row] for row in members}) == 1
    assert any(sides) == (len(together) > 1)
    assert not all(sides)
    chosen = [members for members in together if sides[min(members)]]
    smallest = min(map(len, together))
    assert sum(map(len, chosen)) <= max(1.25 * fraction * len(rows) + 1, smallest)


def test_each_patient_is_whole_and_the_share_is_about_right() -> None:
    draw = random.Random(4)
    rows = [([number], draw.randrange(4000), None) for number in range(20_000)]
    for seed in range(5):
        sides = split_rows(rows, fraction=0.1, seed=seed)
        assert 0.08 < np.mean(sides) < 0.12
        side_of: dict[int | None, bool] = {}
        for (_, patient, _), side in zip(rows, sides, strict=True):
            assert side_of.setdefault(patient, side) == side


def test_a_chain_of_pictures_patients_and_studies_stays_together() -> None:
    chain: list[tuple[list[int], int | None, int | None]] = []
    for number in range(400):
        chain += [([number], number, None), ([], number, number), ([number + 1], None, number)]
    random.Random(3).shuffle(chain)
    for seed in range(10):
        sides = split_rows([*chain, ([9000], None, None), ([], 9000, None)], fraction=0.5, seed=seed)
        assert len(set(sides[:1200])) == 1


def test_a_patient_and_a_study_of_the_same_name_are_not_linked() -> None:
    assert len(groups([([], 1, None), ([], None, 1)])) == 2
    sides = [split_rows([([], 1, None), ([], None, 1)], fraction=0.5, seed=seed) for seed in range(5)]
    assert all(sorted(side) == [False, True] for side in sides)


def test_more_pictures_of_a_patient_do_not_move_the_patient() -> None:
    rows = [([number], number // 3, number // 2) for number in range(600)]
    more = [([number + 1000], number // 3, 5000 + number) for number in range(600)]
    assert split_rows([*rows, *more], fraction=0.3, seed=1)[:600] == split_rows(rows, fraction=0.3, seed=1)


def test_a_leak_is_found_whatever_the_grouping_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_smallest_linked", lambda row, node, count: np.arange(count))
    with pytest.raises(AssertionError, match="both sides"):
        split_rows([([number, number + 1], None, None) for number in range(50)], fraction=0.5, seed=0)


def test_what_a_mixture_drew_with_the_same_seed_is_split_like_all_else() -> None:
    ids = [sha256(b"%d" % number).hexdigest() for number in range(40_000)]
    first = np.argsort(draws(ids, 0, "mixture"))[:4000]
    keys = content_keys([ids[number] for number in first])
    none = np.array([], np.uint64)
    sides = validation_rows(none, np.zeros(4000, np.int64), keys, fraction=0.1, seed=0)
    assert 0.08 < sides.mean() < 0.12
