"""Endpoints that fail or lie: no made-up score, no hang, no lost answer, no key where it does not belong."""

import json
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge.asking import KEY, options, statuses, verdicts
from judge.endpoint import (
    Behaviour,
    Connection,
    Endpoint,
    Request,
    always,
    close_mid_body,
    completion,
    drip,
    first,
    hang_after_headers,
    reply,
    replying,
    reset,
    spaces,
    well,
)
from support.corpora import captions, make_corpus, texts

from curate.corpus import Corpus
from curate.judge import DEMO_URL, JudgeSummary, judge_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return make_corpus(tmp_path / "c", captions(tmp_path / "raw", 4))


def judged(corpus: Corpus, behaviour: Behaviour, **changes: Any) -> tuple[JudgeSummary, Endpoint]:
    with Endpoint(behaviour) as endpoint:
        return judge_corpus(corpus, options(endpoint.url, **changes)), endpoint


def error(message: str, **fields: object) -> dict[str, object]:
    return {"error": {"message": message, **fields}}


PASSING: dict[str, Behaviour] = {
    "429": always(429, error("slow down"), {"Retry-After": "0.1"}),
    "429 by date": always(429, error("slow down"), {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "429 with nonsense": always(429, b"\xff\xfe not text", {"Retry-After": "soon"}),
    "500": always(500, error("oops")),
    "502 HTML": always(502, b"<html><body>Bad gateway</body></html>"),
    "503": always(503, b""),
    "529": always(529, error("overloaded")),
    "200 HTML": always(200, b"<!DOCTYPE html><p>Sign in</p>"),
    "200 nothing": always(200, b""),
    "200 list": always(200, [1, 2]),
    "200 deep": always(200, b"[" * 100_000),
    "200 error": always(200, error("the model fell over", code="internal")),
    "200 error 429": always(200, error("slow down", code=429)),
    "no choices": always(200, completion("", choices=[])),
    "choices null": always(200, completion("", choices=None)),
    "choices wrong": always(200, completion("", choices=["hello"])),
    "message null": always(200, completion("", choices=[{"message": None}])),
    "reset": reset,
    "closed mid-body": close_mid_body,
    "10 MB of spaces": spaces,
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_a_passing_fault_costs_a_retry_and_nothing_else(corpus: Corpus, fault: Behaviour) -> None:
    summary, endpoint = judged(corpus, first(fault))
    assert (summary.status, summary.scored) == (0, 4)
    assert summary.requests == len(endpoint.requests) == 8
    assert summary.errors.total() == 4


INVALID: dict[str, Callable[[Request], object]] = {
    "score 7": lambda r: reply(r, fluency=7),
    "score -1": lambda r: reply(r, fluency=-1),
    "score 4/5": lambda r: reply(r, fluency="4/5"),
    "score '4'": lambda r: reply(r, fluency="4"),
    "score 4.5": lambda r: reply(r, fluency=4.5),
    "score 4.0": lambda r: reply(r, fluency=4.0),
    "score true": lambda r: reply(r, fluency=True),
    "score missing": lambda r: reply(r, practicality=None),
    "NaN": lambda r: json.dumps(reply(r)).replace("5", "NaN"),
    "field twice": lambda r: json.dumps(reply(r)).replace('"fluency"', '"completeness"'),
    "relevance missing": lambda r: reply(r, relevance=None),
    "extra field": lambda r: reply(r, overall=5),
    "defects unknown": lambda r: reply(r, defects=["too_pretty"]),
    "defects text": lambda r: reply(r, defects="none"),
    "rationale empty": lambda r: reply(r, rationale="  "),
    "for another sample": lambda r: reply(r, sample="0123456789ab"),
    "schema echoed": lambda r: r.body["response_format"]["json_schema"]["schema"],
    "request echoed": lambda r: r.body["messages"][1],
    "list": lambda r: [reply(r)],
    "prose": lambda r: "I would give this a solid four.",
    "half an object": lambda r: json.dumps(reply(r))[:40],
    "novel": lambda r: json.dumps(reply(r)) + " " * 40_000,
    "nested deep": lambda r: '{"rationale": ' * 2000,
    "no Unicode": lambda r: json.dumps(reply(r, rationale="\ud800")),
    "null": lambda r: None,
    "empty": lambda r: "",
}


@pytest.mark.parametrize("invalid", INVALID.values(), ids=INVALID.keys())
def test_an_invalid_reply_is_asked_again_and_never_guessed_at(
    corpus: Corpus, invalid: Callable[[Request], object]
) -> None:
    summary, endpoint = judged(corpus, first(replying(invalid)))
    assert (summary.status, summary.scored, summary.invalid) == (0, 4, 4)
    corrections = [request for request in endpoint.requests if "could not be used" in str(request.user[-1])]
    assert len(corrections) == 4

    make_corpus(corpus.path, texts(2))
    summary, endpoint = judged(corpus, replying(lambda r: "no JSON at all"))
    assert summary.failed == {"invalid_reply": 2}
    assert (summary.status, summary.requests, summary.answers) == (1, 6, 6)
    assert verdicts(corpus)["judge_score"].to_list() == [None, None]
    assert summary.cost == pytest.approx(6 * 0.002)

    again, _ = judged(corpus, well)
    assert (again.status, again.scored, again.requests) == (0, 2, 2)


USABLE: dict[str, Callable[[Request], str]] = {
    "fenced": lambda r: f"```json\n{json.dumps(reply(r), indent=2)}\n```",
    "after thinking": lambda r: f'<think>maybe {{"fluency": 1}}?</think>\n{json.dumps(reply(r))}',
    "among words": lambda r: f"Here is my review: {json.dumps(reply(r))} Hope it helps!",
    "after a draft": lambda r: f"Draft: {json.dumps(reply(r, fluency=1))}. Final: {json.dumps(reply(r))}",
}


@pytest.mark.parametrize("usable", USABLE.values(), ids=USABLE.keys())
def test_a_reply_among_other_words_is_found(corpus: Corpus, usable: Callable[[Request], str]) -> None:
    summary, _ = judged(corpus, replying(usable))
    assert (summary.status, summary.requests) == (0, 4)
    assert verdicts(corpus)["judge_fluency"].to_list() == [5] * 4


def test_a_reply_cut_off_for_length_is_asked_for_shorter(corpus: Corpus) -> None:
    def cut(text: str | None) -> Behaviour:
        choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": text}}
        return always(200, completion("", choices=[choice]))

    summary, endpoint = judged(corpus, first(cut('{"rationale": "It goes on and')))
    assert (summary.status, summary.invalid) == (0, 4)
    assert "be shorter" in str(endpoint.requests[-1].user) or "be shorter" in str(endpoint.requests[4].user)
    make_corpus(corpus.path, texts(1))
    summary, _ = judged(corpus, cut(None))
    assert summary.failed == {"invalid_reply": 1}
    assert "ran out of tokens" in verdicts(corpus)["judge_reason"][0]


@pytest.mark.parametrize(
    ("message", "finish", "reason"),
    [
        ({"role": "assistant", "content": None, "refusal": "I can't help with that."}, "stop", "model_refused"),
        ({"role": "assistant", "content": None}, "content_filter", "content_filter"),
    ],
)
def test_a_refusal_leaves_the_sample_unscored(corpus: Corpus, message: object, finish: str, reason: str) -> None:
    choice = {"index": 0, "finish_reason": finish, "message": message}
    summary, endpoint = judged(corpus, always(200, completion("", choices=[choice])))
    assert summary.failed == {reason: 4}
    assert (summary.status, len(endpoint.requests)) == (1, 4)
    assert statuses(corpus) == ["failed"] * 4


@pytest.mark.parametrize("slow", [hang_after_headers, drip], ids=["hangs after headers", "drips"])
def test_a_slow_answer_is_given_up_in_time(corpus: Corpus, slow: Behaviour) -> None:
    summary, endpoint = judged(corpus, first(slow), timeout=0.5)
    assert (summary.status, summary.errors) == (0, {"timeout": 4})
    assert len(endpoint.requests) == 8


def test_a_server_that_never_answers_is_an_outage(corpus: Corpus) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        summary = judge_corpus(corpus, options(url, timeout=0.5, patience=1.0))
    assert (summary.status, summary.stop_kind, summary.scored) == (3, "outage", 0)
    assert statuses(corpus) == ["not_asked"] * 4


@pytest.mark.parametrize(("headers", "words"), [({}, "nothing got through"), ({"Retry-After": "3600"}, "asks to wait")])
def test_an_endpoint_that_rejects_everything_is_not_stormed(
    tmp_path: Path, headers: dict[str, str], words: str
) -> None:
    corpus = make_corpus(tmp_path / "c", texts(300))
    summary, endpoint = judged(corpus, always(429, error("quota of the day is used up"), headers), patience=6.0)
    assert (summary.status, summary.stop_kind, summary.scored) == (3, "outage", 0)
    assert words in (summary.stopped or "")
    assert len(endpoint.requests) < 100
    assert summary.not_asked == {"stopped": 300}


def test_an_outage_in_the_middle_keeps_what_was_answered(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 30), per_shard=8)
    left = 12

    async def dies(request: Request, connection: Connection) -> None:
        nonlocal left
        left -= 1
        await (well if left >= 0 else always(500, error("out of memory")))(request, connection)

    summary, endpoint = judged(corpus, dies, concurrency=4, patience=1.0)
    assert (summary.status, summary.stop_kind) == (3, "outage")
    assert "out of memory" in (summary.stopped or "")
    assert (summary.scored, summary.not_asked) == (12, {"stopped": 18})
    assert statuses(corpus).count("scored") == 12
    answered = {request.code for request in endpoint.requests if endpoint.answered[request.code]}
    again, endpoint = judged(corpus, well)
    assert (again.status, again.scored, again.requests) == (0, 30, 18)
    assert len(answered) >= 12


def test_no_server_at_all_is_said_clearly(corpus: Corpus) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    summary = judge_corpus(corpus, options(f"http://127.0.0.1:{port}/v1", patience=0.5))
    assert (summary.status, summary.stop_kind) == (3, "outage")
    assert f"127.0.0.1:{port}" in (summary.stopped or "")
    assert KEY not in (summary.stopped or "")
    assert statuses(corpus) == ["not_asked"] * 4


def test_a_sample_that_always_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 40))

    async def poison(request: Request, connection: Connection) -> None:
        bad = "number 7 " in str(request.user)
        await (always(500, error("cannot do this one")) if bad else well)(request, connection)

    with Endpoint(poison, latency=0.02) as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url, concurrency=2, patience=1.0))
    assert (summary.status, summary.scored, summary.failed) == (1, 39, {"server_error": 1})
    (row,) = verdicts(corpus).filter(judge_status="failed").to_dicts()
    assert "cannot do this one" in row["judge_reason"]
    assert row["judge_score"] is None
    again, endpoint = judged(corpus, well)
    assert (again.status, again.requests, again.scored) == (0, 1, 40)


HOPELESS: dict[str, tuple[Behaviour, str]] = {
    "401": (always(401, error(f"Incorrect API key provided: {KEY}")), "OPENAI_API_KEY"),
    "402": (always(402, error("pay first")), "no credit"),
    "quota": (always(429, error("You exceeded your quota", code="insufficient_quota")), "no credit"),
    "403": (always(403, error("not from here")), "not from here"),
    "404": (always(404, error("The model `test-model` does not exist")), "test-model"),
    "405": (always(405, b"<h1>Method not allowed</h1>"), "Method not allowed"),
    "400 to all": (always(400, error("unknown parameter: messages")), "unknown parameter"),
}


@pytest.mark.parametrize(("fault", "words"), HOPELESS.values(), ids=HOPELESS.keys())
def test_what_cannot_work_ends_the_run_at_once(corpus: Corpus, fault: Behaviour, words: str) -> None:
    summary, endpoint = judged(corpus, fault)
    assert (summary.status, summary.stop_kind, summary.scored) == (2, "hopeless", 0)
    assert words in (summary.stopped or "")
    assert KEY not in (summary.stopped or "")
    assert len(endpoint.requests) <= 4
    assert set(statuses(corpus)) <= {"not_asked", "failed"}
    assert KEY not in str(verdicts(corpus).to_dicts())


def test_a_bad_request_among_good_ones_is_the_samples_fault(corpus: Corpus) -> None:
    async def picky(request: Request, connection: Connection) -> None:
        bad = "number 2 " in str(request.user)
        await (always(400, error("image too strange")) if bad else well)(request, connection)

    summary, endpoint = judged(corpus, picky, concurrency=1)
    assert (summary.status, summary.failed, len(endpoint.requests)) == (1, {"bad_request": 1}, 4)


def test_a_redirect_is_not_followed_and_the_key_stays(corpus: Corpus) -> None:
    with Endpoint() as elsewhere:
        target = f"{elsewhere.url.replace('127.0.0.1', 'localhost')}/chat/completions"
        summary, _ = judged(corpus, always(307, b"", {"Location": target}))
        assert elsewhere.requests == []
    assert (summary.status, summary.stop_kind) == (2, "hopeless")
    assert "redirects" in (summary.stopped or "")


def test_a_certificate_that_does_not_fit_ends_the_run(corpus: Corpus, tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=other.example"
    )
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=60
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Endpoint(tls=context) as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url))
        assert endpoint.requests == []
    assert (summary.status, summary.stop_kind) == (2, "hopeless")
    assert "certificate" in (summary.stopped or "")


def lacking(*features: str) -> Behaviour:
    """An endpoint that does not know some features, and says so as servers do."""

    async def behave(request: Request, connection: Connection) -> None:
        asked = request.mode
        if asked in features:
            message = f"'response_format.type' of '{asked}' is not supported"
        elif "max_tokens" in features and "max_tokens" in request.body:
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
        elif "temperature" in features and "temperature" in request.body:
            message = "Unsupported value: 'temperature' does not support 0.0 with this model."
        else:
            await well(request, connection)
            return
        await connection.answer(400, error(message))

    return behave


@pytest.mark.parametrize(
    ("features", "mode"),
    [
        ((), "json_schema"),
        (("json_schema",), "json_object"),
        (("json_schema", "json_object"), "text"),
        (("max_tokens",), "json_schema"),
        (("temperature",), "json_schema"),
        (("json_schema", "json_object", "max_tokens", "temperature"), "text"),
    ],
)
def test_falls_back_to_what_the_endpoint_has_and_says_so(tmp_path: Path, features: tuple[str, ...], mode: str) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 30))
    summary, endpoint = judged(corpus, lacking(*features), concurrency=8)
    assert (summary.status, summary.scored, summary.mode) == (0, 30, mode)
    assert len(summary.adapted) == len(features)
    assert endpoint.requests[-1].mode == mode
    assert summary.errors.total() == 0
    # Decided once: at most what was in flight when it was found out is sent for nothing.
    assert summary.requests <= 30 + 8 * len(features)


def test_no_key_and_no_image_in_journal_verdicts_or_summary(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 3))

    def echo(request: Request) -> object:
        urls = [part["image_url"]["url"] for part in request.user if part["type"] == "image_url"]
        return reply(request, rationale=f"I saw {urls[0]} with {request.headers['authorization']}.")

    summary, endpoint = judged(corpus, replying(echo))
    assert summary.status == 0
    assert KEY in endpoint.requests[0].headers["authorization"]
    kept = b"".join(path.read_bytes() for path in (corpus.path / "journal").iterdir())
    assert b"base64" not in kept
    assert b"iVBOR" not in kept
    assert KEY.encode() not in kept
    assert verdicts(corpus)["judge_rationale"][0] == "I saw [image] with Bearer [key]."


def test_proxies_of_the_environment_are_not_for_this_machine(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    summary, _ = judged(corpus, well)
    assert summary.status == 0
    assert judge_corpus(corpus, options(DEMO_URL, model="curate-demo-judge")).status in (0, 1)


def test_an_endpoint_with_a_limit_is_found_out_gently(tmp_path: Path) -> None:
    """With the latency of a real endpoint, beside which the pauses of a busy machine are short."""
    corpus = make_corpus(tmp_path / "c", texts(1000))
    with Endpoint(latency=0.5, cap=32) as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url))
    assert (summary.status, summary.scored) == (0, 1000)
    assert endpoint.most_in_flight == 32
    assert summary.rejected == endpoint.statuses[429] < 25


def test_random_rejections_do_not_slow_the_judge_down_for_good(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", texts(600))
    limits: list[int] = []
    with Endpoint(latency=0.1, rejected=0.05, failing=0.05) as endpoint:
        summary = judge_corpus(corpus, options(endpoint.url), progress=lambda s: limits.append(s.limit))
    assert (summary.status, summary.scored) == (0, 600)
    assert limits[-1] == 64
    assert summary.requests == 600 + summary.rejected
