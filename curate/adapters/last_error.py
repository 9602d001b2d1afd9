"""What a trainer's output says went wrong, in one or two lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_COLOUR: Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_WORKER: Final = re.compile(r"^\(\w[\w.:-]* pid=\d+(?:, ip=[\d.]+)?\)\s?|^\[rank\d+\]:\s?")
"""What Ray and torchrun put before a line of one of their processes."""
_ERROR: Final = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Interrupt|NotFound|Exit)(?:\([\w.]+\))?(?::|$)"
)
_OTHERS_REPORT: Final = re.compile(
    r"ChildFailedError|RayTaskError|ActorDiedError|RayActorError|WorkerCrashedError|SystemExit"
)
"""Errors that only say that another process had one."""

_WORKER_KILLED: Final = re.compile(r"Signal 9 \(SIGKILL\) received|exitcode\s*:\s*-9\b")
"""What torchrun says of a worker that was killed."""
_KILLED: Final = "it was killed (SIGKILL), mostly because the machine's memory ran out: lower micro_batch_size"

_HINTS: Final = (
    (re.compile(r"CUDA out of memory|OutOfMemoryError"),
     "lower micro_batch_size; for grpo also gpu_memory_utilization"),
    (re.compile(r"No space left on device"), "free disk space and run the same command again"),
    (re.compile(r"Too many open files"), "raise the limit: ulimit -n 65536"),
    (re.compile(r"Address already in use"), "another training uses that port; set MASTER_PORT to a free one"),
    (re.compile(r"couldn't connect to|offline mode|LocalEntryNotFound|Repository Not Found|401 Client Error"),
     "the model is not on this machine: download it first, or name its directory as model"),
)  # fmt: skip


def clean(line: str) -> str:
    """A line of output without colours and without the name of the process that printed it."""
    return _WORKER.sub("", _COLOUR.sub("", line)).rstrip()


def last_error(lines: Sequence[str], status: int) -> str:
    """The last error in the output of a process that ended with ``status`` (negative: the signal that ended it).

    Errors that only report the failure of another process count when there is none besides them.
    """
    if status == -9:
        return _KILLED
    cleaned = [clean(line) for line in lines]
    places = [place for place, line in enumerate(cleaned) if _ERROR.match(line)]
    own = [place for place in places if not _OTHERS_REPORT.search(cleaned[place].split(":")[0])]
    if not own and any(_WORKER_KILLED.search(line) for line in cleaned):
        return _KILLED
    if places:
        message = _with_continuation(cleaned, (own or places)[-1])
    elif status < 0:
        message = f"it was ended by signal {-status}"
    else:
        said = [line for line in cleaned if line.strip()]
        message = said[-1] if said else f"it ended with status {status} and said nothing"
    hint = next((advice for pattern, advice in _HINTS if pattern.search(message)), None)
    return f"{message} ({hint})" if hint else message


def _with_continuation(lines: Sequence[str], place: int) -> str:
    """The error at ``place`` with the lines that belong to its message, up to a sensible length."""
    message = [lines[place]]
    for line in lines[place + 1 : place + 4]:
        if not line.strip() or _ERROR.match(line) or line.startswith(("Traceback", "During handling", "The above")):
            break
        message.append(line.strip())
    return " ".join(message)[:600]
