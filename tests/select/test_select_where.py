"""``--where``: SQL-like conditions over the fact columns, and mistakes in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.measured import caption, conversation, make_corpus, query, write_signals, write_verdicts

from curate.corpus import Corpus, UserError
from curate.select import select_samples


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """A caption, a conversation and a query."""
    samples = [
        caption("A caption.", source="radiology", license="CC-BY-4.0"),
        conversation("Hello?", "Yes.", source="chat"),
        query("Which?", "yes", query_type="yes_no", source="vqa"),
    ]
    made = make_corpus(tmp_path / "curated", samples)
    write_signals(made, {samples[0].id: {"image_min_side": 512}, samples[2].id: {"image_min_side": None}})
    write_verdicts(made, {samples[1].id: {"judge_score": 3.2, "judge_defects": ["wrong_answer"]}})
    return made


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("image_min_side >= 64", [True, True, False]),  # null is not true
        ("image_min_side >= 64 OR image_min_side IS NULL", [True, True, True]),
        ("kind IN ('query', 'conversation')", [False, True, True]),
        ("source = 'radiology' AND license LIKE 'CC-%'", [True, False, False]),
        ("query_type = 'yes_no'", [False, False, True]),
        ("judge_score BETWEEN 4 AND 5", [True, False, True]),
        ("NOT ARRAY_CONTAINS(judge_defects, 'wrong_answer')", [True, False, True]),
        ("LENGTH(id) = 64", [True, True, True]),
        ("text_language = 'en' AND judge_fluency > 4", [True, True, True]),
        ("LOWER(source) <> 'chat' AND source IN ('Agg', 'Len', 'vqa')", [False, False, True]),
        ("CASE WHEN kind = 'query' THEN source = 'vqa' ELSE SUBSTR(source, 1, 1) = 'c' END", [False, True, True]),
        ("ARRAY_LENGTH(judge_defects) > 0 OR COALESCE(image_min_side, 0) > 500", [True, True, False]),
        ("privacy = 'unknown'", [True, True, True]),
    ],
)
def test_conditions(corpus: Corpus, where: str, kept: list[bool]) -> None:
    decisions = select_samples(corpus, where=where)
    assert decisions.kept_rows(0).to_pylist() == kept
    for row in decisions.dropped_rows().to_pylist():
        assert (row["rule"], row["reason"]) == ("where", f"it does not satisfy: {where}")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("judge_scor > 3", "no column 'judge_scor' to select by; did you mean judge_score"),
        ("qqqqqq = 1", "no column 'qqqqqq' to select by; there are: id, image_aspect"[:40]),
        ("judge_score >", "is not understood"),
        ("judge_score > 3; DROP TABLE x", "is not understood"),
        ("judge_score > 'high'", "is not understood"),
        ("judge_score + 1", "is no condition: it gives Float64"),
        ("SELECT 1", "is not understood"),
        ("AVG(judge_score) > 3", "looks at all samples together"),
        ("image_entropy > AVG(image_entropy)", "looks at all samples together"),
        ("image_entropy = MAX(image_entropy)", "looks at all samples together"),
        ("kind = 'query' AND image_entropy > MEDIAN(image_entropy)", "looks at all samples together"),
        ("image_entropy > QUANTILE_CONT(image_entropy, 0.5)", "looks at all samples together"),
        ("CORR(image_entropy, text_letters) > 0.1", "looks at all samples together"),
        ("COUNT(*) > image_min_side", "looks at all samples together"),
        ("COUNT(DISTINCT source) > 1", "looks at all samples together"),
        ("ARRAY_AGG(source) IS NOT NULL", "looks at all samples together"),
        ("UNNEST(judge_defects) = 'wrong_answer'", "looks at all samples together"),
        ("kind = 'query' AND ROW_NUMBER() OVER () < 2", "looks at all samples together"),
        ("ROW_NUMBER() OVER (PARTITION BY source ORDER BY id) < 2", "looks at all samples together"),
        ("SUM(text_chars) OVER (PARTITION BY source) > 9", "looks at all samples together"),
        ("LAG(source) OVER (ORDER BY id) = source", "looks at all samples together"),
        ("RANK() OVER (ORDER BY judge_score) < 3", "looks at all samples together"),
        ("1 = 1", "names no column"),
        ("", "is not understood"),
    ],
)
def test_mistakes_are_sentences_before_any_work(corpus: Corpus, where: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        select_samples(corpus, where=where)
    assert message in str(caught.value)
    assert not (corpus.path / "decisions").exists()


@pytest.mark.parametrize("where", ["CAST(source AS INT) > 3", "source::int > 3"])
def test_a_condition_that_fails_on_a_sample_is_a_sentence(corpus: Corpus, where: str) -> None:
    with pytest.raises(UserError) as caught:
        select_samples(corpus, where=where)
    message = str(caught.value)
    assert f"--where {where!r} fails on a sample in" in message
    assert "conversion from" in message
    assert "\n" not in message
    assert not (corpus.path / "decisions").exists()


def test_verdict_columns_may_be_named_where_nothing_was_judged(tmp_path: Path) -> None:
    made = make_corpus(tmp_path / "unjudged", [caption("A caption.")])
    write_signals(made)
    assert select_samples(made, where="judge_score IS NULL").kept == 1
    assert select_samples(made, where="judge_score > 1").dropped == {"where": 1}
