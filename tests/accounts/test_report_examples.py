"""The whole way on the examples: raw files, the demo judge, exports, and a report on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inside import curate
from judged import moved
from report_corpus import drop, keep, made, rows_of, write_decisions
from report_page import Page

from curate.accounts.report import write_report
from curate.accounts.report.exported import exports_of
from curate.accounts.report.selection import open_selection
from curate.corpus import Corpus
from curate.exports import FORMATS, ExportOptions, export


def test_from_raw_files_to_the_page(judged_examples: Path, tmp_path: Path) -> None:
    moved(judged_examples, tmp_path)
    corpus, output = tmp_path / "curated", tmp_path / "report.html"
    exported = export(Corpus.open(corpus), "image-caption", tmp_path / "captions").as_dict()
    ran = curate("report", corpus, "-o", output, "--json")
    assert ran.status == 0, ran.err
    summary, page = ran.json(), Page(output.read_text())
    page.check()
    assert (summary["selection"], summary["samples"]) == ("image-caption", exported["total"])
    assert (summary["kept"], summary["exported"]) == (exported["kept"], exported["written"])
    assert summary["dropped"] == exported["dropped"]
    assert summary["pictures"] > 5
    assert summary["bytes"] == output.stat().st_size < 10 * 2**20
    funnel = page.section("funnel")
    assert f"Rows read {exported['total'] + 6}" in funnel  # five that cannot be read, one that is there twice
    assert "captions.jsonl:11: 'ihc-tonsil.png' does not exist" in funnel
    assert "image-caption (captions)" in funnel
    # pathology-captions has nine samples, and three rejects from the same file.
    row = next(element.text for element in page.all("tr") if element.text.startswith("pathology-captions"))
    assert row.startswith("pathology-captions129")
    assert "curate-demo-judge" in page.section("judge")
    assert str(tmp_path) not in page.source


@pytest.fixture(scope="module")
def exported(judged_examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """The examples in every format, with a validation split, each by its own selection."""
    folder = tmp_path_factory.mktemp("exported")
    moved(judged_examples, folder)
    corpus = Corpus.open(folder / "curated")
    for name in FORMATS:
        export(corpus, name, folder / name, ExportOptions(val_fraction=0.3))
    return Corpus.open(corpus.path)


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_rows_of_every_format_are_known_to_be_those_of_the_decisions(exported: Corpus, name: str) -> None:
    selection = open_selection(exported, name)
    assert [(found.state, found.countable) for found in exports_of(exported, selection)] == [("there", True)]


def test_an_export_is_one_of_these_decisions_only_by_its_ids(tmp_path: Path) -> None:
    """The same counts of other samples, and other copies of the same, are an earlier selection."""
    corpus = made(tmp_path / "curated", 30)
    ids = [row["id"] for row in rows_of(corpus) if row["privacy"] != "identified"]
    hidden = [row["id"] for row in rows_of(corpus) if row["privacy"] == "identified"]
    policy = {"name": "mine"}

    def decide(gone: str, twice: str) -> None:
        rows = [
            drop(i, "where", "no") if i in (gone, *hidden) else keep(i, 2 if i == twice else 1)
            for i in (row["id"] for row in rows_of(corpus))
        ]
        write_decisions(corpus, "mine", rows, {"policy": policy})

    everything = ExportOptions(val_fraction=0.0, min_score=0.0, ignore_rules=("near_blank",))
    export(corpus, "jsonl", tmp_path / "auto", everything)
    marker = json.loads((tmp_path / "auto/export.json").read_text())
    lines = {json.loads(line)["id"]: line for line in (tmp_path / "auto/train.jsonl").read_text().splitlines()}
    rows = [lines[i] for i in ids[1:]]
    (tmp_path / "auto/train.jsonl").write_text("\n".join([*rows, rows[5]]))  # ids[6] twice
    (tmp_path / "auto/export.json").write_text(json.dumps(marker))
    corpus = Corpus.open(corpus.path)
    step = corpus.info.steps[-1]
    corpus.record(
        "export",
        parameters={**step.parameters, "selection": "mine"},
        counts={**step.counts, "kept": len(ids) - 1, "dropped": {"where": 1 + len(hidden)}, "written": len(ids) - 1},
        hashes=step.hashes,
    )
    states = {}
    for name, gone, twice in (("same", 0, 6), ("another", 1, 6), ("copies", 0, 7)):
        decide(ids[gone], ids[twice])
        found = exports_of(corpus, open_selection(corpus, "mine"))
        states[name] = [(one.state, one.countable) for one in found]
    assert states == {"same": [("there", True)], "another": [("earlier", False)], "copies": [("earlier", False)]}
    summary = write_report(corpus, tmp_path / "report.html", selection="mine")
    assert summary.exported == 0
    assert "made before the selection was changed" in Page((tmp_path / "report.html").read_text()).section("funnel")


def test_exports_that_are_gone_overwritten_or_damaged(exported: Corpus) -> None:
    folder = exported.path.parent

    def state(name: str) -> str:
        return exports_of(exported, open_selection(exported, name))[0].state

    (folder / "jsonl/train.jsonl").write_bytes(b"{")
    marker = json.loads((folder / "verl/export.json").read_text())
    marker["files"][0]["samples"] = "0" * 64
    (folder / "verl/export.json").write_text(json.dumps(marker))
    (folder / "interleaved/export.json").unlink()
    assert [state(name) for name in ("jsonl", "verl", "interleaved")] == ["unreadable", "overwritten", "gone"]
    write_report(exported, folder / "report.html", selection="jsonl")
    assert "its files cannot be read" in Page((folder / "report.html").read_text()).section("funnel")
