"""An ingest that goes over to several processes: the same files, and no less care when it is disturbed."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.commands import contents, environment, finish, wait_until, write_raw
from support.cli import Ran
from support.pictures import distinct

STARTED = (
    "from curate.sources import ingest, staging; staging.SHARD_ROWS = 64; ingest.PATIENCE = {patience}; "
    "from curate.cli.main import main; main()"
)


def start(raw: Path, corpus: Path, patience: float = 0.0, **options: Any) -> subprocess.Popen[str]:
    settings: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.PIPE,
        "text": True,
        "start_new_session": True,
        "env": environment(),
    }
    program = [sys.executable, "-c", STARTED.format(patience=patience), "ingest", str(raw), "-o", str(corpus)]
    return subprocess.Popen(program, **(settings | options))


def run(raw: Path, corpus: Path, patience: float = 0.0, **options: Any) -> Ran:
    return finish(start(raw, corpus, patience, **options))


def children(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a command, without Python's tracker of semaphores."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            line = (entry / "cmdline").read_text()
        except OSError:
            continue
        if parent == process.pid and "spawn_main" in line:
            found.append(int(entry.name))
    return found


def gone(process_ids: list[int]) -> bool:
    for _ in range(500):
        if not any(Path(f"/proc/{number}").exists() for number in process_ids):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of several formats and files with all that can become of them, pictures in files and in records."""
    folder = write_raw(tmp_path_factory.mktemp("processes") / "raw", 1500)
    (folder / "more").mkdir()
    with (folder / "more" / "talk.jsonl").open("w") as file:
        for row in range(400):
            asked = {"from": "human", "value": f"<image>Question {row // 2}?"}
            said = {"from": "gpt", "value": "An answer."}
            record = {"image": f"{row % 24}.png" if row % 7 else "none.png", "conversations": [asked, said], "n": row}
            file.write(json.dumps(record) + ("\n\n" if row % 5 else "\n"))
        file.write('{"image": "0.png", "text": "twice", "text": "the key"}\n[1]\n{"broken\n')
    for number in range(30):
        (folder / "more" / f"{number}.png").write_bytes(distinct(200 + number))
        if number % 3:
            (folder / "more" / f"{number}.txt").write_text(f"Picture {number}.")
    return folder


@pytest.fixture(scope="module")
def whole(raw: Path) -> dict[str, str]:
    """What an ingest in a single process makes of it."""
    process = start(raw, raw.parent / "whole", patience=1000.0)
    workers: list[int] = []
    while process.poll() is None:
        workers += children(process)
        time.sleep(0.005)
    assert finish(process).status == 0
    assert not workers
    return contents(raw.parent / "whole")


def test_the_files_are_the_same(raw: Path, whole: dict[str, str], tmp_path: Path) -> None:
    process = start(raw, tmp_path / "curated")
    assert wait_until(lambda: children(process), process)
    assert finish(process).status == 0
    assert contents(tmp_path / "curated") == whole


def test_killed_at_random_moments_it_goes_on_and_leaves_no_process(
    raw: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    chance = random.Random(5)
    corpus = tmp_path / "curated"
    for _ in range(4):
        process = start(raw, corpus)
        if not wait_until(lambda p=process: children(p), process):  # type: ignore[misc]
            break
        time.sleep(chance.uniform(0, 1.5))
        workers = children(process)
        process.kill()
        process.communicate()
        assert gone(workers)
    assert run(raw, corpus).status == 0
    assert contents(corpus) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_so_and_goes_on(
    number: signal.Signals, raw: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    corpus = tmp_path / "curated"
    process = start(raw, corpus)
    assert wait_until((corpus / "samples.partial" / "part-00000.parquet").exists, process)
    workers = children(process)
    assert workers
    os.killpg(process.pid, number)
    ran = finish(process)
    assert ran.status == 3, ran.err
    assert "the same command goes on from there" in ran.err
    assert gone(workers)
    assert run(raw, corpus).status == 0
    assert contents(corpus) == whole


def test_a_killed_worker_is_a_sentence_and_it_goes_on(raw: Path, whole: dict[str, str], tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    process = start(raw, corpus)
    assert wait_until(lambda: children(process), process)
    os.kill(children(process)[0], signal.SIGKILL)
    ran = finish(process)
    assert ran.status == 2, ran.err
    assert "a worker process was killed" in ran.err
    assert run(raw, corpus).status == 0
    assert contents(corpus) == whole


def file_size_limit(size: int) -> Callable[[], None]:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return limit


def test_a_worker_that_cannot_write_a_picture_ends_the_command_in_order(tmp_path: Path) -> None:
    """Of pictures that came inside records the workers write files, so it is they who find that the disk is full."""
    raw, corpus = write_raw(tmp_path / "raw", 0), tmp_path / "curated"
    expected = run(raw, tmp_path / "whole")
    assert expected.status == 0
    picture = max(path.stat().st_size for path in (tmp_path / "whole" / "images").rglob("*.png"))
    ran = run(raw, corpus, preexec_fn=file_size_limit(picture - 1))
    assert ran.status == 2, ran.err
    assert "File too large" in ran.err
    assert run(raw, corpus).status == 0
    assert contents(corpus) == contents(tmp_path / "whole")
