"""Yes/no questions balanced by leaving some out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sources.deriving import derive, read
from support.inside import curate
from support.measured import make_corpus, query

from curate.corpus import Sample
from curate.rewards.text import polarity
from curate.sources.derive import ConvertOptions
from curate.sources.derive.balance import _first_of_each, _quotas


def asked(yes: int, no: int, others: int = 0, source: str = "a") -> list[Sample]:
    said = ["yes"] * yes + ["No."] * no
    closed = [
        query(f"Is finding {number} there in {source}?", word, query_type="yes_no", source=source, row=number + 1)
        for number, word in enumerate(said)
    ]
    return [
        *closed,
        *(query(f"Where is {number} in {source}?", "left", source=source, row=900) for number in range(others)),
    ]


def tally(samples: list[Sample], source: str | None = None) -> tuple[int, int, int]:
    """Yes, no, others."""
    said = [polarity(sample.answer[0]) for sample in samples if source in (None, sample.source)]
    return said.count(True), said.count(False), said.count(None)


def test_the_ratio_holds_in_every_source(tmp_path: Path) -> None:
    samples = [*asked(40, 10, 5), *asked(3, 9, source="b"), *asked(7, 0, source="c")]
    counts, made, rejects = derive(tmp_path, samples, "yes-no", per_shard=13)
    assert tally(made, "a") == (10, 10, 5)
    assert tally(made, "b") == (3, 3, 0)
    assert tally(made, "c") == (0, 0, 0)
    assert {reject["reason"] for reject in rejects} == {"yes_no_surplus"}
    assert counts["balance"]["by_source"] == {"a": [40, 10, 10, 10], "b": [3, 9, 3, 3], "c": [7, 0, 0, 0]}
    assert {sample.meta["parent"] for sample in made} == {sample.id for sample in made}


def test_the_ratio_over_the_corpus_and_above_one(tmp_path: Path) -> None:
    samples = [*asked(40, 10, 5), *asked(3, 9, source="b"), *asked(7, 0, source="c")]
    _, made, _ = derive(tmp_path, samples, "yes-no", "--balance-by", "corpus", "--ratio", "1.5")
    assert tally(made) == (28, 19, 5)  # 1.5 times 19 is 28.5


def test_the_share_bounds_yes_no_among_all_queries(tmp_path: Path) -> None:
    counts, made, _ = derive(tmp_path, asked(60, 60, 190), "yes-no", "--yes-no-share", "0.05")
    assert tally(made) == (5, 5, 190)
    assert counts["balance"]["kept_yes"] == 5
    none, kept, _ = derive(tmp_path / "few", asked(2, 2, 190), "yes-no", "--yes-no-share", "0.05")
    assert tally(kept) == (2, 2, 190)
    assert none["rejects"] == {}


def test_many_small_sources_share_what_is_left_of_rounding() -> None:
    table = np.full((50, 2), 10, np.int64)
    options = ConvertOptions("yes-no", yes_no_share=0.05)
    quota = _quotas(table, options, 900, list(range(50)))
    assert quota.sum() == 46  # 47 are allowed; they go in pairs
    assert (quota[:23] == 1).all()
    turned = _quotas(table, options, 900, list(range(50))[::-1])
    assert (turned[27:] == 1).all()
    uneven = _quotas(np.array([[10, 30], [2, 2], [0, 9]]), ConvertOptions("yes-no", ratio=2, yes_no_share=0.1), 100)
    assert uneven.tolist() == [[3, 6], [1, 1], [0, 0]]


def test_a_share_of_nothing_but_yes_no_is_refused(tmp_path: Path) -> None:
    make_corpus(tmp_path / "curated", asked(3, 3))
    ran = curate("convert", tmp_path / "curated", "--to", "yes-no", "-o", tmp_path / "out", "--yes-no-share", "0.05")
    assert ran.status == 2
    assert "all 6 queries are yes/no questions" in ran.err
    assert not (tmp_path / "out").exists()


def test_what_counts_as_a_yes_no_question(tmp_path: Path) -> None:
    options = (("A", "Yes"), ("B", "No"))
    samples = [
        query("Is it 1?", "A", query_type="choice", choices=options),
        query("Is it 2?", "No", query_type="choice", choices=options, row=2),
        query("Is it 3?", "no", query_type="exact", row=3),
        query("Is it 4?", "是", query_type="yes_no", row=4),
        query("Is it 5?", "maybe", query_type="yes_no", row=5),
        query("Which?", "A", query_type="choice", choices=(("A", "Yes"), ("B", "Left")), row=6),
        query("Which ones?", "A", "B", query_type="multi_choice", choices=options, row=7),
        query("Is it 6?", "C", query_type="choice", choices=options, row=8),
    ]
    counts, _, _ = derive(tmp_path, samples, "yes-no")
    assert {name: counts["balance"][name] for name in ("yes", "no", "others")} == {"yes": 2, "no": 2, "others": 4}


def test_which_ones_stay_depends_on_ids_and_seed_alone(tmp_path: Path) -> None:
    samples = asked(200, 20)
    derive(tmp_path, samples, "yes-no", per_shard=17)
    derive(tmp_path / "turned", samples[::-1], "yes-no", per_shard=50)
    derive(tmp_path / "seeded", samples, "yes-no", "--seed", "1")
    kept = [{s.id for s in read(tmp_path / name / "derived")[0]} for name in (".", "turned", "seeded")]
    assert kept[0] == kept[1] != kept[2]
    rows = [s.origin.row for s in read(tmp_path / "derived")[0] if polarity(s.answer[0])]
    assert min(rows) < 60
    assert max(rows) > 140


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=5),
    st.floats(1, 9),
    st.none() | st.floats(0.01, 0.99),
    st.integers(1, 300),
)
def test_quotas_never_overstep_ratio_share_or_what_there_is(
    counts: list[tuple[int, int]], ratio: float, share: float | None, others: int
) -> None:
    table = np.array(counts, np.int64)
    quota = _quotas(table, ConvertOptions("yes-no", ratio=ratio, yes_no_share=share), others)
    assert (quota <= table).all()
    assert (quota.max(axis=1) <= ratio * quota.min(axis=1) + 1e-6).all()
    if share is None:
        assert (quota.min(axis=1) == table.min(axis=1)).all()
    else:
        assert quota.sum() <= share * (quota.sum() + others) + 1e-6


@settings(deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**64 - 1)), max_size=60),
    st.lists(st.integers(0, 20), min_size=4, max_size=4),
)
def test_as_many_of_each_group_stay_as_its_quota_says(members: list[tuple[int, int]], quota: list[int]) -> None:
    group = np.array([member[0] for member in members], np.int64)
    keys = np.array([member[1] for member in members], np.uint64)
    keep = _first_of_each(group, keys, np.array(quota, np.int64))
    for number, wanted in enumerate(quota):
        inside = np.flatnonzero(group == number)
        kept = inside[keep[inside]]
        assert len(kept) == min(wanted, len(inside))
        left = inside[~keep[inside]]
        assert not len(kept) or not len(left) or keys[kept].max() <= keys[left].min()


def test_corpora_without_yes_no_questions_stay_whole(tmp_path: Path) -> None:
    counts, made, _ = derive(tmp_path, asked(0, 0, 9), "yes-no", "--yes-no-share", "0.05")
    assert len(made) == 9
    assert counts["balance"]["others"] == 9


@pytest.mark.parametrize("word", ["ratio", "yes-no-share"])
def test_words_are_no_numbers(tmp_path: Path, word: str) -> None:
    make_corpus(tmp_path / "curated", asked(1, 1))
    assert (
        curate("convert", tmp_path / "curated", "--to", "yes-no", "-o", tmp_path / "out", f"--{word}", "many").status
        == 2
    )
