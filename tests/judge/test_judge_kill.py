"""Killed, interrupted and run again: no answer is lost, nothing that was answered is asked again."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from judge.asking import options, statuses, verdicts
from judge.endpoint import Endpoint
from support.corpora import captions, make_corpus, texts

from curate.corpus import Corpus
from curate.judge import judge_corpus

KILLS = 6


def start(corpus: Corpus, endpoint: Endpoint, concurrency: int = 8) -> subprocess.Popen[str]:
    """A run of the judge in another process, past its start-up."""
    command = [sys.executable, "-m", "judge.judge_once", str(corpus.path), endpoint.url, str(concurrency)]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def journaled(corpus: Corpus) -> set[str]:
    """Codes of the samples with an answer in the journal, by its whole lines."""
    codes = set()
    for segment in sorted((corpus.path / "journal").glob("*")):
        whole, _, _ = segment.read_bytes().rpartition(b"\n")
        codes |= {json.loads(line)["key"][:12] for line in whole.split(b"\n") if line}
    return codes


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kill_minus_nine_loses_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 60) + texts(60), per_shard=25)
    uninterrupted = make_corpus(tmp_path / "u", list(captions(tmp_path / "raw", 60) + texts(60)), per_shard=25)
    kept: set[str] = set()
    with Endpoint(latency=0.1) as endpoint:
        for _ in range(KILLS):
            sent = len(endpoint.requests)
            process = start(corpus, endpoint)
            while len(endpoint.requests) == sent and process.poll() is None:
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.5))
            process.kill()
            process.wait()
            asked_again = {request.code for request in endpoint.requests[sent:]} & kept
            assert asked_again == set()
            assert kept <= journaled(corpus)
            kept = journaled(corpus)
        process = start(corpus, endpoint)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert json.loads(out)["reused"] >= len(kept)
        # Whatever was asked more than once was in flight, or on its way to the disk, when the process was killed.
        times = [sum(request.code == code for request in endpoint.requests) for code in journaled(corpus)]
        assert len(times) == 120
        assert sum(times) - 120 <= KILLS * 2 * 8
        judge_corpus(uninterrupted, options(endpoint.url))
    assert verdicts(corpus).equals(verdicts(uninterrupted))
    assert not list(corpus.path.rglob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_the_next_run_goes_on(tmp_path: Path, number: int) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 60), per_shard=25)
    with Endpoint(latency=0.3) as endpoint:
        process = start(corpus, endpoint)
        while len(endpoint.requests) < 20:
            time.sleep(0.01)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 3, err
        assert "Traceback" not in err
        scored = json.loads(out)["scored"]
        assert scored == sum(endpoint.answered.values()) == statuses(corpus).count("scored")
        assert 8 <= scored < 60
        assert judge_corpus(corpus, options(endpoint.url)).status == 0
        assert set(endpoint.answered.values()) == {1}


def test_a_second_signal_ends_it_at_once_and_keeps_the_journal(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", captions(tmp_path / "raw", 20))
    with Endpoint(latency=0.2) as endpoint:
        process = start(corpus, endpoint, concurrency=2)
        while len(endpoint.answered) < 4:
            time.sleep(0.01)
        endpoint.latency = 60
        time.sleep(0.4)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
        assert process.returncode != 0
        endpoint.latency = 0
        kept = journaled(corpus)
        assert len(kept) >= 4
        sent = len(endpoint.requests)
        assert judge_corpus(corpus, options(endpoint.url)).status == 0
        assert {request.code for request in endpoint.requests[sent:]} & kept == set()


def test_a_full_disk_is_said_and_the_answers_that_were_kept_count(tmp_path: Path) -> None:
    """A file size limit stands in for a full disk: the write fails half-way, as there."""
    corpus = make_corpus(tmp_path / "c", texts(50))
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, resource.RLIM_INFINITY));"
        "import runpy; runpy.run_module('judge.judge_once', run_name='__main__')"
    )
    with Endpoint() as endpoint:
        done = subprocess.run(
            [sys.executable, "-c", program, str(corpus.path), endpoint.url, "4"],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in (1, 2), done.stderr
        assert "File too large" in done.stdout + done.stderr
        (segment,) = (corpus.path / "journal").iterdir()
        assert segment.read_bytes().endswith(b"}\n")
        kept = journaled(corpus)
        assert 0 < len(kept) < 50
        sent = len(endpoint.requests)
        assert judge_corpus(corpus, options(endpoint.url)).status == 0
        assert {request.code for request in endpoint.requests[sent:]} & kept == set()
        assert len(endpoint.requests) - sent == 50 - len(kept)
    assert segment.stat().st_size > 6000
