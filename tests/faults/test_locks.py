"""One writer at a time: the second command says who is there, and a dead holder's lock is no obstacle."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from faults.commands import finish, holds, run, start, wait_until, write_raw
from judge.endpoint import Endpoint

ROWS = 60


def judging(endpoint: Endpoint) -> tuple[str, ...]:
    return ("--judge", "--judge-url", endpoint.url, "--judge-model", "m", "--concurrency", "4")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return write_raw(tmp_path / "raw", ROWS)


def test_of_two_runs_at_once_the_second_says_who_is_there(raw: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    with Endpoint(latency=3) as endpoint:
        first = start("score", raw, "-o", corpus, *judging(endpoint))
        assert wait_until(lambda: endpoint.requests, first)
        others = [
            ("score", raw, "-o", corpus, *judging(endpoint)),
            ("ingest", raw, "-o", corpus),
            ("export", corpus, "--format", "jsonl", "-o", tmp_path / "export"),
        ]
        for other in [start(*arguments) for arguments in others]:
            ran = finish(other)
            assert ran.status == 2
            assert f"{corpus} is in use by process {first.pid} on " in ran.err
        endpoint.latency = 0
        assert finish(first).status == 0
        asked = [request.code for request in endpoint.requests]
        assert len(asked) == len(set(asked)), "the second run asked the judge as well"


def test_a_dead_holders_lock_is_taken_over(raw: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    with Endpoint(latency=60) as endpoint:
        first = start("score", raw, "-o", corpus, *judging(endpoint))
        assert wait_until(lambda: endpoint.requests, first)
        first.kill()
        first.communicate(timeout=60)
        assert f"process {first.pid} " in (corpus / ".lock").read_text(), "the dead process still stands there"
        endpoint.latency = 0
        second = start("score", raw, "-o", corpus, *judging(endpoint))
        assert wait_until(holds(corpus, second), second)
        assert finish(second).status == 0


def test_two_exports_into_one_directory(raw: Path, tmp_path: Path) -> None:
    """From different corpora, so that only the directory is between them."""
    assert run("score", raw, "-o", tmp_path / "curated").status == 0
    script = (
        "import sys, time, pathlib; from curate.exports.directory import fresh_directory\n"
        "with fresh_directory(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    export = ("export", tmp_path / "curated", "--format", "jsonl", "-o", tmp_path / "export")
    holder = subprocess.Popen([sys.executable, "-c", script, tmp_path / "export"], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        second = run(*export)
        assert second.status == 2
        assert f"process {holder.pid}" in second.err
    finally:
        holder.kill()
        holder.communicate(timeout=60)
    assert run(*export).status == 0
