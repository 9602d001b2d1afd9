"""Run a shard function over many shards on this machine: a pool of processes, a bounded number at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TypeVar

from curate.corpus import UserError

Result = TypeVar("Result")


def usable_cores() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_shards(
    function: Callable[[Path, int], Result], shards: Sequence[Path], *, workers: int | None = None
) -> Iterator[tuple[Path, Result]]:
    """Call ``function(shard, threads)`` for every shard and yield results as they finish.

    A single shard is worked on in this process with a thread for each core; several run in as many processes as there
    are cores, one thread each. ``function`` must be importable (or a ``functools.partial`` of such) and must write its
    result atomically: an interrupted run starts again at the shards that are missing. The processes end at once when
    the caller stops early or dies.

    Raises whatever ``function`` raises, and UserError when a worker process was killed (mostly: out of memory).
    """
    cores = workers or usable_cores()
    if len(shards) <= 1 or cores == 1:
        for shard in shards:
            yield shard, function(shard, cores)
        return
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    ending, lifeline = context.Pipe(duplex=False)
    with _signals_blocked():
        processes = min(cores, len(shards))
        pool = ProcessPoolExecutor(processes, context, initializer=_end_with_parent, initargs=(ending,))
    with ending, lifeline, pool:
        waiting = iter(shards)
        running: dict[Future[Result], Path] = {}
        try:
            while True:
                for shard in waiting:
                    with _signals_blocked():
                        running[pool.submit(function, shard, 1)] = shard
                    if len(running) >= 2 * cores:
                        break
                if not running:
                    return
                # With a timeout: Polars' handler of SIGINT makes a wait without one go on, unnoticed by Python.
                for done in wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
        except BrokenProcessPool:
            raise UserError(
                "a worker process was killed, probably for lack of memory; run again with fewer --workers"
            ) from None
        finally:
            if running:
                # What they work on is done again by the next run; to wait for it could take minutes.
                for worker in set(multiprocessing.active_children()) - others:
                    worker.kill()
            pool.shutdown(wait=True, cancel_futures=True)


_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Processes started here never see these signals, which a terminal sends to all; ours are only delayed."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent(ending: Connection) -> None:
    """End this worker process when the other end of the pipe goes, with the parent.

    Without this the workers of a killed run wait for work for ever, and hold its memory.
    """

    def watch() -> None:
        ending.poll(None)
        os._exit(1)

    threading.Thread(target=watch, name="end with parent", daemon=True).start()
