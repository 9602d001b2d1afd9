"""``curate report`` through the command: what the page tells, what it never holds, and what is refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from inside import curate
from report_corpus import HOSTILE, SECRET, dress, drop, keep, made, rows_of, write_decisions
from report_page import Page
from support.corpora import texts
from support.measured import caption, make_corpus, write_signals

from curate.corpus import Corpus, Origin


def report(corpus: Path, *arguments: str, status: int = 0) -> tuple[Page, Any]:
    """The page and the summary of a report on a corpus."""
    output = corpus.parent / "report.html"
    ran = curate("report", corpus, "-o", output, "--json", *arguments)
    assert ran.status == status, ran.err
    page = Page(output.read_text())
    page.check()
    return page, ran.json()


@pytest.fixture(scope="module")
def dressed(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    corpus = made(tmp_path_factory.mktemp("dressed") / "curated")
    dress(corpus, hostile=HOSTILE)
    return corpus


@pytest.fixture(scope="module")
def reported(dressed: Corpus) -> tuple[Page, Any]:
    return report(dressed.path)


def test_numbers_are_those_of_the_decisions(dressed: Corpus, reported: tuple[Page, Any]) -> None:
    page, summary = reported
    decisions = pl.read_parquet(dressed.path / "decisions" / "rl.parquet")
    kept = int(decisions["kept"].sum())
    assert (summary["samples"], summary["kept"]) == (len(decisions), kept)
    assert summary["dropped"] == dict(decisions.filter(~pl.col("kept"))["rule"].value_counts().iter_rows())
    tiles = {element.text for element in page.all("div") if element["class"] == "tile"}
    assert {f"samples{len(decisions)}in 5 subsets", f"with repeats{decisions['copies'].sum()}rows, as planned"} <= tiles
    assert any(tile.startswith(f"kept{kept}") for tile in tiles)


def test_every_stage_is_told(reported: tuple[Page, Any]) -> None:
    page, _ = reported
    sections = {
        "funnel": ("Rows read", "Samples 60", "Measured 60", "Judged 60", "films-0", "questions"),
        "rules": ("duplicate_image", "5.0 %", "short_caption", "Lingshu drops captions"),
        "scores": ("medical correctness", "low_score < 3", "low_medical_correctness < 3", "subset gate < 3", "accept"),
        "signals": ("image_entropy", "near_blank < 1.5", "text_words", "short_caption < 5", "image_readable"),
        "dropped": ("duplicate_image 3 of 3", "answered rightly in 0 of 8 rollouts", "Judge: "),
        "kept": ("Drawn at random with seed 0.",),
        "subsets": ("asks for 70 % of a subset at 95 %", "29 of 50 would keep it", "keep, undecided", "6 of 9"),
        "duplicates": ("4 samples dropped", "in 2 clusters", "distance 2 of 64 bits, mirrored", "kept as the best"),
        "contamination": (
            "1 sample dropped for a hit",
            "vqa-rad",
            "test.parquet:12",
            "distance 1",
            "slake",
            "share 0.91",
        ),
        "mixture": ("Shares are of tokens.", "60.0 %", "59.9 %", "9,000", "2 ×"),
        "difficulty": ("3 to 5 (100 %), 6 to 7 (25 %)", "policy-model", "text-only", "0 of 8", "8 of 8"),
        "judge": ("No judge was asked.",),
        "provenance": ("abababab", "min_pass_share: 0.7", "curate 0.1.0", "path: …/vqa-rad"),
    }
    for anchor, expected in sections.items():
        text = page.section(anchor).replace("\u00a0", " ")
        assert [words for words in expected if words not in text] == [], anchor
    assert "path-vqa" not in page.source  # another policy compared the data with it


def test_thresholds_are_in_the_words_of_the_charts(reported: tuple[Page, Any]) -> None:
    labels = [element["aria-label"] for element in reported[0].all("svg")]
    entropy = next(label for label in labels if label.startswith("Histogram of image_entropy"))
    assert "60 samples" in entropy
    assert "threshold near_blank: < 1.5" in entropy
    assert any("between 14.3% and 37.4%; asked 70.0%" in label for label in labels)


def test_text_of_others_does_nothing(reported: tuple[Page, Any]) -> None:
    page, _ = reported
    assert "alert(1)" in page.section("kept") + page.section("dropped") + page.section("funnel")
    assert "<script" not in page.source
    assert "onerror=alert(2)>" not in page.source
    assert page.source.count("</style>") == 1
    assert not {"\x1b", "\u202e", "\x00"} & set(page.source)


def test_who_may_be_identified_is_counted_and_never_shown(tmp_path: Path) -> None:
    corpus = made(tmp_path / "curated")
    rows = rows_of(corpus)
    hidden = next(row["id"] for row in rows if row["privacy"] == "identified")
    other = next(row["id"] for row in rows if row["source"] == "films-1")
    decisions = [drop(hidden, "unreadable_image", f"{SECRET}.dcm is damaged") if row["id"] == hidden else
                 drop(other, "duplicate_text", f"alike {SECRET}.dcm:1", hidden) if row["id"] == other else
                 keep(row["id"]) for row in rows]  # fmt: skip
    write_decisions(corpus, "mine", decisions)
    (corpus.path / "contamination").mkdir()
    hit = {"id": [hidden], "benchmark": ["slake"], "kind": ["image"], "sample_text": [SECRET]}
    pl.DataFrame(hit).write_parquet(corpus.path / "contamination" / "hits.parquet")
    page, summary = report(corpus.path)
    assert SECRET not in page.source
    assert "DOE" not in page.source
    assert summary["withheld"] == 1
    assert summary["dropped"] == {"unreadable_image": 1, "duplicate_text": 1}
    assert "made.jsonl:61" not in page.source
    assert "Not shown: it comes from DICOM files" in page.section("dropped")
    policy = {"name": "mine", "declare_deidentified": ["dicom"]}
    write_decisions(corpus, "mine", decisions, {"policy": policy})
    page, summary = report(corpus.path)
    assert summary["withheld"] == 0
    assert SECRET in page.source


def test_names_of_rejected_dicom_files_are_not_shown(tmp_path: Path) -> None:
    corpus = made(tmp_path / "curated")
    (corpus.path / "rejects").mkdir()
    rejects = [
        {"file": "scans/DOE_JOHN.dcm", "row": 0, "reason": "truncated", "message": "DOE_JOHN.dcm is cut off"},
        {"file": "made.jsonl", "row": 9, "reason": "missing_image", "message": "'a.png' does not exist"},
    ]
    lines = [*map(json.dumps, rejects), '{"file": 3', '["no", "reject"]']
    (corpus.path / "rejects" / "part-00000.jsonl").write_text("\n".join(lines))
    page, _ = report(corpus.path)
    assert "DOE" not in page.source
    assert "truncated" in page.section("funnel")
    # made.jsonl has a sample that may identify someone.
    assert "a.png" not in page.source


def test_a_reject_is_named_only_where_its_name_cannot_be_a_patients(tmp_path: Path) -> None:
    samples = [caption(f"Film {n} of a chest.", source="films", row=n + 1) for n in range(2)]
    corpus = make_corpus(tmp_path / "curated", samples)
    (corpus.path / "rejects").mkdir()
    rejects = [
        {"file": "scans/SMITH_JACK.001", "row": 0, "reason": "truncated", "message": "it is cut off"},
        {"file": "scans/SMITH_JACK.txt", "row": 0, "reason": "no_text", "message": "it is empty"},
        {"file": "notes/SMITH_JACK.docx", "row": 0, "reason": "unknown_kind", "message": "nothing reads it"},
        {"file": "films/list.jsonl", "row": 3, "reason": "no_picture", "message": "'SMITH_JACK.001' is no picture"},
        {"file": "films/list.jsonl", "row": 4, "reason": "missing_image", "message": "'knee.png' does not exist"},
    ]
    (corpus.path / "rejects" / "part-00000.jsonl").write_text("\n".join(map(json.dumps, rejects)))
    page, _ = report(corpus.path)
    assert "SMITH" not in page.source
    assert "films/list.jsonl:4: 'knee.png' does not exist" in page.section("funnel")
    assert all(entry["reason"] in page.section("funnel") for entry in rejects)


def test_a_subset_that_may_be_called_like_a_patient_is_a_number(tmp_path: Path) -> None:
    name, second = "DOE^JANE", "ROE^RICHARD"
    samples = [
        caption("A chest.", source=name, row=1, privacy="identified"),
        caption("A knee.", source=name, row=2),
        caption("A hand.", source="films", row=3),
        caption("A hip.", source=second, row=4, privacy="identified"),
    ]
    samples[1] = replace(samples[1], origin=Origin(f"{name}/notes.jsonl", 2))
    corpus = make_corpus(tmp_path / "curated", samples)
    write_signals(corpus)
    rows = [drop(sample.id, "subset", f"its subset {sample.source} fails") for sample in samples]
    rules = [{"name": "mine", "when": f"source = '{name}'", "reason": "no", "basis": f"as {name} asked"}]
    account = {
        "policy": {"name": "p", "description": f"Without {name}.", "rules": rules, "subsets": {"min_pass_share": 0.7}},
        "stages": {
            "subsets": {"subsets": [{"source": name, "decision": "drop", "sentence": f"{name}: 1 of 9 pass"}]},
            "mixture": {
                "parts": [{"name": name, "share_asked": 1.0}],
                "limited_by": name,
                "notes": [f"{name} is small"],
            },
            "contamination": {"note": f"{name} was compared"},
        },
    }
    write_decisions(corpus, "p", rows, account)
    corpus.record("score", parameters={"input": f"raw/{name}", "only": [second]})
    page, _ = report(corpus.path)
    assert not [word for word in ("DOE", "JANE", "ROE", "RICHARD") if word in page.source]
    for anchor in ("funnel", "rules", "dropped", "subsets", "mixture", "contamination", "provenance"):
        assert "subset 1 (name withheld)" in page.section(anchor), anchor
    assert "subset 2 (name withheld)" in page.section("funnel")
    declared = account | {"policy": account["policy"] | {"declare_deidentified": [name, second]}}
    write_decisions(corpus, "p", rows, declared)
    page, _ = report(corpus.path)
    assert name in page.section("funnel")
    assert "name withheld" not in page.source


def test_without_a_selection_it_is_about_the_corpus(tmp_path: Path) -> None:
    corpus = made(tmp_path / "curated", 12)
    page, summary = report(corpus.path)
    assert (summary["selection"], summary["kept"], summary["dropped"]) == (None, 12, {})
    assert "nothing selected yet" in page.source
    assert "Samples, for example" in page.source
    anchors = {element["aria-labelledby"] for element in page.all("section")}
    assert not anchors & {"rules", "subsets", "mixture", "dropped"}


def test_without_signals_it_says_so(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "curated", texts(30), per_shard=8)
    page, summary = report(corpus.path)
    assert summary["samples"] == 30
    assert "curate score CORPUS measures them" in page.section("signals")
    assert "No sample was judged" in page.section("scores")


def test_stages_that_are_not_in_the_policy(tmp_path: Path) -> None:
    corpus = made(tmp_path / "curated", 12)
    decisions = [keep(row["id"]) for row in rows_of(corpus)]
    write_decisions(corpus, "plain", decisions, {"policy": {"name": "plain"}, "stages": {}})
    page, _ = report(corpus.path)
    for anchor in ("subsets", "duplicates", "contamination", "mixture"):
        assert "ot part of this policy" in page.section(anchor)
    (corpus.path / "contamination").mkdir()
    hits = {"id": [decisions[0]["id"]] * 2, "benchmark": ["slake"] * 2, "kind": ["image", "question"]}
    pl.DataFrame(hits).write_parquet(corpus.path / "contamination" / "hits.parquet")
    page, _ = report(corpus.path)
    assert "Not part of this policy" in page.section("contamination")
    assert "knows 2 hits that other policies found" in page.section("contamination")
    assert "slake" not in page.source
    assert "No rule dropped anything." in page.section("rules")


def test_decisions_of_an_older_version(tmp_path: Path) -> None:
    corpus = made(tmp_path / "curated", 12, per_shard=100)
    rows = [keep(row["id"]) for row in rows_of(corpus)]
    rows[0] = drop(rows[0]["id"], "near_blank", "blank")
    (corpus.path / "decisions").mkdir()
    table = pl.DataFrame(rows).select("id", "kept", "rule", "reason")
    table.write_parquet(corpus.path / "decisions" / "old.parquet")
    page, summary = report(corpus.path)
    assert (summary["kept"], summary["dropped"]) == (11, {"near_blank": 1})
    assert "with repeats" not in page.source


def test_the_newest_selection_or_the_one_that_is_named(tmp_path: Path) -> None:
    corpus = made(tmp_path / "curated", 12)
    rows = [keep(row["id"]) for row in rows_of(corpus)]
    write_decisions(corpus, "first", rows)
    write_decisions(corpus, "second", [drop(rows[0]["id"], "where", "no"), *rows[1:]])
    os.utime(corpus.path / "decisions" / "first.parquet", (2e9, 2e9))
    assert report(corpus.path)[1]["selection"] == "first"
    page, summary = report(corpus.path, "--selection", "second")
    assert (summary["selection"], summary["kept"], summary["other_selections"]) == ("second", 11, ["first"])
    assert page.all("h1")[0].text == "second"
    # A selection by a policy comes before those that exports make by themselves, unless one has replaced it.
    write_decisions(corpus, "second", rows, {"policy_sha256": "ab"})
    corpus.record("select", parameters={"selection": "second", "policy_sha256": "ab"})
    summary = report(corpus.path)[1]
    assert (summary["selection"], summary["chosen"]) == ("second", "the newest of curate select")
    assert "selection second (the newest of curate select)" in curate("report", corpus.path, cwd=tmp_path).err
    write_decisions(corpus, "second", rows, {"policy_sha256": "cd"})
    os.utime(corpus.path / "decisions" / "second.parquet", (1e9, 1e9))
    assert report(corpus.path)[1]["selection"] == "first"


def test_the_same_seed_draws_the_same_whatever_the_shards(tmp_path: Path) -> None:
    pages = []
    for name, per_shard, seed in (("a", 7, "1"), ("b", 60, "1"), ("c", 7, "2")):
        (tmp_path / name).mkdir()
        corpus = made(tmp_path / name / "curated", per_shard=per_shard)
        write_decisions(corpus, "all", [keep(row["id"]) for row in rows_of(corpus)])
        pages.append(report(corpus.path, "--seed", seed, "--examples", "3")[0].section("kept"))
    assert pages[0] == pages[1] != pages[2]


def test_a_report_is_replaced_and_nothing_else_is(tmp_path: Path) -> None:
    corpus = made(tmp_path / "curated", 6)
    output = tmp_path / "report.html"
    assert curate("report", corpus.path, "-o", output).status == 0
    assert curate("report", corpus.path, "-o", output).status == 0
    for path, content in ((tmp_path / "thesis.html", b"<p>mine</p>"), (tmp_path / "raw.png", b"\x89PNG")):
        path.write_bytes(content)
        ran = curate("report", corpus.path, "-o", path)
        assert (ran.status, path.read_bytes()) == (2, content)
        assert "is no report of curate" in ran.err
    os.mkfifo(tmp_path / "pipe.html")
    ran = curate("report", corpus.path, "-o", tmp_path / "pipe.html")
    assert (ran.status, "is no regular file" in ran.err) == (2, True)
    assert (tmp_path / "pipe.html").is_fifo()
    ran = curate("report", corpus.path, "-o", tmp_path / ("x" * 300))
    assert (ran.status, "cannot be written" in ran.err) == (2, True)
    ran = curate("report", corpus.path, "-o", tmp_path)
    assert (ran.status, "is a directory" in ran.err) == (2, True)
    ran = curate("report", corpus.path, "-o", corpus.path / "samples" / "x.html")
    assert (ran.status, "inside the corpus" in ran.err) == (2, True)


def _truncated(corpus: Corpus) -> None:
    path = corpus.path / "decisions" / "rl.parquet"
    path.write_bytes(path.read_bytes()[:200])


def _other_samples(corpus: Corpus) -> None:
    rows = [keep(row["id"]) for row in rows_of(corpus)]
    write_decisions(corpus, "rl", list(reversed(rows)))


def _fewer_samples(corpus: Corpus) -> None:
    write_decisions(corpus, "rl", [keep(row["id"]) for row in rows_of(corpus)][:-1])


def _no_decisions(corpus: Corpus) -> None:
    pl.DataFrame({"question": ["why"]}).write_parquet(corpus.path / "decisions" / "rl.parquet")


def _no_json(corpus: Corpus) -> None:
    (corpus.path / "decisions" / "rl.json").write_text("{")


def _no_object(corpus: Corpus) -> None:
    (corpus.path / "decisions" / "rl.json").write_text("[1]")


def _bad_hits(corpus: Corpus) -> None:
    (corpus.path / "contamination" / "hits.parquet").write_bytes(b"PAR1 not at all")


def _bad_rollouts(corpus: Corpus) -> None:
    (corpus.path / "rollouts" / "policy-model" / "part-00000.parquet").write_bytes(b"PAR1 not at all")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncated, "rl.parquet cannot be read"),
        (_other_samples, "is about other samples than the corpus holds now"),
        (_fewer_samples, "is about other samples than the corpus holds now"),
        (_no_decisions, "holds no decisions: it has the columns question"),
        (_no_json, "rl.json cannot be read"),
        (_no_object, "it holds no JSON object"),
        (_bad_hits, "hits.parquet cannot be read"),
        (_bad_rollouts, "run curate rollout again"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, damage: Any, words: str) -> None:
    corpus = made(tmp_path / "curated", 20)
    dress(corpus)
    damage(corpus)
    ran = curate("report", corpus.path, "-o", tmp_path / "report.html")
    assert ran.status == 2
    assert words in " ".join(ran.err.split())
    assert not (tmp_path / "report.html").exists()


def test_what_cannot_be_reported_on(tmp_path: Path) -> None:
    corpus = made(tmp_path / "curated", 12)
    ran = curate("report", corpus.path, "--selection", "rl", cwd=tmp_path)
    assert (ran.status, "has no selection 'rl'; there is none" in ran.err) == (2, True)
    write_decisions(corpus, "cpt-decay", [keep(row["id"]) for row in rows_of(corpus)])
    ran = curate("report", corpus.path, "--selection", "cpt_decay", cwd=tmp_path)
    assert (ran.status, "did you mean cpt-decay?" in ran.err) == (2, True)
    ran = curate("report", corpus.path, "--selection", "../../secret", cwd=tmp_path)
    assert ran.status == 2
    ran = curate("report", tmp_path / "nowhere", cwd=tmp_path)
    assert (ran.status, "is no corpus" in ran.err) == (2, True)
    empty = make_corpus(tmp_path / "empty", [])
    ran = curate("report", empty.path, cwd=tmp_path)
    assert (ran.status, "holds no samples" in ran.err) == (2, True)
    assert not (tmp_path / "report.html").exists()


def test_pictures_that_are_gone_are_said_to_be(tmp_path: Path) -> None:
    corpus = made(tmp_path / "curated", 8)
    for path in (corpus.path / "images").rglob("*.png"):
        path.write_bytes(path.read_bytes()[:-40] + b"x" * 40)
    page, summary = report(corpus.path)
    assert summary["pictures"] == 0
    assert "its file is gone or has changed" in page.section("kept")
