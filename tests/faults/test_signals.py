"""Ctrl-C, SIGTERM, a closed terminal and readers that leave: a sentence, an exit status, and everything kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from faults.commands import (
    contents,
    environment,
    finish,
    has_open,
    journal,
    run,
    start,
    wait_until,
    write_raw,
)
from judge.endpoint import Endpoint
from support.cli import COMMAND, curate


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("signals") / "raw", 1400)


@pytest.fixture(scope="module")
def scored(raw: Path) -> Path:
    """A measured corpus."""
    assert run("score", raw, "-o", raw.parent / "scored").status == 0
    return raw.parent / "scored"


def left_behind(group: int) -> bool:
    """Whether processes of a group are still there after some seconds, which Python's tracker of semaphores takes."""
    for _ in range(500):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.02)
    return True


def interrupted(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Send a signal to all processes of the command, as a terminal does, and see it end in order."""
    os.killpg(process.pid, number)
    ran = finish(process)
    assert ran.status == 3, ran.err
    assert "the same command goes on from there" in ran.err
    assert not left_behind(process.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_score_ends_at_once_and_can_go_on(
    number: signal.Signals, raw: Path, scored: Path, tmp_path: Path
) -> None:
    """While samples are measured in several processes, whose own shards take long."""
    corpus = tmp_path / "curated"
    score = ("score", raw, "-o", corpus, "--workers", "2")
    process = start(*score)
    assert wait_until((corpus / "signals" / "part-00000.parquet").exists, process)
    interrupted(process, number)
    assert len(list((corpus / "signals").glob("part-*"))) < len(list((corpus / "samples").glob("part-*")))
    assert not list(corpus.rglob(".*.tmp")), "what was half-written is cleared away"
    assert run(*score).status == 0
    assert contents(corpus) == contents(scored)


def test_an_interrupted_ingest(raw: Path, scored: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    process = start("ingest", raw, "-o", corpus)
    assert wait_until((corpus / "samples.partial" / "part-00000.parquet").exists, process)
    interrupted(process, signal.SIGTERM)
    assert run("score", raw, "-o", corpus).status == 0
    assert contents(corpus) == contents(scored)


def test_an_interrupted_export_leaves_the_earlier_one(scored: Path, tmp_path: Path) -> None:
    export = ("export", scored, "--format", "image-caption", "--images", "base64", "-o", tmp_path / "export")
    assert run(*export, "--where", "kind = 'image_caption' and id < '8'").status == 0
    earlier = contents(tmp_path / "export")
    process = start(*export)
    assert wait_until((tmp_path / ".export.partial" / "train.jsonl").exists, process)
    interrupted(process, signal.SIGTERM)
    assert contents(tmp_path / "export") == earlier
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


@pytest.mark.parametrize("name", ["validate", "reward"])
def test_commands_that_only_read(name: str, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    line = json.dumps({"query": "Which one?", "answer": "A", "query_type": "exact", "response": "<answer>A</answer>"})
    rows.write_text("".join(f'{line[:-1]}, "extra{n % 5000}": {n}}}\n' for n in range(60_000)))
    process = start(name, rows)
    assert wait_until(has_open(process, rows), process)
    interrupted(process, signal.SIGTERM)


def judging(endpoint: Endpoint, corpus: Path) -> tuple[str | Path, ...]:
    url = endpoint.url
    return (
        "score",
        corpus,
        "--judge",
        "--judge-url",
        url,
        "--judge-model",
        "m",
        "--concurrency",
        "4",
        "--sample",
        "60",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_judge_waits_for_what_is_paid(number: signal.Signals, scored: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    subprocess.run(["cp", "-a", str(scored), str(corpus)], check=True)
    with Endpoint(latency=0.1) as endpoint:
        process = start(*judging(endpoint, corpus))
        assert wait_until(lambda: len(endpoint.requests) >= 12, process)
        process.send_signal(number)
        ran = finish(process)
        assert ran.status == 3, ran.err
        assert "Everything answered is kept; the same command goes on from here." in ran.err
        assert 12 <= len(journal(corpus)) == len(endpoint.requests) < 60
        assert curate("export", corpus, "--format", "jsonl", "-o", tmp_path / "export").status == 0
        assert run(*judging(endpoint, corpus)).status == 0
        assert len(endpoint.requests) == 60, "no sample was asked about twice"


def test_a_second_ctrl_c_ends_the_judge_at_once(scored: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    subprocess.run(["cp", "-a", str(scored), str(corpus)], check=True)
    with Endpoint(latency=0.05) as endpoint:
        process = start(*judging(endpoint, corpus))
        assert wait_until(lambda: len(endpoint.answered) >= 8, process)
        endpoint.latency = 600
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None, "the first lets the requests in flight finish"
        process.send_signal(signal.SIGINT)
        ran = finish(process)
        assert ran.status == 3, ran.err
        kept = {entry["key"][:12] for entry in journal(corpus)}
        assert len(kept) >= 8
        endpoint.latency, sent = 0, len(endpoint.requests)
        assert run(*judging(endpoint, corpus)).status == 0
        assert not {request.code for request in endpoint.requests[sent:]} & kept


def test_what_was_started_to_ignore_a_signal_ignores_it(scored: Path, tmp_path: Path) -> None:
    """``nohup curate score ... &``: the terminal is closed, the judge goes on."""
    corpus = tmp_path / "curated"
    subprocess.run(["cp", "-a", str(scored), str(corpus)], check=True)
    with Endpoint(latency=0.1) as endpoint:
        process = start(
            *judging(endpoint, corpus), preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN) and None
        )
        assert wait_until(lambda: len(endpoint.requests) >= 8, process)
        process.send_signal(signal.SIGHUP)
        assert finish(process).status == 0
        assert len(journal(corpus)) == 60


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A line of bash, with ``curate`` in it as a command."""
    curate_function = 'curate() { "$PYTHON" -c "from curate.cli.main import main; main()" "$@"; }\n'
    done = subprocess.run(
        ["bash", "-c", curate_function + line],
        env=environment(PYTHON=COMMAND[0], **variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    "command", ["schema sample", "ingest $RAW -o $OUT --json", "validate $RAW --report json", "score $SCORED --json"]
)
def test_a_reader_of_stdout_that_leaves(command: str, raw: Path, scored: Path, tmp_path: Path) -> None:
    out = tmp_path / "curated"
    line = f"curate {command} 2>/dev/null | true; echo ${{PIPESTATUS[0]}}"
    done = shell(line, RAW=str(raw), OUT=str(out), SCORED=str(scored))
    assert done.stdout == f"{128 + signal.SIGPIPE}\n"
    assert done.stderr == ""


def test_readers_of_stderr_that_leave_do_not_stop_the_work(raw: Path, tmp_path: Path) -> None:
    """``2>&1 >file | head``: the log ends, the data is whole, and the exit status is that of the work."""
    line = "curate score $RAW -o $OUT --json 2>&1 >$OUT.json | true; echo ${PIPESTATUS[0]}"
    done = shell(line, RAW=str(raw), OUT=str(tmp_path / "curated"))
    assert done.stdout == "0\n"
    assert json.loads((tmp_path / "curated.json").read_text())["signals"]["samples"] > 0
    assert shell("curate ingest nowhere 2>&1 | true; echo ${PIPESTATUS[0]}").stdout == "2\n"


def test_a_reader_of_stderr_that_leaves_the_judge(scored: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    subprocess.run(["cp", "-a", str(scored), str(corpus)], check=True)
    with Endpoint(latency=0.02) as endpoint:
        process = start(*judging(endpoint, corpus))
        assert wait_until(lambda: len(endpoint.requests) >= 4, process)
        assert process.stderr is not None
        process.stderr.close()
        assert process.wait(60) == 0
        assert len(journal(corpus)) == len(endpoint.requests) == 60


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("curate schema sample >/dev/full", 2),
        ("curate schema sample >&-", 0),
        ("curate ingest $RAW -o $OUT --json >&- 2>&-", 0),
        ("curate ingest $RAW -o $OUT </dev/null >/dev/null 2>&-", 0),
        ("curate ingest $RAW -o $OUT <&-", 0),
        ("curate ingest $RAW -o $OUT 2>/dev/full", 0),
    ],
)
def test_streams_that_are_closed_or_full(line: str, status: int, raw: Path, tmp_path: Path) -> None:
    done = shell(f"{line}; exit $?", RAW=str(raw), OUT=str(tmp_path / "curated"))
    assert done.returncode == status, done.stderr
