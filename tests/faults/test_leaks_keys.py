"""The endpoint's key is in no log, no journal, no file of a corpus or an export, and no crash report."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults.endpoint_cases import KEY, places_of, score
from judge.endpoint import Endpoint, reply, replying
from support.cli import curate
from support.corpora import captions, make_corpus

ENVIRONMENT = {"OPENAI_API_KEY": KEY}

BREAKS: dict[str, str] = {
    "while an answer is read": "from curate.judge.client import Client as C; C._read = fail",
    "while a client is made": "from curate.judge.client import Client as C; C.__init__ = fail",
    "while a verdict is written": "import curate.judge.run as C; C.write_verdicts = fail",
    "in the endpoint's settings": "import curate.judge as C; C.resolve_endpoint = fail",
    "in a library's words": "import curate.judge.journal as C; C.Journal.append = fail",
}
PROGRAM = """
import os
from curate.cli.main import main

def fail(*arguments, **named):
    # As a library may: with everything it holds in its message.
    raise RuntimeError(f"unexpected \\x1b[31m{{arguments}} {{named}} Bearer {{os.environ['OPENAI_API_KEY']}}")

{patch}
main()
"""


@pytest.mark.parametrize("patch", BREAKS.values(), ids=BREAKS.keys())
def test_a_crash_report_does_not_hold_the_key(tmp_path: Path, patch: str) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 2)).path
    with Endpoint() as endpoint:
        arguments = ["score", str(corpus), "--judge", "--judge-url", endpoint.url, "--judge-model", "m"]
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(patch=patch), *arguments],
            env={**os.environ, **ENVIRONMENT},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    printed = ran.stdout + ran.stderr
    assert "RuntimeError: unexpected" in printed
    assert "in fail" in printed  # the place is told, so that the fault can be found
    assert "report it" in printed
    assert "\x1b[31m" not in printed
    assert "Bearer [key]" in printed
    assert ran.returncode == 2
    assert places_of(KEY, tmp_path, printed) == []


@pytest.mark.parametrize("log", [{}, {"OPENAI_LOG": "debug"}, {"PYTHONDEVMODE": "1"}], ids=str)
def test_no_log_and_no_file_holds_the_key(tmp_path: Path, log: dict[str, str]) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 3)).path
    echoing = replying(lambda request: reply(request, rationale=f"You sent {request.headers['authorization']}."))
    with Endpoint(echoing) as endpoint:
        assert score(corpus, endpoint.url, env=log).status == 0
        assert KEY in endpoint.requests[0].headers["authorization"]
    for name in ("jsonl", "image-caption", "llamafactory-cpt"):
        ran = curate("export", corpus, "--format", name, "-o", tmp_path / name, env=ENVIRONMENT | log)
        assert ran.status == 0, ran.err
        assert places_of(KEY, tmp_path, ran.out + ran.err) == []
    assert any(path.parent.name == "journal" for path in corpus.rglob("*"))


@pytest.mark.parametrize(
    "url", [f"https://user:{KEY}@127.0.0.1:9/v1", f"http://127.0.0.1:9/v1?key={KEY}", f"http://127.0.0.1:9/v1#{KEY}"]
)
def test_a_key_given_in_the_address_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 1)).path
    ran = curate("score", corpus, "--judge", "--judge-url", url, "--judge-model", "m", env=ENVIRONMENT)
    assert ran.status == 2
    assert "OPENAI_API_KEY" in ran.err
    assert places_of(KEY, tmp_path, ran.out + ran.err) == []


@pytest.mark.parametrize("host", ["example.org", "10.0.0.1.example.org", "8.8.8.8"])
def test_a_key_does_not_go_over_an_open_line(tmp_path: Path, host: str) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 1)).path
    url = ("--judge-url", f"http://{host}/v1", "--judge-model", "m")
    ran = curate("score", corpus, "--judge", *url, env=ENVIRONMENT)
    assert ran.status == 2
    assert "https://" in ran.err
    assert places_of(KEY, tmp_path, ran.out + ran.err) == []
