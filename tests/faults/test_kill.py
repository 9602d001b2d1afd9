"""``kill -9`` at 30 seeded random moments: the next run finishes, and the result equals an uninterrupted run's."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from faults.commands import contents, finish, holds, journal, run, start, wait_until, write_raw
from judge.endpoint import Endpoint

KILLS = {"ingest": 8, "score": 7, "judge": 7, "export": 8}
assert sum(KILLS.values()) == 30
IN_A_ROW = 4
"""Kills before a run is left to finish."""
ROWS = 700
SAMPLE, CONCURRENCY = 80, 4


class Commands:
    """The four commands in a folder; each works on its own copy of what it needs."""

    def __init__(self, raw: Path, scored: Path, url: str) -> None:
        self._raw, self._scored, self._url = raw, scored, url

    def prepare(self, name: str, folder: Path) -> Path:
        """The corpus on which the command works; export and judge start from one that is measured."""
        folder.mkdir(parents=True)
        if name in ("export", "judge"):
            subprocess.run(["cp", "-a", str(self._scored), str(folder / "curated")], check=True)
        return folder / "curated"

    def start(self, name: str, folder: Path) -> subprocess.Popen[str]:
        corpus = folder / "curated"
        judge = ("--judge", "--judge-url", self._url, "--judge-model", "m", "--concurrency", str(CONCURRENCY))
        arguments: dict[str, tuple[str | Path, ...]] = {
            "ingest": ("ingest", self._raw, "-o", corpus),
            "score": ("score", self._raw, "-o", corpus, "--workers", "2"),
            "judge": ("score", corpus, *judge, "--sample", str(SAMPLE)),
            "export": ("export", corpus, "--format", "image-caption", "-o", folder / "export", "--images", "path"),
        }
        return start(*arguments[name])


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(latency=0.05) as server:
        yield server


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory, endpoint: Endpoint) -> Commands:
    folder = tmp_path_factory.mktemp("kill")
    raw = write_raw(folder / "raw", ROWS)
    assert run("score", raw, "-o", folder / "scored").status == 0
    return Commands(raw, folder / "scored", endpoint.url)


def result(folder: Path) -> dict[str, str]:
    return {
        f"{place.name}/{name}": content
        for place in sorted(folder.iterdir())
        for name, content in (contents(place) if place.is_dir() else {"": ""}).items()
    }


def assert_same(found: dict[str, str], wanted: dict[str, str]) -> None:
    """The same files with the same content; JSON is compared line by line, for a message that can be read."""
    assert found.keys() == wanted.keys()
    for name, content in wanted.items():
        assert found[name].split("\n") == content.split("\n"), name


@pytest.fixture(scope="module")
def outcomes(
    commands: Commands, endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[int]]]:
    """Every command is killed and taken up; two at a time, of which one asks the endpoint."""
    with ThreadPoolExecutor(2) as threads:
        folders = {name: tmp_path_factory.mktemp(name) for name in KILLS}
        yield {name: threads.submit(kill_and_take_up, name, folders[name], commands, endpoint) for name in KILLS}


@pytest.mark.parametrize("name", KILLS)
def test_a_killed_command_is_taken_up_and_ends_the_same(name: str, outcomes: dict[str, Future[int]]) -> None:
    assert outcomes[name].result() == KILLS[name]


def kill_and_take_up(name: str, place: Path, commands: Commands, endpoint: Endpoint) -> int:
    """How many kills met the command running; after each the next run must make up for it."""
    chance = random.Random(f"{name} 1")
    corpus = commands.prepare(name, place / "whole")
    process = commands.start(name, place / "whole")
    assert wait_until(holds(corpus, process), process)
    began = time.monotonic()
    assert finish(process).status == 0
    duration = time.monotonic() - began
    whole = result(place / "whole")

    kills = chains = 0
    while kills < KILLS[name]:
        chains += 1
        assert chains < 3 * KILLS[name], f"only {kills} of {KILLS[name]} kills met a running command"
        folder = place / str(chains)
        corpus = commands.prepare(name, folder)
        sent = len(endpoint.requests)
        delays = [chance.uniform(0, duration / IN_A_ROW) for _ in range(min(IN_A_ROW, KILLS[name] - kills))]
        met = kill_in_a_row(
            partial(commands.start, name, folder), corpus, delays, endpoint if name == "judge" else None
        )
        kills += met
        last = finish(commands.start(name, folder))
        assert last.status == 0, last.err
        assert_same(result(folder), whole)
        if name == "judge":
            asked = [request.code for request in endpoint.requests[sent:]]
            assert len(set(asked)) == SAMPLE
            # In flight, or on the way to the disk, at each kill.
            assert len(asked) - SAMPLE <= met * 2 * CONCURRENCY
    return kills


def kill_in_a_row(
    begin: Callable[[], subprocess.Popen[str]], corpus: Path, delays: list[float], endpoint: Endpoint | None
) -> int:
    """Kill the command after each delay, counted from when its work begins; how many kills met it running."""
    met = 0
    for delay in delays:
        kept = {entry["key"][:12] for entry in journal(corpus)}
        sent = len(endpoint.requests) if endpoint else 0
        process = begin()
        if wait_until(holds(corpus, process), process):
            time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        met += process.returncode == -signal.SIGKILL
        asked = {request.code for request in endpoint.requests[sent:]} if endpoint else set()
        assert not asked & kept, "a paid answer was asked for again"
        assert kept <= {entry["key"][:12] for entry in journal(corpus)}, "a paid answer was lost"
        if process.returncode == 0:
            break
    return met


def test_killing_a_command_leaves_no_process_behind(tmp_path: Path) -> None:
    """The processes that measure shards end with the one that started them."""
    raw = write_raw(tmp_path / "raw", 2000)
    process = start("score", raw, "-o", tmp_path / "curated", "--workers", "2", stdout=None, stderr=subprocess.DEVNULL)
    assert wait_until(lambda: len(members(process.pid)) >= 3, process)
    process.kill()
    process.wait()
    for _ in range(500):
        if not (left := members(process.pid)):
            break
        time.sleep(0.01)
    if left:
        os.killpg(process.pid, signal.SIGKILL)
    assert left == []


def members(group: int) -> list[str]:
    """Command lines of the processes of a group, but for Python's own tracker of semaphores and the dead."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            state, _, own = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            line = (entry / "cmdline").read_text()
        except OSError:
            continue
        if int(own) == group and state != "Z" and "resource_tracker" not in line:
            found.append(line.replace("\0", " "))
    return found
