"""Exports keep the samples of one patient or study on one side of the split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from support.cli import curate
from support.corpora import picture
from support.measured import make_corpus, query, stored, write_signals

from curate.corpus import Corpus, Sample, UserError
from curate.exports.options import ExportOptions
from curate.exports.plan import Plan, make_plan
from curate.select import select_samples


def queries(path: Path, metas: list[dict[str, Any]]) -> list[Sample]:
    """One query a meta, each with a picture of its own."""
    return [
        query(f"What is in picture {number}?", "A", images=[stored(path, picture(number))], row=number + 1, meta=meta)
        for number, meta in enumerate(metas)
    ]


def planned(path: Path, metas: list[dict[str, Any]], *, per_shard: int = 8192, **options: Any) -> tuple[Corpus, Plan]:
    corpus = make_corpus(path, queries(path, metas), per_shard=per_shard)
    write_signals(corpus)
    decisions = select_samples(corpus)
    chosen = ExportOptions(val_fraction=options.pop("fraction", 0.5), seed=options.pop("seed", 0)).resolved("verl")
    return corpus, make_plan(corpus, decisions, "verl", chosen, **options)


def sides(plan: Plan) -> list[int]:
    return [int(side) for shard in plan.sides for side in shard]


@pytest.mark.parametrize(
    ("field", "nested"), [("patient_id", False), ("study_id", False), ("patient", True), ("study", True)]
)
def test_samples_of_one_patient_or_study_are_on_one_side(tmp_path: Path, field: str, nested: bool) -> None:
    values = [{field: f"p{number % 10}"} for number in range(60)]
    metas: list[dict[str, Any]] = [{"dicom": value} for value in values] if nested else list(values)
    for seed in range(2):
        _, plan = planned(tmp_path / str(seed), metas, per_shard=7, seed=seed)
        found = sides(plan)
        assert set(found) == {1, 2}
        for patient in range(10):
            assert len(set(found[patient::10])) == 1


def test_patients_and_studies_link_indirectly(tmp_path: Path) -> None:
    metas: list[dict[str, Any]] = [{"patient_id": "a", "study_id": "1"}, {"study_id": "1", "dicom": {"patient": "x"}}]
    metas += [{"dicom": {"patient": "x"}}, {}, {}, {"patient_id": " a "}]
    for seed in range(8):
        found = sides(planned(tmp_path / str(seed), metas, seed=seed, fraction=0.9)[1])
        assert len({found[0], found[1], found[2], found[5]}) == 1
        assert set(found) == {1, 2}


def test_numbers_are_values_and_blanks_are_none(tmp_path: Path) -> None:
    metas: list[dict[str, Any]] = [{"patient_id": number % 2} for number in range(20)]
    found = sides(planned(tmp_path / "numbers", metas)[1])
    assert {len(set(found[0::2])), len(set(found[1::2]))} == {1}
    blank: list[dict[str, Any]] = [{"patient_id": ["", "  ", None][number % 3]} for number in range(20)]
    assert 4 <= sides(planned(tmp_path / "blank", blank)[1]).count(2) <= 13


def test_the_policy_says_which_columns_count(tmp_path: Path) -> None:
    metas = [{"patient_id": "same", "site": f"s{number % 5}"} for number in range(50)]
    assert set(sides(planned(tmp_path / "default", metas)[1])) == {1}
    found = sides(planned(tmp_path / "sites", metas, together=["meta.site"])[1])
    assert set(found) == {1, 2}
    assert all(len(set(found[site::5])) == 1 for site in range(5))
    alone = sides(planned(tmp_path / "none", metas, together=[])[1])
    assert any(len(set(alone[site::5])) == 2 for site in range(5))


@pytest.mark.parametrize(
    ("column", "told"),
    [("sorce", "split.together: there is no column 'sorce'"), ("image_phashes", "'image_phashes' holds lists")],
)
def test_columns_that_cannot_be_used(tmp_path: Path, column: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        planned(tmp_path / "c", [{}, {}], together=[column])


def test_samples_that_are_not_exported_link_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c"
    rows = queries(path, [{"patient_id": "a"}, {"patient_id": "a", "study_id": "1"}, {"study_id": "1"}])
    corpus = make_corpus(path, rows)
    write_signals(corpus, {rows[1].id: {"text_boilerplate": True}})
    decisions = select_samples(corpus)
    plan = make_plan(corpus, decisions, "verl", ExportOptions(val_fraction=0.5).resolved("verl"))
    assert plan.sides[0][1] == 0
    assert sorted(sides(plan)) == [0, 1, 2]


def test_the_files_of_an_export_share_no_patient(tmp_path: Path) -> None:
    path = tmp_path / "curated"
    rows = queries(path, [{"patient_id": f"p{number // 4}"} for number in range(80)])
    write_signals(make_corpus(path, rows))
    ran = curate("export", path, "--format", "verl", "--val-fraction", "0.3", "-o", tmp_path / "out")
    assert ran.status == 0, ran.err
    patient = {row.id: row.meta["patient_id"] for row in rows}
    found = {}
    for split in ("train", "val"):
        (file,) = (tmp_path / "out").glob(f"{split}*.parquet")
        ids = pl.read_parquet(file)["extra_info"].struct.field("id").to_list()
        found[split] = {patient[identity] for identity in ids}
    assert len(found["train"]) + len(found["val"]) == 20
    assert not found["train"] & found["val"]
