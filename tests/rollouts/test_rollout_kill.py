"""Killed, interrupted and run again: no answer is lost, nothing that was answered is asked again."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from judge.endpoint import Endpoint
from rollouts.playing import effusion, facts, journal_lines, options, playing, responses, thinking
from support.measured import make_corpus

from curate.corpus import Corpus
from curate.rollouts import rollout_corpus

KILLS = 3
QUERIES, K, CONCURRENCY = 30, 4, 8


def start(corpus: Corpus, endpoint: Endpoint) -> subprocess.Popen[str]:
    """A rollout in another process, past its start-up."""
    command = [sys.executable, "-m", "rollouts.rollout_once", str(corpus.path), endpoint.url, str(CONCURRENCY)]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def many(path: Path) -> Corpus:
    return make_corpus(path, [effusion(path, number) for number in range(QUERIES)], per_shard=15)


def test_kill_minus_nine_loses_nothing(tmp_path: Path) -> None:
    chance = random.Random(5)
    corpus = many(tmp_path / "c")
    kept: set[str] = set()
    with Endpoint(playing(lambda request, number: thinking("yes")), latency=0.1) as endpoint:
        for _ in range(KILLS):
            sent = len(endpoint.requests)
            process = start(corpus, endpoint)
            while len(endpoint.requests) == sent and process.poll() is None:
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.5))
            process.kill()
            process.wait()
            now = set(journal_lines(corpus))
            assert kept <= now
            kept = now
        process = start(corpus, endpoint)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert json.loads(out)["reused"] >= len(kept)
        # Whatever was asked more than once was in flight, or on its way to the disk, when the process was killed.
        assert QUERIES * K <= len(endpoint.requests) <= QUERIES * K + KILLS * 2 * CONCURRENCY
        endpoint.latency = 0.0
        uninterrupted = many(tmp_path / "u")
        rollout_corpus(uninterrupted, options(endpoint.url, k=K))
    lines = journal_lines(corpus)
    assert len(lines) == QUERIES * K
    assert all(len(entries) == 1 for entries in lines.values())
    assert facts(corpus).equals(facts(uninterrupted))
    assert responses(corpus).equals(responses(uninterrupted))
    assert not list(corpus.path.rglob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_the_next_run_goes_on(tmp_path: Path, number: int) -> None:
    corpus = many(tmp_path / "c")
    with Endpoint(playing(lambda request, seen: thinking("yes")), latency=0.3) as endpoint:
        process = start(corpus, endpoint)
        while len(endpoint.requests) < 20:
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 3, err
        assert "Traceback" not in err
        answered = endpoint.statuses[200]
        assert answered == sum(map(len, journal_lines(corpus).values()))
        assert 8 <= answered < QUERIES * K
        assert rollout_corpus(corpus, options(endpoint.url, k=K)).status == 0
        assert endpoint.statuses[200] == QUERIES * K
