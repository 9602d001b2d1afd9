"""The whole way on the examples: raw files, the demo judge, an export, and a report on it."""

from __future__ import annotations

from pathlib import Path

from report_page import Page
from support.cli import curate

EXAMPLES = Path(__file__).parents[2] / "examples" / "raw"


def test_from_raw_files_to_the_page(tmp_path: Path) -> None:
    corpus, output = tmp_path / "curated", tmp_path / "report.html"
    assert (
        curate("score", EXAMPLES, "-o", corpus, "--judge", "--judge-url", "demo").status == 1
    )  # some rows are rejected
    exported = curate("export", corpus, "--format", "image-caption", "-o", tmp_path / "captions", "--json").json()
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


def test_an_export_that_is_gone(tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    assert curate("score", EXAMPLES / "vqa", "-o", corpus).status == 0
    assert curate("export", corpus, "--format", "jsonl", "-o", tmp_path / "out").status == 0
    (tmp_path / "out" / "export.json").unlink()
    assert curate("report", corpus, "-o", tmp_path / "report.html").status == 0
    assert "not there any more" in Page((tmp_path / "report.html").read_text()).section("funnel")


def test_an_export_from_before_the_selection_changed(tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    assert curate("score", EXAMPLES / "case-reports", "-o", corpus).status == 0
    assert curate("export", corpus, "--format", "jsonl", "-o", tmp_path / "all").status == 0
    where = ("--where", "image_count > 1")
    later = curate("export", corpus, "--format", "jsonl", "-o", tmp_path / "some", *where, "--json").json()
    assert 0 < later["written"] < later["total"]
    ran = curate("report", corpus, "-o", tmp_path / "report.html", "--json")
    page = Page((tmp_path / "report.html").read_text())
    assert ran.json()["exported"] == later["written"]
    assert "made before the selection was changed" in page.section("funnel")
    assert "in jsonl (all)" not in page.section("funnel")
    assert "in jsonl (some)" in page.section("funnel")
    assert "where" in page.section("rules")
