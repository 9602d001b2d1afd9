"""Commands to be disturbed: started in the background, and what they leave compared file for file."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.cli import Ran
from support.pictures import distinct

SHARD_ROWS = 128
COMMAND = [
    sys.executable,
    "-c",
    f"from curate.sources import staging; staging.SHARD_ROWS = {SHARD_ROWS}; from curate.cli.main import main; main()",
]
"""The real command with small shards, so that little data has many of them."""
_UNSET = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "CURATE_JUDGE_MODEL", "NO_COLOR")
_OF_A_RUN = (
    {"reused", "requests", "answers", "invalid", "errors", "tokens_in", "tokens_out", "cost_usd"},
    {"mode", "adapted"},
)
"""What the lineage tells of the judge's last run rather than of the corpus: counts and parameters."""


def environment(**variables: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if key not in _UNSET}
    return {**clean, "COLUMNS": "200", **variables}


def start(*arguments: str | Path, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
    """``curate ARGUMENTS`` in the background, in a process group of its own; SIGHUP ends it, below nohup too."""
    settings: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "start_new_session": True,
        "env": environment(**(env or {})),
        "preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL) and None,
    }
    return subprocess.Popen([*COMMAND, *map(str, arguments)], **(settings | options))


def finish(process: subprocess.Popen[str]) -> Ran:
    """What a started command left; a traceback, or being there after a minute, is a failure."""
    try:
        out, err = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert "Traceback" not in (err or ""), err
    return Ran(process.returncode, out, err)


def run(*arguments: str | Path, **options: Any) -> Ran:
    return finish(start(*arguments, **options))


def wait_until(happened: Callable[[], object], process: subprocess.Popen[str], seconds: float = 30.0) -> bool:
    """Whether it happened while the process was running."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if happened():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    raise TimeoutError(f"nothing happened within {seconds} s")


def holds(corpus: Path, process: subprocess.Popen[str]) -> Callable[[], bool]:
    """Whether a process holds the lock of a corpus: its work has begun."""
    lock = corpus / ".lock"
    return lambda: lock.exists() and lock.read_text().startswith(f"process {process.pid} ")


def has_open(process: subprocess.Popen[str], path: Path) -> Callable[[], bool]:
    """Whether a process has a file open."""

    def look() -> bool:
        for entry in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                if entry.readlink() == path:
                    return True
            except OSError:
                continue
        return False

    return look


def write_raw(folder: Path, rows: int, *, pictures: int = 24) -> Path:
    """Captions with pictures, of which some come inside the records; some rows twice, some wrong."""
    folder.mkdir(parents=True)
    for number in range(pictures):
        (folder / f"{number}.png").write_bytes(distinct(number))
    with (folder / "captions.jsonl").open("w") as file:
        for row in range(rows):
            text = "" if row % 97 == 0 else f"Finding number {row - row % 31 // 30} of the retina, bright at the top."
            file.write(json.dumps({"image": f"{row % pictures}.png", "text": text}) + "\n")
        for number in range(4):
            picture = base64.b64encode(distinct(1000 + number)).decode()
            file.write(json.dumps({"image": picture, "text": f"An embedded picture, number {number}."}) + "\n")
    return folder


def contents(folder: Path) -> dict[str, str]:
    """Every file of a corpus or an export, as a hash; JSON without times, places, and what one run only tells."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or path.name == ".lock":
            continue
        if path.name in ("corpus.json", "export.json") or path.match("decisions/*.json"):
            found[name] = json.dumps(_lasting(json.loads(re.sub(r'"(/[^"/]+)+/', '"', path.read_text()))), indent=1)
        elif path.parent.name == "journal":
            found[name] = "\n".join(sorted({f"{line['key']} {line['reply']}" for line in journal(folder)}))
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _lasting(description: dict[str, Any]) -> dict[str, Any]:
    description.pop("at", None)
    for step in description.get("steps", []):
        step["at"] = ""
        if step["name"] == "judge":
            for entries, names in zip((step["counts"], step["parameters"]), _OF_A_RUN, strict=True):
                for name in names:
                    entries.pop(name)
    return description


def journal(corpus: Path) -> list[dict[str, Any]]:
    """The answers in a journal, by its whole lines."""
    entries = []
    for segment in sorted((corpus / "journal").glob("segment-*.jsonl")):
        whole, _, _ = segment.read_bytes().rpartition(b"\n")
        entries += [json.loads(line) for line in whole.split(b"\n") if line]
    return entries


def counts_add_up(shown: str) -> None:
    """``rows = samples + duplicates + rejects``, as an ingest prints it."""
    match = re.search(r"([\d,]+) rows = ([\d,]+) samples \+ ([\d,]+) duplicates merged \+ ([\d,]+) rejects", shown)
    assert match, shown
    rows, *parts = (int(number.replace(",", "")) for number in match.groups())
    assert rows == sum(parts), match.group()
