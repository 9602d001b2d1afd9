"""What a report is made of: histograms, thresholds, markup, counts, thumbnails; and accounts by anyone's hand."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_corpus import dress, drop, keep, made, picture, rows_of, write_decisions
from report_page import Page
from support.measured import (
    GOOD_VERDICT,
    SIGNALS,
    caption,
    make_corpus,
    stored,
    write_signals,
    write_verdicts,
)

import curate.accounts.report as report_module
from curate.accounts.report import write_report
from curate.accounts.report.charts import histogram
from curate.accounts.report.histogram import Histogram, choose_axis
from curate.accounts.report.markup import harmless, shortened, tag
from curate.accounts.report.rejected import UNKNOWN, Rejected
from curate.accounts.report.tally import draw
from curate.accounts.report.thresholds import Threshold, rule_thresholds
from curate.accounts.report.thumbnails import Thumbnails
from curate.select.facts import VERDICT_COLUMNS
from curate.select.policy import Policy
from curate.select.policy_rules import policy_rules
from curate.select.rules import Rule, builtin_rules

numbers = st.floats(allow_nan=True, allow_infinity=True, width=64) | st.integers(-(10**9), 10**9).map(float)


@given(st.lists(numbers, min_size=1, max_size=60), st.lists(st.floats(-1e6, 1e6), max_size=3), st.booleans())
def test_histograms_count_every_number_once(values: list[float], thresholds: list[float], whole: bool) -> None:
    column = np.array([float(math.floor(value)) if whole and math.isfinite(value) else value for value in values])
    finite = column[np.isfinite(column) & (np.abs(column) < 1e300)]
    if not finite.size:
        return
    column = np.concatenate([finite, [math.nan, math.inf]])
    axis = choose_axis(finite, whole=whole, thresholds=thresholds)
    assert (np.diff(axis.edges) > 0).all()
    groups = (np.arange(len(column)) % 2).astype(np.int8)
    data = Histogram(axis)
    data.add(column, groups)
    assert (data.known, data.missing) == (finite.size, 2)
    assert data.counts[1].sum() == np.count_nonzero(np.isfinite(column) & (groups == 1))
    parts = Histogram(axis)
    for start in range(0, len(column), 7):
        parts.add(column[start : start + 7], groups[start : start + 7])
    assert (parts.counts == data.counts).all()
    inside = finite[(finite >= axis.edges[1]) & (finite < axis.edges[-2])]
    assert data.counts[:, 1:-1].sum() == inside.size
    assert all(0 <= axis.place(float(value)) <= 1 for value in finite)


def test_axes_suit_what_is_measured() -> None:
    counts = choose_axis(np.array([0.0, 0, 1, 3]), whole=True, thresholds=[0])
    assert counts.whole
    assert counts.edges[0] == -0.5
    words = choose_axis(np.arange(2.0, 400), whole=True)
    assert (words.edges == np.round(words.edges)).all()
    assert words.edges[0] >= 0
    sizes = choose_axis(np.array([64.0] * 5 + [*range(200, 900, 7)]), whole=True, thresholds=[28])
    assert sizes.edges[0] <= 28
    spread = choose_axis(np.random.default_rng(0).lognormal(5, 2, 5_000), whole=False)
    assert spread.logarithmic
    far = choose_axis(np.linspace(1, 4, 50), whole=False, thresholds=[200])
    assert far.edges[-1] < 10


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("text_words < 5", [("text_words", "<", 5)]),
        ("5 > text_words", [("text_words", "<", 5)]),
        ("image_entropy <= 1.25 or judge_score < 2.5", [("image_entropy", "<=", 1.25), ("judge_score", "<", 2.5)]),
        ("not (text_words >= 3)", [("text_words", "<", 3)]),
        ("not (text_words between 3 and 10)", [("text_words", "<", 3), ("text_words", ">", 10)]),
        ("text_language <> 'en' and text_letters > 0.5", [("text_letters", ">", 0.5)]),
        ("image_min_side * 2 < 5", []),
        ("text_repetition > -0.5", [("text_repetition", ">", -0.5)]),
    ],
)
def test_thresholds_are_read_off_conditions(condition: str, found: list[tuple[str, str, float]]) -> None:
    rule = Rule("mine", pl.sql_expr(condition), pl.lit(""))
    assert [(t.column, t.sign, t.value) for t in rule_thresholds(rule)] == found


def test_thresholds_of_the_built_in_rules() -> None:
    found = {t for rule in builtin_rules() for t in rule_thresholds(rule)}
    assert Threshold("image_entropy", "near_blank", "<", 1.5) in found
    assert Threshold("image_min_side", "too_small", "<", 28) in found


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_text_comes_back_as_it_was_or_harmless(text: str, attribute: str) -> None:
    page = Page(tag("p", text, title=attribute))
    assert [element.name for element in page.elements] == ["p"]
    assert page.elements[0].text == harmless(text)
    assert (page.elements[0].attributes["title"] or "") == harmless(attribute)
    assert not {"\x1b", "\u202e", "\u2066", "\x00", "\r"} & set(page.source)


@given(st.text(max_size=200), st.integers(4, 60))
def test_shortened_texts(text: str, most: int) -> None:
    short = shortened(text, most)
    assert len(short) <= most
    assert short == text.strip() or short.endswith("…")


@given(st.lists(st.sampled_from("0123456789abcdef"), min_size=64, max_size=64).map("".join), st.integers())
def test_draws_depend_on_id_and_seed_alone(name: str, seed: int) -> None:
    alone = draw([name], seed)
    among = draw(["f" * 64, name, "0" * 64], seed)
    assert alone[0] == among[1]
    assert draw(["no hex at all"], seed).shape == (1,)


def test_rejects_belong_to_the_subset_of_their_neighbours() -> None:
    rejected = Rejected()
    rejected.by_file = Counter({"a/x.jsonl": 3, "b/1.png": 1, "mixed/y.jsonl": 2, "new/z.txt": 5})
    samples = pl.DataFrame(
        {
            "file": ["a/x.jsonl", "b/2.png", "mixed/y.jsonl", "mixed/y.jsonl", "elsewhere/q.json"],
            "source": ["atlas", "films", "one", "two", "three"],
            "identified": [False, False, False, True, False],
        }
    )
    rejected.learn(samples, rejected.places)
    assert rejected.by_source() == {"atlas": 3, "films": 1, UNKNOWN: 7}
    assert [rejected.may_be_shown(file) for file in ("a/x.jsonl", "mixed/y.jsonl", "a/x.dcm", "a/12")] == [
        True,
        False,
        False,
        False,
    ]


def test_pictures_stay_within_their_bound(tmp_path: Path) -> None:
    images = [stored(tmp_path / "curated", picture(seed, side=200)) for seed in range(40)]
    corpus = make_corpus(tmp_path / "curated", [caption(f"Film {n}.", image) for n, image in enumerate(images)])
    thumbnails = Thumbnails(corpus, bound=20_000)
    thumbnails.make(images)
    assert 0 < thumbnails.used <= 20_000
    shown = [thumbnail for thumbnail in thumbnails.made.values() if thumbnail.uri]
    assert len(shown) + thumbnails.left_out == len(images)
    assert sum(len(thumbnail.uri or "") for thumbnail in shown) == thumbnails.used
    assert list(thumbnails.made)[: len(shown)] == [image.sha256 for image in images[: len(shown)]]


def test_many_subsets_rules_and_values_make_no_large_page(tmp_path: Path) -> None:
    corpus = make_corpus(
        tmp_path / "curated",
        [caption("word " * 4_000 + str(n), source=f"subset {n} " + "x" * 3_000, row=n + 1) for n in range(400)],
        per_shard=150,
    )
    rows = [{**keep(row["id"]), "kept": False, "rule": f"rule_{n}", "reason": "y" * 5_000, "copies": 0}
            for n, row in enumerate(rows_of(corpus))]  # fmt: skip
    write_decisions(corpus, "many", rows)
    summary = write_report(corpus, tmp_path / "report.html", examples=24)
    assert len(summary.dropped) == 400
    assert summary.bytes < 500_000
    Page((tmp_path / "report.html").read_text()).check()


def test_pictures_and_texts_together_are_within_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = made(tmp_path / "curated", 40)
    dress(corpus)
    whole = write_report(corpus, tmp_path / "whole.html", examples=24)
    text = len(re.sub(r"data:image/webp[^\"]*", "", (tmp_path / "whole.html").read_text()).encode())
    for bound in (whole.bytes - 20_000, text + 2_000, text - 10_000):
        monkeypatch.setattr(report_module, "LARGEST", bound)
        summary = write_report(corpus, tmp_path / "report.html", examples=24)
        assert summary.bytes <= bound
        assert summary.pictures + summary.pictures_left_out == whole.pictures
        page = Page((tmp_path / "report.html").read_text())
        page.check()
        assert (summary.pictures == 0) == (bound < text + 2_000 or summary.pictures == 0)
    assert summary.pictures == 0


def test_only_rules_of_one_comparison_are_shaded() -> None:
    policy = Policy.model_validate(
        {
            "name": "p",
            "rules": [
                {"name": "alone", "when": "text_words < 5", "reason": "r"},
                {"name": "turned", "when": "not (text_words >= 3)", "reason": "r"},
                {"name": "both", "when": "text_words < 9 and image_entropy < 3", "reason": "r"},
                {"name": "either", "when": "text_words < 7 or image_entropy < 2", "reason": "r"},
                {"name": "of_some", "when": "text_words < 8", "reason": "r", "kinds": ["query"]},
                {"name": "of_one", "when": "text_words < 6", "reason": "r", "sources": ["films"]},
            ],
        }
    )
    columns = {**VERDICT_COLUMNS, **{name: kind for name, kind in pl.Schema(SIGNALS).items() if name != "id"}}
    columns |= dict.fromkeys(("kind", "source", "license", "query_type", "privacy"), pl.String())
    found = {t for rule in policy_rules(policy, columns).all for t in rule_thresholds(rule) if t.column == "text_words"}
    assert {t.rule for t in found if not t.part} == {"alone", "turned"}
    assert {t.rule for t in found if t.part} == {"both", "either", "of_some", "of_one"}
    data = Histogram(choose_axis(np.arange(0.0, 20), whole=True))
    data.add(np.arange(0.0, 20), np.zeros(20, np.int8))

    def drawn(*rules: str) -> str:
        return histogram(data, [t for t in found if t.rule in rules], "words", decided=True)

    assert 'class="shaded"' in drawn("alone")
    assert 'class="threshold"' in drawn("alone")
    assert 'class="shaded"' not in drawn("both", "of_some")
    assert drawn("both", "of_some").count('class="threshold part"') == 2


_SAME_TWICE = """
import json, sys
from pathlib import Path
from curate.accounts.diff import diff
from curate.accounts.report import write_report
from curate.corpus import Corpus
corpus = Corpus.open(Path(sys.argv[1]))
write_report(corpus, Path(sys.argv[2]), selection="b")
for pair in (("a", "b"), (sys.argv[1], sys.argv[3])):
    print(json.dumps(diff(*pair, corpus=corpus.path)))
"""


def test_as_many_threads_as_you_like_give_the_same(tmp_path: Path) -> None:
    corpora = []
    for name in ("one", "two"):
        samples = [
            caption(
                f"Film {n}.", source=f"s{n % 40}", row=n + 1, license=f"l{n % 30}" if name == "one" else f"m{n % 30}"
            )
            for n in range(1200)
        ]
        corpora.append(make_corpus(tmp_path / name, samples, per_shard=500))
        changes = {s.id: {"modality": f"{name}{n % 50}", "text_letters": n / 7} for n, s in enumerate(samples)}
        write_signals(corpora[-1], changes)
        write_verdicts(
            corpora[-1], {s.id: {**GOOD_VERDICT, "judge_score": (n % 47) / 9.1} for n, s in enumerate(samples)}
        )
    ids = [row["id"] for row in rows_of(corpora[0])]
    for name, shift in (("a", 0), ("b", 7)):
        rows = [drop(i, f"rule_{(n + shift) % 20}", f"reason {n}") if n % 3 else keep(i) for n, i in enumerate(ids)]
        write_decisions(corpora[0], name, rows)
    outcomes = []
    for threads in ("1", "3"):
        page = tmp_path / f"{threads}.html"
        arguments = [sys.executable, "-c", _SAME_TWICE, str(corpora[0].path), str(page), str(corpora[1].path)]
        env = {**os.environ, "POLARS_MAX_THREADS": threads}
        ran = subprocess.run(arguments, env=env, capture_output=True, check=True)
        outcomes.append((page.read_bytes(), ran.stdout))
    assert outcomes[0] == outcomes[1]


def test_places_of_rejects_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = made(tmp_path / "curated", 20, per_shard=3)
    (corpus.path / "rejects").mkdir()
    reject = {"file": "made.jsonl", "row": 99, "reason": "bad_json", "message": "it ends too early"}
    (corpus.path / "rejects" / "part-00000.jsonl").write_text(json.dumps(reject))
    asked: list[int] = []
    found = Rejected.places.fget
    assert found is not None
    monkeypatch.setattr(Rejected, "places", property(lambda self: asked.append(1) or found(self)))
    write_report(corpus, tmp_path / "report.html")
    assert len(asked) == 1


_FIELDS = (
    *("subsets", "parts", "clusters", "members", "id", "judged", "low", "high", "share_asked", "source", "name"),
    *("min_pass_share", "rules", "judge", "mixture", "unit", "notes", "decision", "kept", "benchmarks"),
)
_texts = st.text(max_size=20)
_leaves = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    _leaves | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts | st.sampled_from(_FIELDS), inner, max_size=6),
    max_leaves=25,
)
stages = st.fixed_dictionaries(
    {},
    optional={
        "stages": st.dictionaries(st.sampled_from(["subsets", "duplicates", "contamination", "mixture"]), values)
        | values,
        "policy": st.fixed_dictionaries({"name": st.just("mine")}, optional={"subsets": values, "mixture": values})
        | values,
        "at": values,
        "policy_sha256": values,
        "version": values,
    },
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    corpus = made(tmp_path_factory.mktemp("small") / "curated", 18)
    dress(corpus)
    return corpus


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(account=stages)
def test_accounts_of_any_shape_are_survived(small: Any, account: dict[str, Any]) -> None:
    (small.path / "decisions" / "rl.json").write_text(json.dumps(account))
    output = small.path.parent / "any.html"
    summary = write_report(small, output, selection="rl", examples=1)
    assert summary.samples == 18
    Page(output.read_text()).check()


def test_colours_can_be_told_apart() -> None:
    """WCAG 2.2: 4.5 to 1 for text, 3 to 1 for parts of charts, on both grounds and in both schemes."""
    import curate.accounts.report as package

    style = Path(package.__file__).with_name("report.css").read_text()
    schemes = re.findall(r":root \{([^}]*--ground[^}]*--ink[^}]*)\}", style)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for ground in ("ground", "card", "soft"):
            for name in ("ink", "muted", "link"):
                assert _contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        for name in ("kept", "dropped", "neutral"):
            assert _contrast(colours[name], colours["card"]) >= 3, name


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
