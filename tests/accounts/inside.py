"""``curate`` as :mod:`support.cli` runs it, but for the verbs that only read: these run in this process, in a tenth
of the time."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from support.cli import Ran
from support.cli import curate as in_a_process

from curate.cli.main import main

READING = ("explain", "diff", "report")


def curate(*arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ran:
    """Run ``curate ARGUMENTS``; a traceback is always a failure."""
    if arguments[0] not in READING:
        return in_a_process(*arguments, cwd=cwd, env=env)
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    status: object = None
    try:
        with (
            chdir(cwd or Path.cwd()),
            patch.object(sys, "argv", ["curate", *map(str, arguments)]),
            patch.dict(os.environ, {"COLUMNS": "200", **(env or {})}),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            main()
    except SystemExit as end:
        status = end.code
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    said, told = (stream.buffer.getvalue().decode() for stream in (out, err))
    assert "Traceback" not in told, told
    assert isinstance(status, int)
    return Ran(status, said, told)
