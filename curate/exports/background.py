"""Work in threads beside the main one: Arrow, reading and hashing leave Python's lock, so they overlap with the rest.

Each holds one piece of work at a time, because what a piece works on is held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """``work`` on each item, in order, the next one in ``pool`` while the caller is busy with the result."""
    running: Future[Result] | None = None
    for item in items:
        ready, running = running, pool.submit(work, item)
        if ready is not None:
            yield ready.result()
    if running is not None:
        yield running.result()


class Behind:
    """Runs what it is given in a thread, in order, while the caller goes on; a context manager.

    What goes wrong is raised by the next call of :meth:`run` or :meth:`wait`.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def run(self, work: Callable[[], None]) -> None:
        """Begin ``work`` when what was given before is done."""
        self.wait()
        self._running = self._pool.submit(work)

    def wait(self) -> None:
        """Return when nothing is running."""
        running, self._running = self._running, None
        if running is not None:
            running.result()
