"""Run a function over a stream of items: in this process at first, in many when the work goes on."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar

from curate.engine.memory import keep_freed_memory
from curate.engine.processes import usable_cores, worker_processes

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_AHEAD = 128 * 2**20
"""Bytes of the items that are worked on or wait to be."""
_THREADS = 4
"""More only get into each other's way: most of what they do holds the interpreter's lock."""


def map_in_order(
    make: Callable[[], Callable[[Item], Result]],
    items: Iterable[Item],
    *,
    size: Callable[[Item], int],
    patience: float,
    workers: int | None = None,
) -> Generator[Result, None, None]:
    """Call ``make()(item)`` for every item and yield the results in the order of the items.

    Threads of this process begin. What comes after ``patience`` seconds of processor time is sent to as many processes
    as there are cores: each takes about half a second to start, which little work must not pay. ``make`` is called once
    in every process and must be importable, or a ``functools.partial`` of such. Items are taken a bounded number, and a
    bounded number of bytes by ``size``, ahead. The processes end at once when the caller stops early or dies.

    Raises whatever the function raises, and UserError when a worker process was killed (mostly: out of memory).
    """
    cores = workers or usable_cores()
    keep_freed_memory()
    running: deque[tuple[Future[Result], Item]] = deque()
    ahead = 0
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(min(cores, _THREADS)))
        stack.callback(lambda: [future.cancel() for future, _ in running])
        here = make()
        submit: Callable[..., Future[Result]] = threads.submit
        function = here
        end_of_patience = time.process_time() + patience if cores > 1 else float("inf")
        for item in items:
            if time.process_time() >= end_of_patience:
                remedy = "free some and run the same command again: it goes on where it stopped"
                pool = stack.enter_context(worker_processes(cores, remedy=remedy, prepare=partial(_prepare, make)))
                submit, function, end_of_patience = pool, _call, float("inf")
            running.append((submit(function, item), item))
            ahead += size(item)
            while len(running) > cores + 2 or (ahead > _MAX_AHEAD and len(running) > 1):
                ahead -= size(running[0][1])
                yield _result(*running.popleft(), here)
        while running:
            yield _result(*running.popleft(), here)


def _result(future: Future[Result], item: Item, here: Callable[[Item], Result]) -> Result:
    # With a timeout: Polars' handler of SIGINT makes a wait without one go on, unnoticed by Python.
    while not wait([future], timeout=0.2).done:
        pass
    try:
        return future.result()
    except RecursionError:  # lists and objects nested hundreds deep can't be sent to another process
        return here(item)


_function: Callable[[Any], Any]
"""What this worker process is for."""


def _prepare(make: Callable[[], Callable[[Any], Any]]) -> None:
    global _function  # noqa: PLW0603 - a worker process has one job
    _function = make()


def _call(item: Any) -> Any:
    return _function(item)
