"""Samples that ask a benchmark's question are dropped, unless it is asked of any picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.benchmark_files import path_vqa, slake
from support.contamination import LONG, ask, corpus_of, gate, run, scene
from support.corpora import caption

from curate.corpus import Origin, Sample, Turn
from curate.select.contamination import read_hits


def test_questions_are_found_by_their_ngrams(tmp_path: Path) -> None:
    number = "How large is the largest of the pulmonary nodules that are visible: 5 mm or more?"
    chinese = "这张胸部图像中右下肺野的高密度影最可能是什么疾病引起的"
    benchmark = slake(tmp_path / "slake", [(text, scene(n)) for n, text in enumerate((LONG, number, chinese))])
    asked = {
        LONG.upper(): True,
        "Look closely, doctor: which finding in the right lower lobe best explains the fever and the productive cough "
        "of this woman?": True,
        "Which finding in the left upper lobe best explains the headache of this patient?": False,
        number.replace("5 mm", "15 mm"): False,
        number.replace(": 5", " – 5"): True,
        f"请回答：{chinese}？": True,
        "这张腹部图像中显示的是什么器官": False,
        "A day later he came back. Nothing else was noted.": False,
    }
    corpus = corpus_of(tmp_path, [ask(text, row=row) for row, text in enumerate(asked, 1)])
    stage, dropped = run(corpus, gate(("slake", benchmark)))
    assert set(dropped) == {text for text, found in asked.items() if found}
    assert set(stage.dropped["rule"]) == {"contaminated_question"}
    hits = {hit["sample_text"][:20]: hit for hit in read_hits(corpus).to_dicts()}
    whole = hits[LONG.upper()[:20]]
    assert (whole["kind"], whole["how"], whole["share"], whole["rows"]) == ("question", "ngrams", 1.0, 1)
    assert whole["benchmark_text"] == LONG
    assert 0.7 <= hits["Look closely, doctor"]["share"] < 1
    assert dropped[LONG.upper()]["reason"].startswith(
        "it holds 100% of the n-grams of a question of slake (test.json:1"
    )


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_the_share_of_the_policy_decides(share: float, tmp_path: Path) -> None:
    words = [chr(ord("a") + number % 26) * (2 + number // 26) for number in range(27)]
    benchmark = slake(tmp_path / "slake", [(" ".join(words), scene(1))])
    corpus = corpus_of(tmp_path, [ask(" ".join(words[:kept]) + " and more", row=kept) for kept in range(8, 28)])
    _, dropped = run(corpus, gate(("slake", benchmark), question_share=share))
    # 27 words have 20 n-grams of 8; the first k words hold k - 7 of them.
    assert {len(text.split()) - 2 for text in dropped} == {
        kept for kept in range(8, 28) if kept - 7 >= share * 20 - 1e-9
    }


def test_captions_documents_and_all_user_turns_are_looked_at_and_answers_are_not(tmp_path: Path) -> None:
    benchmark = slake(tmp_path / "slake", [(LONG, scene(1))])
    origin = Origin("a.jsonl", 1)
    shared: dict[str, Any] = {"source": "s", "license": None, "images": (), "origin": origin}
    document = Sample("interleaved", turns=(Turn("document", ("Case 4.", f"Exam. {LONG} See below.")),), **shared)
    second = Turn("user", ("Then tell me. " + LONG,))
    turns = (Turn("user", ("Hello.",)), Turn("assistant", ("Hi.",)), second, Turn("assistant", ("Pneumonia.",)))
    talk = Sample("conversation", turns=turns, **shared)
    split = Sample(
        "conversation",
        turns=(Turn("user", (LONG[:50],)), Turn("assistant", ("?",)), Turn("user", (LONG[50:],))),
        **shared,
    )
    corpus = corpus_of(
        tmp_path, [document, talk, split, caption(LONG), ask("Hello?", answer=LONG), ask(LONG, role="system")]
    )
    assert set(run(corpus, gate(("slake", benchmark)))[1]) == {"Case 4.", "Hello.", LONG} - {""}
    assert {hit["id"] for hit in read_hits(corpus).to_dicts()} == {document.id, talk.id, caption(LONG).id}


def test_a_generic_short_question_alone_drops_nothing(tmp_path: Path) -> None:
    benchmark = path_vqa(tmp_path / "path", [("Is this a CT?", scene(1)), (LONG, scene(2))])
    texts = ["Is this a CT?", "Answer yes or no.\nis this a ct", "Is this a CT scan of the head?", "Is this an MRI?"]
    corpus = corpus_of(tmp_path, [ask(text, row=row) for row, text in enumerate(texts, 1)])
    stage, dropped = run(corpus, gate(("path-vqa", benchmark)))
    assert not dropped
    assert not read_hits(corpus).height
    assert stage.account["samples_kept_with_generic_question"] == 2
    assert stage.account["benchmarks"][0]["questions_short"] == 1
    stage, dropped = run(corpus, gate(("path-vqa", benchmark), short_questions="drop"))
    assert set(dropped) == set(texts[:2])
    assert read_hits(corpus)["how"].to_list() == ["whole", "whole"]
    assert stage.account["samples_kept_with_generic_question"] == 0


def test_a_long_question_that_the_benchmark_asks_of_many_pictures_is_generic_too(tmp_path: Path) -> None:
    template = "Which imaging technique was used to obtain the picture that is shown here?"
    benchmark = path_vqa(
        tmp_path / "path", [*((template, scene(n)) for n in range(3)), (LONG, scene(8)), (LONG, scene(9))]
    )
    corpus = corpus_of(tmp_path, [ask(template, row=1), ask(LONG, row=2)])
    stage, dropped = run(corpus, gate(("path-vqa", benchmark)))
    assert set(dropped) == {LONG}
    assert stage.account["benchmarks"][0]["questions_of_many_pictures"] == 1
    assert set(run(corpus, gate(("path-vqa", benchmark), short_questions="drop"))[1]) == {template, LONG}


def test_evidence_from_a_long_document_is_where_the_question_stands(tmp_path: Path) -> None:
    benchmark = slake(tmp_path / "slake", [(LONG, scene(1))])
    filler = "The patient was seen again two weeks later and had no complaints. " * 40
    corpus = corpus_of(tmp_path, [caption(f"{filler}{LONG} {filler}")])
    run(corpus, gate(("slake", benchmark)))
    shown = read_hits(corpus)["sample_text"][0]
    assert "Which finding in the right lower lobe" in shown
    assert len(shown) <= 240
