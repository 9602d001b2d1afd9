"""Endpoints that misbehave about some samples or about all, through the command: those samples stay unscored with a
reason, the others are scored, the key stays where it is, and the next run asks again for exactly what is missing.

What each fault means to a single request is tested in ``tests/judge/test_judge_faults.py``.
"""

import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from faults.endpoint_cases import KEY, by_number, places_of, rows_by_number, score
from judge.endpoint import (
    Behaviour,
    Connection,
    Endpoint,
    Request,
    always,
    close_mid_body,
    drip,
    hang_after_headers,
    head,
    reply,
    replying,
    reset,
    spaces,
)
from support.corpora import captions, make_corpus

SAMPLES = 8


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return make_corpus(tmp_path / "c", captions(tmp_path / "raw", SAMPLES)).path


async def spaces_without_end(request: Request, connection: Connection) -> None:
    """A chunked body that never ends."""
    await connection.send(head(200, {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}))
    for _ in range(4096):
        await connection.send(b"10000\r\n" + b" " * 65536 + b"\r\n")


async def headers_without_end(request: Request, connection: Connection) -> None:
    connection.keep = False
    await connection.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        await connection.send(f"X-Filler-{number}: {'x' * 1000}\r\n".encode())


async def no_http(request: Request, connection: Connection) -> None:
    connection.keep = False
    await connection.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def mangled(**fields: object) -> Behaviour:
    """A completion whose own fields are of wrong types."""
    return replying(reply, **fields)


def one_choice(**message: object) -> list[object]:
    return [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}]


PASSING: dict[str, tuple[tuple[Behaviour, str], ...]] = {
    # At most three at a time: more failing samples, with nothing else under way, are an outage.
    "slow": ((hang_after_headers, "timeout"), (drip, "timeout"), (spaces, "garbled")),
    "endless": ((spaces_without_end, "garbled"), (headers_without_end, "broken_off"), (no_http, "broken_off")),
    "broken": ((close_mid_body, "broken_off"), (reset, "broken_off"), (always(502, b"<h1>Bad gateway</h1>"), "server")),
    "no completion": (
        (always(200, b"<!DOCTYPE html><p>Sign in</p>"), "garbled"),
        (always(200, {"error": {"message": f"the model fell over, {KEY}", "code": "internal"}}), "server_error"),
        (always(200, [1, 2]), "garbled"),
    ),
    "wrong types": (
        (mangled(choices="four"), "garbled"),
        (mangled(choices=[]), "garbled"),
        (mangled(choices=[{"message": ["no", "object"]}]), "garbled"),
    ),
}


@pytest.mark.parametrize("faults", PASSING.values(), ids=PASSING.keys())
def test_samples_that_only_get_a_broken_answer_stay_unscored_with_a_reason(
    corpus: Path, faults: tuple[tuple[Behaviour, str], ...]
) -> None:
    with Endpoint(by_number({number: behaviour for number, (behaviour, _) in enumerate(faults)})) as endpoint:
        ran = score(corpus, endpoint.url)
        counts = ran.json()["judge"]
        asked_well = {code for code, times in endpoint.answered.items() if times}
    rows = rows_by_number(corpus)
    for number, (_, reason) in enumerate(faults):
        assert rows[number]["judge_status"] == "failed", rows[number]
        assert rows[number]["judge_reason"].startswith(reason), rows[number]
        assert rows[number]["judge_score"] is None
    assert [rows[number]["judge_status"] for number in range(len(faults), SAMPLES)] == ["scored"] * 5
    assert (ran.status, counts["scored"], sum(counts["failed"].values())) == (1, SAMPLES - len(faults), len(faults))
    assert len(asked_well) >= SAMPLES - len(faults)
    assert ran.peak_mib < 400
    with Endpoint() as endpoint:
        again = score(corpus, endpoint.url)
        assert len(endpoint.requests) == len(faults)
    assert (again.status, again.json()["judge"]["scored"]) == (0, SAMPLES)


INVALID: dict[str, Behaviour] = {
    "score 7": replying(lambda request: reply(request, fluency=7)),
    "score 4/5": replying(lambda request: reply(request, fluency="4/5")),
    "for another sample": replying(lambda request: reply(request, sample="0123456789ab")),
    "schema echoed": replying(lambda request: request.body["response_format"]["json_schema"]["schema"]),
    "content a number": replying(lambda request: "", choices=one_choice(content=4)),
    "content a list": replying(lambda request: "", choices=one_choice(content=[{"type": "text", "text": "4"}])),
    "key echoed": replying(lambda request: f"{request.headers['authorization']} is no verdict"),
}


def test_replies_that_cannot_be_used_are_never_made_into_scores(corpus: Path) -> None:
    with Endpoint(by_number(dict(enumerate(INVALID.values())))) as endpoint:
        ran = score(corpus, endpoint.url)
        assert len(endpoint.requests) == 3 * len(INVALID) + 1
    rows = rows_by_number(corpus)
    assert {(rows[number]["judge_status"], rows[number]["judge_score"]) for number in range(len(INVALID))} == {
        ("failed", None)
    }
    assert all(rows[number]["judge_reason"].startswith("invalid_reply: ") for number in range(len(INVALID)))
    assert (ran.status, ran.json()["judge"]["failed"]) == (1, {"invalid_reply": len(INVALID)})
    with Endpoint() as endpoint:
        again = score(corpus, endpoint.url)
        assert len(endpoint.requests) == len(INVALID)
    assert (again.status, again.json()["judge"]["scored"]) == (0, SAMPLES)


USAGE: tuple[object, ...] = (
    *(None, {}, "9", {"prompt_tokens": True, "completion_tokens": True}),
    *({"prompt_tokens": 9, "completion_tokens": -1}, {"prompt_tokens": "many", "completion_tokens": 9}),
)


def test_without_usage_tokens_are_estimated_and_billed(corpus: Path) -> None:
    with Endpoint(by_number({number: replying(reply, usage=usage) for number, usage in enumerate(USAGE)})) as endpoint:
        ran = score(corpus, endpoint.url)
    counts = ran.json()["judge"]
    assert (ran.status, counts["scored"], counts["tokens_estimated"]) == (0, SAMPLES, len(USAGE))
    stated = 1000 * (SAMPLES - len(USAGE))
    assert stated + 100 * len(USAGE) < counts["tokens_in"] < stated + 10_000 * len(USAGE)
    assert counts["cost_usd"] > 0


DOWN: dict[str, Behaviour] = {"hangs": hang_after_headers, "HTML": always(200, b"<html>Maintenance</html>")}


@pytest.mark.parametrize("fault", DOWN.values(), ids=DOWN.keys())
def test_an_endpoint_that_answers_nothing_usable_is_an_outage(corpus: Path, fault: Behaviour) -> None:
    with Endpoint(fault) as endpoint:
        ran = score(corpus, endpoint.url)
    assert ran.status == 3
    assert "the endpoint is down" in ran.err
    assert {row["judge_status"] for row in rows_by_number(corpus).values()} <= {"not_asked", "failed"}
    with Endpoint() as endpoint:
        again = score(corpus, endpoint.url)
        assert len(endpoint.requests) == SAMPLES
    assert (again.status, again.json()["judge"]["scored"]) == (0, SAMPLES)


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_takes_the_key_nowhere(corpus: Path, status: int) -> None:
    with Endpoint() as elsewhere, Endpoint() as endpoint:
        target = elsewhere.url.replace("127.0.0.1", "localhost") + f"/chat/completions?key={KEY}"
        endpoint.behaviour = always(status, b"", {"Location": target})
        ran = score(corpus, endpoint.url)
        assert elsewhere.requests == []
    assert ran.status == 2
    assert "redirects to" in ran.err
    assert {row["judge_status"] for row in rows_by_number(corpus).values()} <= {"not_asked", "failed"}


def certificate(folder: Path, subject: str, names: str) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    crt, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    subject_and_names = ["-subj", f"/CN={subject}", "-addext", f"subjectAltName={names}"]
    files = ["-keyout", str(key), "-out", str(crt)]
    subprocess.run([*command.split(), *subject_and_names, *files], check=True, capture_output=True, timeout=60)
    return crt, key


@pytest.mark.parametrize(
    ("names", "trusted", "status"),
    [
        ("DNS:other.example", True, 2),  # of a trusted authority, for another host
        ("IP:127.0.0.1", False, 2),  # for this host, of an authority nobody knows
        ("IP:127.0.0.1", True, 0),
    ],
    ids=["another host", "unknown authority", "fits"],
)
def test_a_certificate_that_does_not_fit_gets_no_request(
    corpus: Path, tmp_path: Path, names: str, trusted: bool, status: int
) -> None:
    crt, key = certificate(tmp_path, "somebody", names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    with Endpoint(tls=context) as endpoint:
        ran = score(corpus, endpoint.url, env={"SSL_CERT_FILE": str(crt)} if trusted else {})
        assert (ran.status, len(endpoint.requests)) == (status, SAMPLES if status == 0 else 0), ran.err
    assert ("the certificate of" in ran.err) == (status == 2)


def test_a_plain_answer_on_an_https_address_is_no_answer(corpus: Path) -> None:
    with Endpoint() as endpoint:
        ran = score(corpus, endpoint.url.replace("http:", "https:"))
        assert endpoint.requests == []
    assert ran.status == 3


@pytest.mark.parametrize("where", ["answer", "error", "header", "model"])
def test_a_key_that_comes_back_is_kept_nowhere(corpus: Path, tmp_path: Path, where: str) -> None:
    makers: dict[str, Callable[[], Behaviour]] = {
        "answer": lambda: replying(lambda request: reply(request, rationale=f"Seen: {KEY}")),
        "error": lambda: always(400, {"error": {"message": f"bad key {KEY}", "type": KEY, "param": KEY}}),
        "header": lambda: always(429, {"error": {"message": KEY}}, {"Retry-After": "0.1", "X-Key": KEY}),
        "model": lambda: replying(reply, model=KEY, id=KEY, system_fingerprint=KEY),
    }
    with Endpoint(makers[where]()) as endpoint:
        ran = score(corpus, endpoint.url)
        assert KEY in endpoint.requests[0].headers["authorization"]
    assert places_of(KEY, tmp_path, ran.out + ran.err) == []
