"""Run a trainer as a process of its own: its output kept without secrets, its end never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Final

from curate.adapters.credentials import credentials_of, without_credentials

_PATIENCE: Final = ((signal.SIGINT, 20.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
"""What a process is asked to end with, and the seconds it then has."""
_LAST_LINES: Final = 400

_FOLLOW_PARENT: Final = """
import ctypes, os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell ignores it for what it runs in the background
try:
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG, SIGTERM
except (OSError, AttributeError):
    pass  # not Linux
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this one is gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Becomes the process it is to run, after asking the kernel to end it when its parent dies."""


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    status: int
    """Exit status; negative for the signal that ended it."""
    lines: Sequence[str]
    """The last lines of its output."""
    seconds: float


def run_logged(
    arguments: Sequence[str | Path],
    log: Path,
    *,
    variables: Mapping[str, str],
    on_line: Callable[[str], None] | None = None,
    on_tick: Callable[[], None] | None = None,
    tick: float = 1.0,
) -> Ended:
    """Run a process to its end, appending what it prints to ``log``.

    ``on_line`` gets each line, ``on_tick`` is called every ``tick`` seconds; when one of them fails it is called no
    more, and so says the log, since a training of days must not end by what shows its progress. SIGINT and SIGTERM
    are passed on, first politely, and KeyboardInterrupt is raised when the process and all it started are gone. Should
    this process be killed, the kernel ends the other one.
    """
    environment = {**os.environ, **variables}
    secrets = credentials_of(environment)
    kept: deque[str] = deque(maxlen=_LAST_LINES)
    started = time.monotonic()
    with log.open("ab", buffering=0) as file, _signals_as_interrupts():
        process = subprocess.Popen(
            [sys.executable, "-c", _FOLLOW_PARENT, str(os.getpid()), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        assert process.stdout is not None
        output = _Output(file, secrets, kept)
        show, look = output.guarded(on_line), output.guarded(on_tick)
        reader = threading.Thread(
            target=output.keep_all, args=(process.stdout, show), name="trainer output", daemon=True
        )
        reader.start()
        try:
            while process.poll() is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(tick)
                look()
        except BaseException:
            _end(process)
            raise
        finally:
            _sweep(process)
            reader.join(10)
    return Ended(process.returncode, list(kept), time.monotonic() - started)


class _Output:
    """What a process prints, on its way to the log."""

    def __init__(self, file: IO[bytes], secrets: Sequence[str], kept: deque[str]) -> None:
        self._file, self._secrets, self._kept = file, secrets, kept
        self._log_failed = False

    def keep_all(self, output: IO[bytes], show: Callable[[str], None]) -> None:
        """Keep and show each line to the end, whatever happens to the log: nobody else empties the pipe."""
        for printed in _lines(output):
            line = without_credentials(printed, self._secrets)
            self._keep(line)
            show(line)

    def _keep(self, line: str) -> None:
        self._kept.append(line)
        try:
            self._file.write(line.encode() + b"\n")
        except OSError as error:
            if not self._log_failed:
                self._log_failed = True
                self._kept.append(f"curate: the log could not be written: {error.strerror}")

    def guarded(self, function: Callable[..., None] | None) -> Callable[..., None]:
        """``function`` until it fails for the first time."""
        calls = [function] if function else []

        def call(*arguments: object) -> None:
            try:
                for one in calls:
                    one(*arguments)
            except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
                calls.clear()
                self._keep(f"curate: progress is shown no more: {type(error).__name__}: {error}")

        return call


def _lines(output: IO[bytes]) -> Iterator[str]:
    """Lines of output; of a progress bar that overwrites itself, only what stood there last."""
    for raw in output:
        yield raw.rstrip(b"\r\n").rpartition(b"\r")[2].decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group; a second interrupt kills them at once."""
    for number, patience in _PATIENCE:
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _sweep(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the process group, such as the data loaders of a trainer that crashed."""
    if process.poll() is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt, as SIGINT does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
