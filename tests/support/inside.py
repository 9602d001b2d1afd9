"""Run the ``curate`` command inside the test's own process: the same entry point without the start of a process.

For commands whose process is not what the test is about; :mod:`support.cli` runs them in one of their own.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from support.cli import Ran

from curate.cli.console import console
from curate.cli.main import main


def curate(*arguments: str | Path, env: dict[str, str] | None = None, columns: int = 200) -> Ran:
    """Run ``curate ARGUMENTS`` in this process; a traceback is always a failure."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    clean = {
        key: value
        for key, value in os.environ.items()
        if key == "CURATE_PSEUDONYM_KEY" or not key.startswith(("OPENAI_", "CURATE_"))
    }
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    status: object = 0
    with (
        mock.patch.dict(os.environ, {**clean, **(env or {})}, clear=True),
        mock.patch.object(sys, "argv", ["curate", *map(str, arguments)]),
        mock.patch.object(console, "_width", columns),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            status = end.code or 0
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    assert isinstance(status, int)
    said, told = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    assert "Traceback" not in told, told
    return Ran(status, said, told)
