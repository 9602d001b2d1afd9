"""Run the real ``curate`` command in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from curate.cli.main import main; main()"]


@dataclass(frozen=True)
class Ran:
    """What a finished command left."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def curate(*arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ran:
    """Run ``curate ARGUMENTS``; a traceback is always a failure."""
    unset = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "CURATE_JUDGE_MODEL", "CURATE_ROLLOUT_MODEL")
    unset += ("CURATE_REBUILD_MODEL", "CURATE_STRONGER_MODEL")
    clean = {key: value for key, value in os.environ.items() if key not in unset}
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env={**clean, "COLUMNS": "200", **(env or {})},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)
