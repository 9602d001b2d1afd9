"""The demo judge: a real server, honest about what it is, with rules that do what they say."""

import http.client
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import pytest
from judge.asking import options, verdicts
from support.corpora import caption, captions, make_corpus, picture, store, texts

from curate.corpus import Corpus, Image, Origin, Sample, Turn
from curate.judge import DEMO_MODEL, DEMO_URL, judge_corpus
from curate.judge.demo import demo_judge


def judged(tmp_path: Path, *samples: Sample) -> pl.DataFrame:
    corpus = make_corpus(tmp_path / "c", samples)
    summary = judge_corpus(corpus, options(DEMO_URL, model=DEMO_MODEL))
    assert (summary.status, summary.scored) == (0, len(samples))
    return verdicts(corpus)


def blank(root: Path) -> Image:
    import io

    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.new("L", (64, 64), 7).save(file, "PNG")
    return store(root, "blank.png", file.getvalue())


def test_says_that_it_is_no_medical_judge_in_every_verdict(tmp_path: Path) -> None:
    table = judged(tmp_path, *captions(tmp_path / "raw", 3), *texts(2))
    assert table["judge_rationale"].str.starts_with("Demo judge by fixed rules, no medical judgement.").all()
    assert set(table["judge_model"]) == {DEMO_MODEL}
    assert set(table["judge_verdict"]) == {"accept"}


def test_a_blank_picture_has_no_relevance(tmp_path: Path) -> None:
    table = judged(
        tmp_path, caption("Frontal chest radiograph with clear lungs on both sides.", blank(tmp_path / "raw"))
    )
    (row,) = table.to_dicts()
    assert (row["judge_relevance"], row["judge_verdict"], row["judge_defects"]) == (0, "reject", ["non_medical_image"])


@pytest.mark.parametrize(
    ("colour", "text", "mismatch"),
    [
        (True, "Frontal chest radiograph with clear lungs on both sides.", True),
        (True, "Axial CT of the abdomen with a cyst in the left kidney.", True),
        (False, "Colour fundus photograph with microaneurysms near the macula.", True),
        (False, "H&E stain of colon mucosa with crypt abscesses throughout.", True),
        (True, "Colour fundus photograph with microaneurysms near the macula.", False),
        (False, "Sagittal MR of the knee with a torn anterior ligament.", False),
        (True, "Photograph of a contact dermatitis on the left forearm.", False),
    ],
)
def test_colour_against_words(tmp_path: Path, colour: bool, text: str, mismatch: bool) -> None:
    sample = caption(text, store(tmp_path / "raw", "x.png", picture(5, colour=colour)))
    (row,) = judged(tmp_path, sample).to_dicts()
    assert ("modality_mismatch" in row["judge_defects"]) == mismatch
    assert (row["judge_verdict"] == "reject") == mismatch


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Figure 2.", "low_value"),
        ("https://example.org/figure", "low_value"),
        ("Frontal chest radiograph showing a large opacity in the", "truncated_text"),
        ("lung " * 30, "low_value"),
    ],
)
def test_flaws_of_the_text(tmp_path: Path, text: str, name: str) -> None:
    (row,) = judged(tmp_path, caption(text, store(tmp_path / "raw", "x.png", picture(5)))).to_dicts()
    assert row["judge_defects"] == [name]
    assert row["judge_score"] < 4


def test_queries_need_an_answer_among_the_choices(tmp_path: Path) -> None:
    picture_ = store(tmp_path / "raw", "x.png", picture(5))
    good = Sample(
        kind="query",
        source="q",
        license=None,
        images=(picture_,),
        turns=(Turn("user", (0, "Which side shows the effusion in this radiograph?")),),
        origin=Origin("q.jsonl", 1),
        answer=("A",),
        query_type="choice",
        choices=(("A", "left"), ("B", "right")),
    )
    cases = [
        good,
        replace(good, answer=(), id=""),
        replace(good, answer=("C",), id=""),
        replace(good, choices=(("A", "left"), ("B", "left")), id=""),
    ]
    rows = judged(tmp_path, *cases).to_dicts()
    assert [row["judge_defects"] for row in rows] == [[], *[["invalid_answer_space"]] * 3]
    assert rows[0]["judge_verdict"] == "accept"


def test_the_same_sample_gets_the_same_verdict(tmp_path: Path) -> None:
    samples = [*captions(tmp_path / "raw", 5), *texts(5)]
    first = judged(tmp_path, *samples)
    other = make_corpus(tmp_path / "other" / "c", samples, root=tmp_path / "raw")
    judge_corpus(other, options(DEMO_URL, model=DEMO_MODEL))
    assert verdicts(other).equals(first)


def request(url: str, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_is_an_openai_compatible_server(tmp_path: Path) -> None:
    import openai

    with demo_judge() as url:
        client = openai.OpenAI(base_url=url, api_key="none")
        assert [model.id for model in client.models.list()] == [DEMO_MODEL]
        text = '=== sample abc begins: image_caption ===\n{"role":"document","text":"A short caption of a thing."}'
        messages = [{"role": "system", "content": ""}, {"role": "user", "content": [{"type": "text", "text": text}]}]
        completion = client.chat.completions.create(model=DEMO_MODEL, messages=messages)  # type: ignore[arg-type]
        reply = json.loads(completion.choices[0].message.content or "")
        assert reply["sample"] == "abc"
        assert completion.usage
        assert completion.usage.total_tokens > 0


def test_wrong_requests_are_answered_like_one() -> None:
    with demo_judge() as url:
        assert request(url, "GET", "/")[0] == 404
        assert request(url, "POST", "/v1/embeddings", b"{}")[0] == 404
        for body in (b"", b"{", b"[]", b"{}", b'{"model": "gpt-4"}', b"\xff"):
            assert request(url, "POST", "/v1/chat/completions", body)[0] in (400, 404)
        remote = {"type": "image_url", "image_url": {"url": "http://x"}}
        for messages in ([], [{}], "x", [{"content": "hello"}], [{"content": [remote]}]):
            body = json.dumps({"model": DEMO_MODEL, "messages": messages}).encode()
            assert request(url, "POST", "/v1/chat/completions", body)[0] == 400
        assert request(url, "POST", "/v1/chat/completions", b"x", **{"Content-Length": "999999999999"})[0] == 413


def test_runs_on_its_own() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "curate.judge.demo", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        assert request(found[0], "GET", "/v1/models")[0] == 200
    finally:
        process.kill()
        process.wait()


def test_a_corpus_keeps_the_name_of_the_demo_judge(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", texts(2))
    chosen = options(DEMO_URL, model=DEMO_MODEL)
    corpus.record("judge", **judge_corpus(corpus, chosen).lineage(chosen))
    (step,) = Corpus.open(corpus.path).info.steps
    assert step.parameters["model"] == DEMO_MODEL
