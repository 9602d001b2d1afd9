"""Run a shard function over many shards on this machine: a pool of processes, a bounded number at a time."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
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
    result atomically: an interrupted run starts again at the shards that are missing.

    Raises whatever ``function`` raises, and UserError when a worker process was killed (mostly: out of memory).
    """
    cores = workers or usable_cores()
    if len(shards) <= 1 or cores == 1:
        for shard in shards:
            yield shard, function(shard, cores)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(cores, len(shards)), mp_context=context) as pool:
        waiting = iter(shards)
        running: dict[Future[Result], Path] = {}
        try:
            while True:
                for shard in waiting:
                    running[pool.submit(function, shard, 1)] = shard
                    if len(running) >= 2 * cores:
                        break
                if not running:
                    return
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), done.result()
        except BrokenProcessPool:
            raise UserError(
                "a worker process was killed, probably for lack of memory; run again with fewer --workers"
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
