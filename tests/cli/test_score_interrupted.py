"""Ctrl-C, ``kill -9`` and a full disk under ``curate score --judge``, with a real endpoint on loopback."""

import json
import resource
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest
from judge.endpoint import Endpoint
from support.cli import COMMAND, curate
from support.pictures import distinct

ROWS = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    lines = []
    for number in range(ROWS):
        (tmp_path / "raw" / f"{number}.png").write_bytes(distinct(number))
        lines.append(json.dumps({"image": f"{number}.png", "text": f"Gradient number {number}, bright at the top."}))
    (tmp_path / "raw" / "captions.jsonl").write_text("\n".join(lines))
    return tmp_path


def flags(endpoint: Endpoint) -> list[str]:
    return ["score", "raw", "--judge", "--judge-url", endpoint.url, "--judge-model", "test", "--concurrency", "4"]


def start(folder: Path, endpoint: Endpoint, requests: int) -> subprocess.Popen[str]:
    """A run that has sent at least so many requests."""
    process = subprocess.Popen([*COMMAND, *flags(endpoint)], cwd=folder, stderr=subprocess.PIPE, text=True)
    for _ in range(6000):
        if len(endpoint.requests) >= requests or process.poll() is not None:
            break
        time.sleep(0.01)
    return process


def scored(folder: Path) -> int:
    verdicts = pl.read_parquet(folder / "curated/verdicts/*.parquet")
    assert verdicts.height == ROWS
    assert (verdicts["judge_score"].is_not_null() == (verdicts["judge_status"] == "scored")).all()
    return int((verdicts["judge_status"] == "scored").sum())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_drains_keeps_everything_and_says_so(folder: Path, number: signal.Signals) -> None:
    with Endpoint(latency=0.2) as endpoint:
        process = start(folder, endpoint, 12)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 3, err
        assert "same command" in err
        assert "Traceback" not in err
        assert 0 < scored(folder) == len(endpoint.requests) < ROWS
        assert curate("export", "--format", "image-caption", cwd=folder).status == 0
        again = curate(*flags(endpoint), cwd=folder)
        assert again.status == 0, again.err
        assert len(endpoint.requests) == ROWS
    assert scored(folder) == ROWS


def test_a_killed_run_is_taken_up_by_the_same_command(folder: Path) -> None:
    with Endpoint(latency=0.1) as endpoint:
        for requests in (10, 25, 40):
            process = start(folder, endpoint, requests)
            process.kill()
            process.wait()
        assert curate(*flags(endpoint), cwd=folder).status == 0
        # Asked twice is at most what was in flight, or on its way to the disk, at each kill.
        assert len(endpoint.requests) <= ROWS + 3 * 2 * 4
    assert scored(folder) == ROWS


@pytest.mark.parametrize("limit", [2_000, 20_000])
def test_a_full_disk_is_a_sentence_and_the_next_run_goes_on(folder: Path, limit: int) -> None:
    """The disk is full for files over a limit, which the kernel reports like a quota."""

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with Endpoint() as endpoint:
        done = subprocess.run(
            [*COMMAND, *flags(endpoint)], cwd=folder, preexec_fn=full, capture_output=True, text=True, check=False
        )
        assert done.returncode in (2, 3), done.stderr
        assert "Traceback" not in done.stderr
        assert "large" in done.stderr or "space" in done.stderr, done.stderr
        assert not list((folder / "curated").rglob(".*.tmp"))
        assert curate(*flags(endpoint), cwd=folder).status == 0
    assert scored(folder) == ROWS
