"""Text from outside does nothing to a terminal, a test report or a workflow log: captions, file names, field names,
sources, reasons."""

import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from faults.terminal import ACTING
from judge.endpoint import Endpoint, reply, replying
from support.cli import COMMAND, Ran, curate
from support.ingesting import write_lines
from support.pictures import distinct, retina

TITLE, CLEAR, LINK = "\x1b]0;OWNED\x07", "\x1b[2J\x1b[31m", "\x1b]8;;https://example.org\x1b\\here"
C1, TURNED, BELL = "\x9b31mOWNED\x9d0;OWNED\x9c", "\u202egnp.\u2066", "\x07\x08\x7f\r"
MARKUP, WORKFLOW = "[bold red]OWNED[/]<script>alert('x')</script>", "\n::error file=x::OWNED\n::set-output name=x::y"
NASTY = f"{TITLE}{CLEAR}{LINK}{C1}{TURNED}{BELL}{MARKUP}{WORKFLOW}"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    name = NASTY.replace("/", "_").replace("\0", "")[:80]
    (folder / name).mkdir(parents=True)
    for number in range(3):
        (folder / name / f"{number}.png").write_bytes(distinct(number))
    (folder / name / f"{name[:60]}.png").write_bytes(retina(64))
    (folder / name / f"{name[:60]}.txt").write_text(NASTY)
    (folder / name / f"{name[:40]}.xyz").write_text("unknown")
    write_lines(
        folder / name / f"{name[:50]}.jsonl",
        {"image": "0.png", "text": NASTY, "source": NASTY, "license": NASTY},
        {"image": "1.png", "text": f"{NASTY} two", "source": f"{NASTY} two", NASTY: NASTY},
        {"image": f"{NASTY}.png", "text": "missing"},
        {NASTY: "unknown format"},
        {"query": NASTY, "answer": NASTY, "query_type": NASTY},
        {"query": "q", "answer": NASTY, "query_type": "choice", "choices": {NASTY: "a", "B": NASTY}},
        {"image": 1, "text": [NASTY]},
        {"query": "q", "answer": "a", "query_type": "exact", "choices": {NASTY: [NASTY]}},
    )
    with (folder / name / f"{name[:50]}.jsonl").open("ab") as file:
        file.write(b'{"text": "a", "' + json.dumps(NASTY)[1:-1].encode() + b'": 1, "')
        file.write(json.dumps(NASTY)[1:-1].encode() + b'": 2}\n{"image": "\x1b]0;OWNED\x07"\n')
    return folder


def harmless(ran: Ran) -> Ran:
    for printed in (ran.out, ran.err):
        found = ACTING.search(printed)
        assert not found, (found, printed[max(0, found.start() - 60) : found.start() + 60])
    return ran


def test_no_command_prints_what_a_terminal_obeys(raw: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    ran = harmless(curate("ingest", raw, "-o", corpus))
    assert "OWNED" in ran.err
    assert ran.status in (0, 1)
    assert len(harmless(curate("ingest", raw, "-o", corpus, "--json")).json()["rejects"]) > 3
    assert harmless(curate("score", corpus, "--json")).status == 0
    for name in ("image-caption", "jsonl", "verl"):
        ran = harmless(
            curate("export", corpus, "--format", name, "-o", tmp_path / name, "--where", f"source <> '{C1}'")
        )
        assert ran.status in (0, 1, 2)
    ran = harmless(
        curate("export", corpus, "--format", "jsonl", "-o", tmp_path / "none", "--where", "text_words > 1e9")
    )
    assert ran.status == 2
    ran = harmless(curate("score", corpus, "--judge", "--judge-url", "demo", "--declare-deidentified", "nobody"))
    assert ran.status == 2
    assert "OWNED" in ran.err  # the sources there are
    assert harmless(curate("export", corpus, "--format", "jsonl", "--where", NASTY)).status == 2
    assert harmless(curate("validate", tmp_path / f"{C1}{TITLE}.jsonl")).status == 2
    assert harmless(curate("ingest", raw, "--map", f"text{C1}={TITLE}")).status == 2


@pytest.mark.parametrize("form", ["text", "json", "junit", "github"])
def test_no_report_of_validate_holds_what_a_terminal_obeys(raw: Path, form: str) -> None:
    ran = harmless(curate("validate", raw, "--report", form))
    assert ran.status == 1
    assert "OWNED" in ran.out
    if form == "json":
        assert any(C1 in problem["file"] for problem in ran.json()["problems"])  # escaped, not lost
    elif form == "junit":
        assert not list(ET.fromstring(ran.out).iter("script"))
    elif form == "github":
        commands = [line for line in ran.out.splitlines() if line.startswith("::")]
        assert all(re.match("::(error|warning|notice) (file=|title=curate)", line) for line in commands)
        assert len(commands) == len(ran.out.splitlines())


def test_what_a_judge_says_does_nothing_to_the_terminal(raw: Path, tmp_path: Path) -> None:
    said = replying(lambda request: reply(request, rationale=NASTY), model=NASTY)
    with Endpoint(said) as endpoint:
        ran = harmless(
            curate(
                *("score", raw, "-o", tmp_path / "c", "--judge", "--judge-model", f"m{C1}"),
                *("--judge-url", endpoint.url, "--json"),
            )
        )
    assert (ran.status, ran.json()["judge"]["scored"]) == (0, ran.json()["ingest"]["samples"])
    with Endpoint(replying(lambda request: NASTY, choices=NASTY)) as endpoint:
        options = ("--judge-model", "other", "--judge-url", endpoint.url, "--patience", "1")
        assert harmless(curate("score", tmp_path / "c", "--judge", *options)).status == 3


def on_a_terminal(*arguments: str | Path) -> tuple[int, str]:
    """Run ``curate`` on a pseudo-terminal; exit status and everything that it was sent."""
    controller, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)], stdin=terminal, stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    sent = b"".join(_received(controller))
    return process.wait(timeout=60), sent.decode()


def _received(controller: int) -> Iterator[bytes]:
    try:
        while data := os.read(controller, 65536):
            yield data
    except OSError:  # the other end is closed
        return
    finally:
        os.close(controller)


@pytest.mark.parametrize("command", ["ingest", "validate"])
def test_on_a_terminal_only_our_own_escapes_arrive(raw: Path, tmp_path: Path, command: str) -> None:
    status, sent = on_a_terminal(command, raw, *(("-o", tmp_path / "c") if command == "ingest" else ()))
    assert status in (0, 1)
    assert "OWNED" in sent
    # Colours, and the cursor and lines of the progress display; no title, no link, no screen.
    escapes = re.findall("\x1b(?:\\[[0-9;?]*[A-Za-z]|.)", sent)
    assert escapes
    assert {
        escape for escape in escapes if not re.fullmatch("\x1b\\[(\\?25[lh]|[0-9;]*m|[0-9]*[AKG])", escape)
    } == set()
    assert not re.search("[\x07\x08\x9b\x9d\u202e\u2066]", sent)
    assert "\x1b[31mOWNED" not in sent
