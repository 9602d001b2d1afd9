"""``curate explain`` on the examples: whatever one has at hand leads to the sample's whole story."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from inside import curate
from judged import moved

POLICY = """\
name: strict
rules:
  - name: short_text
    when: text_words < 8
    reason: "the text has {text_words} words"
"""

WITHOUT_ANSWER = "vqa/queries.jsonl:18"
"""Its answer is not among the choices."""


@pytest.fixture(scope="module")
def place(judged_examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw/, a judged corpus curated/, a selection by policy, and exports/verl and exports/jsonl."""
    folder = tmp_path_factory.mktemp("explained")
    moved(judged_examples, folder)
    (folder / "policy.yaml").write_text(POLICY)
    assert curate("select", "--policy", "policy.yaml", cwd=folder).status == 0
    for name in ("verl", "jsonl"):
        assert curate("export", "--format", name, cwd=folder).status == 0
    return folder


def story(place: Path, what: str, *options: str) -> dict[str, Any]:
    ran = curate("explain", what, "--json", *options, cwd=place)
    assert ran.status == 0, ran.err
    return dict(ran.json())


def told(place: Path, what: str, *options: str) -> str:
    ran = curate("explain", what, *options, cwd=place)
    assert (ran.status, ran.err) == (0, "")
    return ran.out


def test_every_name_of_a_sample_leads_to_the_same_story(place: Path) -> None:
    by_row = story(place, "vqa/queries.jsonl:1")["sample"]
    exported = pq.read_table(place / "exports/verl/train.parquet").to_pylist()
    row = next(n for n, row in enumerate(exported, 1) if row["extra_info"]["id"] == by_row["id"])
    lines = (place / "exports/jsonl/train.jsonl").read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if json.loads(text)["id"] == by_row["id"])
    names = [
        by_row["id"],
        by_row["id"][:10].upper(),
        "raw/vqa/queries.jsonl:1",
        "queries.jsonl:1",
        f"exports/verl/train.parquet:{row}",
        f"exports/jsonl/train.jsonl:{line}",
    ]
    for name in names:
        assert story(place, name)["sample"] | {"corpus": "curated"} == by_row, name
    assert {entry["format"]: entry["rows"] for entry in by_row["exports"]} == {
        "verl": [f"train.parquet:{row}"],
        "jsonl": [f"train.jsonl:{line}"],
    }


def test_a_dropped_sample_has_its_rules_and_where_they_fired(place: Path) -> None:
    sample = story(place, "radiology/slice-blank.png")["sample"]
    assert sample["origin"]["path"] == str(place / "raw/radiology/slice-blank.png")
    assert sample["pictures"][0]["path"] == str(place / "raw/radiology/slice-blank.png")
    assert (sample["pictures"][0]["width"], sample["pictures"][0]["state"]) == (512, "there")
    fired = {entry["rule"]: entry for entry in sample["fired"]}
    assert fired["near_blank"]["columns"] == {"image_entropy": 0.0}
    assert {"near_blank", "judge_reject", "low_score"} <= fired.keys()
    assert all(not row["kept"] and row["rule"] == "near_blank" for row in sample["decisions"])
    assert {row["selection"] for row in sample["decisions"]} == {"strict", "verl", "jsonl"}
    assert sample["verdict"]["judge_defects"] == ["non_medical_image"]
    assert [entry["rows"] for entry in sample["exports"]] == [[], []]
    text = told(place, "radiology/slice-blank.png")
    assert "image_entropy: 0  <- fires near_blank" in text
    assert "strict: dropped by near_blank: an image carries 0.0 bits" in text
    assert "rationale: Demo judge by fixed rules" in text


def test_the_rule_of_a_policy_decides_in_its_selection_only(place: Path) -> None:
    sample = story(place, "vqa/queries.jsonl:3")["sample"]
    decided = {row["selection"]: (row["kept"], row["rule"], row["copies"]) for row in sample["decisions"]}
    assert decided == {"strict": (False, "short_text", 0), "verl": (True, None, 1), "jsonl": (True, None, 1)}
    assert [(entry["rule"], entry["reason"], entry["selections"]) for entry in sample["fired"]] == [
        ("short_text", "the text has 6 words", ["strict"])
    ]


def test_a_rejected_row_is_told_with_its_reason(place: Path) -> None:
    found = story(place, WITHOUT_ANSWER)
    assert (found["sample"], found["rejected"]["reason"]) == (None, "answer_not_in_choices")
    assert "was rejected at ingest (answer_not_in_choices): the answer 'E'" in told(place, WITHOUT_ANSWER)


def test_a_merged_row_leads_to_the_sample_it_was_merged_into(place: Path) -> None:
    found = story(place, "pathology-captions/captions.jsonl:8")
    assert found["rejected"]["reason"] == "duplicate"
    assert found["sample"]["origin"]["place"] == "pathology-captions/captions.jsonl:1"
    assert [(entry["file"], entry["row"]) for entry in found["sample"]["merged"]] == [
        ("pathology-captions/captions.jsonl", 8)
    ]


def test_a_rendered_picture_is_named_where_it_is_stored(place: Path) -> None:
    pictures = story(place, "dicom/nm-whole-body.dcm")["sample"]["pictures"]
    assert all(picture["stored"] and (place / picture["path"]).is_file() for picture in pictures)


def test_the_corpus_of_an_export_is_found_from_elsewhere(place: Path, tmp_path: Path) -> None:
    row = f"{place}/exports/verl/train.parquet:1"
    assert curate("explain", row, cwd=tmp_path).status == 0
    ran = curate("explain", "abcdef", cwd=tmp_path)
    assert (ran.status, ran.out) == (2, "")
    assert "curated is no corpus" in ran.err


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("abc", "abc is too short for an id; give at least 6"),
        ("vqa/queries.jsonl", "vqa/queries.jsonl has 17 sample(s) (rows 1 to 17) and 1 reject(s) (row 18); say which"),
        ("vqa/queries.jsonl:99", "has no row 99 in curated; it has 17 sample(s)"),
        ("vqa/quries.jsonl:1", "did you mean vqa/queries.jsonl?"),
        ("nothing-like-it:1", "its samples come from files such as case-reports/cases.jsonl"),
        ("exports/verl/train.parquet", "has many rows; say which, counted from 1"),
        ("exports/verl/train.parquet:99", "there is no row 99"),
        ("exports/verl/train.parquet:0", "there is no row 0"),
        ("exports/verl/export.json:1", "is no data file of the export"),
        ("caf\udce9.jsonl:1", "is not UTF-8"),
        ("", "no sample of curated comes from"),
        (":", "no sample of curated comes from"),
        ("a" * 65, "no sample of curated comes from"),
        ("x" * 300, "no sample of curated comes from"),
        ("x" * 300 + ":7", "no sample of curated comes from"),
    ],
)
def test_what_means_nothing_is_a_sentence_with_status_2(place: Path, what: str, sentence: str) -> None:
    ran = curate("explain", what, cwd=place)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("Error: ")
    assert sentence in ran.err


def test_a_misspelt_id_is_told_the_nearest(place: Path) -> None:
    sample_id = story(place, "vqa/queries.jsonl:1")["sample"]["id"]
    wrong = sample_id[:20] + ("0" if sample_id[20] != "0" else "1") + sample_id[21:]
    ran = curate("explain", wrong, cwd=place)
    assert ran.status == 2
    assert f"the nearest is {sample_id} (vqa/queries.jsonl:1)" in ran.err


def test_exports_that_are_gone_or_replaced_are_said_to_be(place: Path, tmp_path: Path) -> None:
    for name in ("raw", "curated"):
        shutil.copytree(place / name, tmp_path / name)
    for name in ("jsonl", "interleaved"):
        assert curate("export", "--format", name, cwd=tmp_path).status == 0
    shutil.rmtree(tmp_path / "exports/interleaved")
    marker = json.loads((tmp_path / "exports/jsonl/export.json").read_text())
    marker["files"][0]["samples"] = "0" * 64
    (tmp_path / "exports/jsonl/export.json").write_text(json.dumps(marker))
    told_of = {
        entry["directory"]: entry for entry in story(tmp_path, "case-reports/cases.jsonl:1")["sample"]["exports"]
    }
    gone, changed = told_of[str(tmp_path / "exports/interleaved")], told_of[str(tmp_path / "exports/jsonl")]
    assert (gone["state"], gone["rows"]) == ("gone", [])
    assert (changed["state"], len(changed["rows"])) == ("changed", 1)
    marker["corpus"]["path"] = str(tmp_path / "another")
    (tmp_path / "exports/jsonl/export.json").write_text(json.dumps(marker))
    text = told(tmp_path, "case-reports/cases.jsonl:1")
    assert f"replaced since by an export of another corpus ({tmp_path / 'another'})" in text
    assert "is gone: it was moved or deleted" in text


def test_hashes_are_short_on_the_terminal_and_whole_as_json(place: Path) -> None:
    text = told(place, "vqa/queries.jsonl:1")
    sample = story(place, "vqa/queries.jsonl:1")["sample"]
    assert not re.search(r"(?<![/0-9a-f])[0-9a-f]{64}(?!\.)", text)
    assert f"Sample {sample['id'][:12]}…" in text
    assert sample["pictures"][0]["path"] in text
    stored = story(place, "dicom/nm-whole-body.dcm")["sample"]["pictures"][0]
    assert re.search(r"[0-9a-f]{60}", stored["path"])  # the name of a file stays what it is
    assert stored["path"] in told(place, "dicom/nm-whole-body.dcm")


def test_narrow_terminals_lose_nothing(place: Path) -> None:
    wide = told(place, "vqa/queries.jsonl:1")
    ran = curate("explain", "vqa/queries.jsonl:1", cwd=place, env={"COLUMNS": "20"})
    assert ran.out == wide
