"""Loaded by Python before anything else in the processes that the tests disturb; does what the environment says.

``FAULT_AT_OPEN``: JSON, file name -> what becomes of that file just before curate opens it for the first time, as
if somebody else had been at it since it was listed: ``vanish``, ``cut`` (to half its size), ``grow``, ``folder``.

``FAULT_CLOCK``: the wall clock leaps by up to twenty years at every look at it.
"""

import datetime as dt
import json
import os
import random
import sys
import time

_plans: dict[str, str] = json.loads(os.environ.get("FAULT_AT_OPEN", "{}"))


def _disturb(path: str, action: str) -> None:
    if action == "grow":
        with open(path, "ab") as file:  # noqa: PTH123 - pathlib is not loaded yet
            file.write(b"\0" * 1000)
    elif action == "cut":
        os.truncate(path, os.path.getsize(path) // 2)  # noqa: PTH202
    else:
        os.unlink(path)  # noqa: PTH108
        if action == "folder":
            os.mkdir(path)  # noqa: PTH102


def _at_open(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        path = os.fspath(arguments[0])
        action = _plans.pop(os.path.basename(path), None)  # noqa: PTH119
        if action is not None:
            _disturb(path, action)


if _plans:
    sys.addaudithook(_at_open)

if "FAULT_CLOCK" in os.environ:
    _chance = random.Random(os.environ["FAULT_CLOCK"])
    _time, _time_ns, _datetime = time.time, time.time_ns, dt.datetime

    def _leap() -> int:
        return _chance.randint(-20 * 365 * 86_400, 20 * 365 * 86_400)

    class _Leaping(_datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return _datetime.now(tz) + dt.timedelta(seconds=_leap())

    time.time = lambda: _time() + _leap()
    time.time_ns = lambda: _time_ns() + _leap() * 10**9
    dt.datetime = _Leaping  # type: ignore[misc]
