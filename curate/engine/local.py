"""Run a shard function over many shards on this machine: a pool of processes, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import TypeVar

from curate.engine.memory import keep_freed_memory
from curate.engine.processes import usable_cores, worker_processes

Result = TypeVar("Result")


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
    keep_freed_memory()
    if len(shards) <= 1 or cores == 1:
        for shard in shards:
            yield shard, function(shard, cores)
        return
    with worker_processes(min(cores, len(shards)), remedy="run again with fewer --workers") as submit:
        waiting = iter(shards)
        running: dict[Future[Result], Path] = {}
        while True:
            for shard in waiting:
                running[submit(function, shard, 1)] = shard
                if len(running) >= 2 * cores:
                    break
            if not running:
                return
            # With a timeout: Polars' handler of SIGINT makes a wait without one go on, unnoticed by Python.
            for done in wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done:
                yield running.pop(done), done.result()
