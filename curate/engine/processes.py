"""Worker processes that end with the process that started them, and never see the signals of its terminal."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from typing import Any

from curate.corpus import UserError
from curate.engine.memory import keep_freed_memory


def usable_cores() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def worker_processes(
    number: int, *, remedy: str, prepare: Callable[[], None] | None = None
) -> Iterator[Callable[..., Future[Any]]]:
    """A pool of at most ``number`` processes; what it gives is the pool's ``submit``.

    ``prepare`` runs first in each of them. It and what is submitted must be importable, or a ``functools.partial`` of
    such. When the block is left while work is under way, or this process dies, the processes end at once.

    Raises UserError when one of them was killed (mostly: out of memory); ``remedy`` says what to do then.
    """
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    ending, lifeline = context.Pipe(duplex=False)
    with _signals_blocked():
        pool = ProcessPoolExecutor(number, context, initializer=_begin, initargs=(ending, prepare))
    running: set[Future[Any]] = set()

    def submit(*call: Any) -> Future[Any]:
        try:
            with _signals_blocked():
                future = pool.submit(*call)
        except ValueError as error:  # it broke, and closed its pipes, while it was starting a process
            raise BrokenProcessPool from error
        running.add(future)
        future.add_done_callback(running.discard)
        return future

    with ending, lifeline, pool:
        done = False
        over = threading.Event()
        threading.Thread(target=_break_when_one_dies, args=(pool, others, over), daemon=True).start()
        try:
            yield submit
            done = not running
        except BrokenProcessPool:
            raise UserError(f"a worker process was killed, probably for lack of memory; {remedy}") from None
        finally:
            over.set()
            if not done:
                # What they work on is done again by the next run; to wait for it could take minutes.
                _break(pool, others)
            pool.shutdown(wait=True, cancel_futures=True)


def _break(pool: ProcessPoolExecutor, others: set[Any]) -> None:
    """Kill all workers.

    The pool itself only sends SIGTERM, which they do not see. And it would wait for ever for the rest of a result of
    which a worker had sent half, as long as this process holds the other end of that pipe too.
    """
    for worker in set(multiprocessing.active_children()) - others:
        worker.kill()
    with suppress(AttributeError, OSError):
        pool._result_queue._writer.close()  # type: ignore[attr-defined]


def _break_when_one_dies(pool: ProcessPoolExecutor, others: set[Any], over: threading.Event) -> None:
    while not over.wait(0.3):
        workers = list((pool._processes or {}).values())
        if wait_for([worker.sentinel for worker in workers], timeout=0) and not over.is_set():
            _break(pool, others)
            return


_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes started here never see these signals, which a terminal sends to all; ours are only delayed."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(ending: Connection, prepare: Callable[[], None] | None) -> None:
    """End this worker process when the other end of the pipe goes, with the parent.

    Without this the workers of a killed run wait for work for ever, and hold its memory.
    """

    def watch() -> None:
        ending.poll(None)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
    keep_freed_memory()
    if prepare is not None:
        prepare()
