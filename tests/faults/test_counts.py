"""Counts add up: as printed, as JSON, and in the lineage of the corpus; and the page of guarantees names real tests."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from faults.commands import counts_add_up
from support.cli import Ran, curate
from support.pictures import distinct

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "raw"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("counts")


@pytest.fixture(scope="module")
def scored(folder: Path) -> Ran:
    judge = ("--judge", "--judge-url", "demo", "--sample", "3")
    ran = curate("score", EXAMPLES, "-o", folder / "curated", *judge, "--workers", "1", "--json")
    assert ran.status == 1, ran.err
    return ran


def steps(folder: Path) -> dict[str, dict[str, Any]]:
    """Counts of the last step of each name."""
    return {step["name"]: step["counts"] for step in json.loads((folder / "curated/corpus.json").read_text())["steps"]}


def sums(counts: dict[str, Any], *names: str) -> int:
    """Sum of counts, or of the counts by reason, under these names."""
    return sum(sum(counts[n].values()) if isinstance(counts[n], dict) else counts[n] for n in names)


def equation(shown: str, pattern: str) -> None:
    """``a things = b such + c such ...`` is printed, and true."""
    match = re.search(pattern, shown)
    assert match, shown
    whole, *parts = (int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", match.group()))
    assert whole == sum(parts), match.group()


def test_counts_of_score(folder: Path, scored: Ran) -> None:
    counts, recorded = scored.json(), steps(folder)
    counts_add_up(scored.err)
    for found in (counts["ingest"], recorded["ingest"]):
        assert found["rows"] == sums(found, "samples", "duplicates", "rejects") > found["samples"] > 0
    assert counts["signals"]["samples"] == sums(counts["signals"], "measured", "reused") == counts["ingest"]["samples"]
    assert recorded["signals"]["samples"] == counts["ingest"]["samples"]
    equation(scored.err, r"\d+ samples = \d+ scored \+ \d+ failed \+ \d+ refused \+ \d+ not asked")
    for found in (counts["judge"], recorded["judge"]):
        assert found["samples"] == sums(found, "scored", "failed", "refused", "not_asked")
        assert found["refused"]
        assert found["not_asked"]


@pytest.mark.parametrize(
    "name", ["image-caption", "interleaved", "llamafactory-sft", "llamafactory-cpt", "verl", "jsonl"]
)
def test_counts_of_export(name: str, folder: Path, scored: Ran) -> None:
    ran = curate("export", folder / "curated", "--format", name, "-o", folder / name, "--json")
    assert ran.status in (0, 1), ran.err
    equation(ran.err, r"\d+ samples = \d+ selected \+ \d+ dropped")
    equation(ran.err, r"\d+ selected = \d+ written \+ \d+ of another kind \+ \d+ skipped")
    counts, recorded = ran.json(), steps(folder)["export"]
    assert recorded["samples"] == scored.json()["ingest"]["samples"] == recorded["kept"] + sums(recorded, "dropped")
    for found in (counts, recorded):
        assert found["kept"] == sums(found, "written", "other_kinds", "skipped")
    ids = set()
    for file in counts["files"]:
        ids |= written_ids(folder / name / file["path"])
    assert len(ids) == counts["written"] > 0


def test_a_repeat_that_changed_nothing_is_recorded_once(folder: Path, scored: Ran) -> None:
    for _ in range(2):
        assert curate("export", folder / "curated", "--format", "jsonl", "-o", folder / "repeated").status == 0
        assert curate("score", folder / "curated").status == 0
    recorded = json.loads((folder / "curated" / "corpus.json").read_text())["steps"]
    assert [step["name"] for step in recorded].count("signals") == 1
    assert sum(step["parameters"].get("directory") == str(folder / "repeated") for step in recorded) == 1


def test_documents_in_several_rows_count_once(tmp_path: Path) -> None:
    """Rows with pictures are written before those without, so that the rows of a document do not lie together."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.png").write_bytes(distinct(1))
    long = ["The retina shows drusen. " * 150] * 4
    documents = [
        {"texts": [*long, None, f"End {n}."], "image_info": [None] * 4 + [{"image": "a.png"}, None]} for n in range(3)
    ]
    (tmp_path / "raw" / "d.jsonl").write_text("\n".join(map(json.dumps, documents)))
    assert curate("score", tmp_path / "raw", "-o", tmp_path / "curated").status == 0
    options = ("--format", "llamafactory-cpt", "--max-tokens", "1024", "--ignore-rule", "boilerplate")
    ran = curate("export", tmp_path / "curated", *options, "-o", tmp_path / "export", "--json")
    found = ran.json()
    (file,) = found["files"]
    assert file["rows"] > 3 == file["sample_count"] == found["written"]
    equation(ran.err, r"3 selected = \d+ written \+ \d+ of another kind \+ \d+ skipped")


def written_ids(path: Path) -> set[str]:
    """Ids of the samples in a data file."""
    import polars as pl

    if path.suffix == ".jsonl":
        return {json.loads(line)["id"] for line in path.open()}
    rows = pl.read_parquet(path)
    return set(rows["id"] if "id" in rows.columns else rows["extra_info"].struct.field("id"))


def test_counts_of_validate(scored: Ran) -> None:
    ran = curate("validate", EXAMPLES, "--report", "json", "--limit", "1000")
    found = ran.json()
    assert sum(found["by_code"].values()) == found["errors"] + found["warnings"] == len(found["problems"])
    assert found["rows"] == scored.json()["ingest"]["rows"]


def test_counts_of_reward(tmp_path: Path) -> None:
    good = {"response": "<answer>A</answer>", "answer": "A", "query_type": "choice"}
    lines = [json.dumps(good), "{broken", json.dumps({"response": "x"}), json.dumps(good | {"responses": ["a", "b"]})]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    ran = curate("reward", tmp_path / "rows.jsonl", "--json")
    equation(ran.err, r"4 rows = \d+ scored \+ \d+ not scored")
    rows = ran.json()["rows"]
    assert rows["read"] == rows["scored"] + rows["not_scored"] == 4
    assert rows["not_scored"] == 2


def test_the_guarantees_name_tests_that_exist() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text()
    named = re.findall(r"`([\w/]+/test_\w+\.py)(?:::(\w+))?`", page)
    assert len(named) > 25
    for file, function in named:
        path = ROOT / "tests" / file
        assert path.is_file(), f"docs/guarantees.md names {file}"
        assert not function or f"def {function}(" in path.read_text(), f"docs/guarantees.md names {file}::{function}"
    rows = [line for line in page.splitlines() if line.startswith("| ") and "Shown by" not in line]
    assert all("test_" in row.split("|")[-2] for row in rows), "every promise has a test"
