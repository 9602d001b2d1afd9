"""One contestant on one endpoint: both are processes of their own, and the operating system keeps the accounts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Contestant:
    """A tool, and how to start it."""

    name: str
    script: str
    arguments: tuple[str, ...] = ()
    peer: str | None = None
    """The environment it runs in; None for this one."""


@dataclass(frozen=True)
class Outcome:
    """What one run came to."""

    scored: int
    """Samples with a usable score."""
    seconds: float | None
    """Of the call that judges, with everything but imports; None when it did not come to an end."""
    process_seconds: float
    """From starting the process to its end."""
    cpu_seconds: float
    """Of the whole process, imports included."""
    call_cpu_seconds: float | None
    """Of the call alone, where the contestant tells."""
    peak_mb: float
    calls: int
    rejected: int
    most_in_flight: int
    load: float
    """The machine's load average when the run was over; contestant and endpoint together make at most 2."""
    problem: str | None = None
    """The end of what it wrote when it did not come to an end."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@contextmanager
def endpoint(behaviour: Mapping[str, float]) -> Iterator[str]:
    """A fresh endpoint; gives its base address."""
    options = [f"--{name}={value}" for name, value in behaviour.items()]
    command = [sys.executable, str(HERE / "endpoint.py"), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def run(
    contestant: Contestant, python: Path, folder: Path, behaviour: Mapping[str, float], concurrency: int, limit: float
) -> Outcome:
    """Let a contestant judge the samples in ``folder``; after ``limit`` seconds it is stopped."""
    script = HERE / "contestants" / contestant.script
    with endpoint(behaviour) as url, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        command = [str(python), str(script), url, str(folder), str(concurrency), *contestant.arguments]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, env=_environment(python), start_new_session=True)
        usage = _wait(process, started + limit)
        elapsed = time.perf_counter() - started
        load = os.getloadavg()[0]
        with urllib.request.urlopen(url.removesuffix("/v1") + "/account", timeout=30) as answer:
            account = json.loads(answer.read())
        out.seek(0)
        err.seek(0)
        said = _last_json(out.read())
        return Outcome(
            scored=said.get("scored", 0),
            seconds=said.get("seconds"),
            process_seconds=elapsed,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            call_cpu_seconds=said.get("cpu"),
            peak_mb=usage.ru_maxrss / 1024,
            calls=account["calls"],
            rejected=account["rejected"],
            most_in_flight=account["most_in_flight"],
            load=load,
            problem=None if said else _end(err.read(), elapsed >= limit, account["samples_answered"]),
        )


def _wait(process: subprocess.Popen[bytes], deadline: float) -> Any:
    """Wait for a process, stopping it at the deadline; what it used."""
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage
        if time.perf_counter() >= deadline:
            process.kill()
        time.sleep(0.01)


def _environment(python: Path) -> dict[str, str]:
    """Nothing is reported to anybody, and no model files are looked for."""
    quiet = {"HF_HUB_OFFLINE": "1", "TELEMETRY_ENABLED": "false", "NEMO_TELEMETRY_ENABLED": "false"}
    environment = os.environ | quiet | {"OPENAI_API_KEY": "unused", "CURATOR_VIEWER": "0"}
    # litellm brings the tables by which bespokelabs-curator counts tokens; they need not be downloaded.
    tables = list(python.parents[1].glob("lib/*/site-packages/litellm/litellm_core_utils/tokenizers"))
    return environment | ({"TIKTOKEN_CACHE_DIR": str(tables[0])} if tables else {})


def _last_json(output: str) -> dict[str, Any]:
    for line in reversed(output.splitlines()):
        if line.startswith('{"scored"'):
            said: dict[str, Any] = json.loads(line)
            return said
    return {}


def _end(errors: str, stopped: bool, answered: int) -> str:
    if stopped:
        return f"stopped at the time limit with {answered} samples answered"
    lines = errors.strip().splitlines()
    return lines[-1][:300] if lines else "it ended without a word"
