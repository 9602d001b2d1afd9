"""A trainer's process: what is kept of its output, and that nothing of it is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.adapters.process import run_logged

PYTHON = sys.executable

RUNNER = """
import sys
from pathlib import Path
from curate.adapters.process import run_logged
try:
    run_logged(sys.argv[2:], Path(sys.argv[1]), variables={})
except KeyboardInterrupt:
    sys.exit(3)
"""

# A trainer with a worker of its own, which outlives it unless the whole group is ended.
TRAINER_WITH_WORKER = """
import os, signal, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("worker", worker.pid, "trainer", os.getpid(), flush=True)
time.sleep(60)
"""


def wait_for(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def is_running(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def begun(log: Path) -> tuple[int, int]:
    """The pids of the worker and the trainer, once the trainer has told them."""
    wait_for(lambda: log.exists() and "trainer" in log.read_text())
    words = log.read_text().split()
    return int(words[1]), int(words[3])


def test_output_is_kept_and_handed_on_line_by_line(tmp_path: Path) -> None:
    lines: list[str] = []
    log = tmp_path / "log.txt"
    log.write_text("an earlier attempt\n")
    ended = run_logged(
        [PYTHON, "-c", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"],
        log,
        variables={},
        on_line=lines.append,
    )
    assert ended.status == 7
    assert sorted(lines) == ["err", "out"]
    assert log.read_text().startswith("an earlier attempt\n")


def test_a_log_that_cannot_be_written_stops_nothing_and_hides_nothing() -> None:
    # Far more than a pipe holds: somebody has to go on reading it.
    talk = "for n in range(20000): print('step', n)\nraise OSError(28, 'No space left on device')"
    ended = run_logged([PYTHON, "-c", talk], Path("/dev/full"), variables={})
    assert ended.status == 1
    assert ended.lines[-1] == "OSError: [Errno 28] No space left on device"


def test_a_progress_display_that_fails_stops_nothing(tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no terminal")

    ended = run_logged(
        [PYTHON, "-c", "import time; print(1); time.sleep(0.5); print(2)"],
        tmp_path / "log.txt",
        variables={},
        on_line=fail,
        on_tick=fail,
        tick=0.1,
    )
    assert ended.status == 0
    said = "curate: progress is shown no more: ValueError: no terminal"
    assert sorted((tmp_path / "log.txt").read_text().splitlines()) == ["1", "2", said, said]


def test_of_a_progress_bar_only_the_last_state_is_kept(tmp_path: Path) -> None:
    run_logged([PYTHON, "-c", r"print('1/3\r2/3\r3/3')"], tmp_path / "log.txt", variables={})
    assert (tmp_path / "log.txt").read_text() == "3/3\n"


def test_secrets_reach_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123")
    script = (
        "import os; print('key is', os.environ['WANDB_API_KEY'], os.environ['MY_TOKEN']);"
        "print('hf_' + 'a' * 30, 'sk-' + 'b' * 30)"
    )
    lines: list[str] = []
    run_logged(
        [PYTHON, "-c", script], tmp_path / "log.txt", variables={"MY_TOKEN": "very-secret-token"}, on_line=lines.append
    )
    assert (tmp_path / "log.txt").read_text() == "key is [hidden] [hidden]\n[hidden] [hidden]\n"
    assert lines == ["key is [hidden] [hidden]", "[hidden] [hidden]"]


def test_sigterm_ends_the_trainer_and_its_workers(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    runner = subprocess.Popen([PYTHON, "-c", RUNNER, log, PYTHON, "-c", TRAINER_WITH_WORKER])
    worker, trainer = begun(log)
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(30) == 3
    wait_for(lambda: not is_running(worker) and not is_running(trainer))


def test_a_trainer_that_ignores_polite_requests_is_killed_at_the_second_interrupt(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    stubborn = (
        "import signal, time, os\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('worker', os.getpid(), 'trainer', os.getpid(), flush=True); time.sleep(60)"
    )
    runner = subprocess.Popen([PYTHON, "-c", RUNNER, log, PYTHON, "-c", stubborn])
    _, trainer = begun(log)
    runner.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert is_running(trainer)
    runner.send_signal(signal.SIGINT)
    assert runner.wait(10) == 3
    wait_for(lambda: not is_running(trainer))


def test_a_killed_runner_takes_its_trainer_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    runner = subprocess.Popen([PYTHON, "-c", RUNNER, log, PYTHON, "-c", TRAINER_WITH_WORKER])
    worker, trainer = begun(log)
    assert is_running(trainer)
    runner.kill()
    runner.wait(10)
    wait_for(lambda: not is_running(trainer))
    if is_running(worker):  # a trainer ends its own workers; this one does not
        os.kill(worker, signal.SIGKILL)


def test_workers_of_a_trainer_that_crashed_are_swept_up(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    crashing = TRAINER_WITH_WORKER.replace("time.sleep(60)\n", "os._exit(1)\n")
    # The worker holds the pipe, so the output has no end until it is gone.
    ended = run_logged([PYTHON, "-c", crashing], log, variables={})
    worker, _ = begun(log)
    assert ended.status == 1
    wait_for(lambda: not is_running(worker))
