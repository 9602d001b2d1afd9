"""What ends a run early: the user, the budget, or an endpoint that is down."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque

from curate.judge.bill import StopKind

UNREACHABLE_SECONDS = 10.0
"""How long an endpoint that was never reached is tried: mostly its address is wrong, or it is not running."""
SLOW_REJECTION = 2.0
"""Seconds after which a request in flight is taken to be served rather than about to be rejected."""

JUST_NOW = 3.0
"""Seconds for which an endpoint that let something through counts as well."""
LAST_SAMPLES = 3
"""So few samples that always fail are no outage."""


class StoppedError(Exception):
    """The run is ending: start nothing new."""


class Stop:
    """Whether and why the run is ending. The first reason stays."""

    def __init__(self) -> None:
        self.kind: StopKind | None = None
        self.reason: str | None = None
        self._event = asyncio.Event()

    def request(self, kind: StopKind, reason: str) -> None:
        """End the run."""
        if self.kind is None:
            self.kind, self.reason = kind, reason
            self._event.set()

    def check(self) -> None:
        """Raise StoppedError when the run is ending."""
        if self.kind is not None:
            raise StoppedError

    async def sleep(self, seconds: float) -> None:
        """Sleep; StoppedError as soon as the run is ending."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
        raise StoppedError


class Budget:
    """Money that may be spent. What a request can cost at most is set aside before it is sent."""

    def __init__(self, limit: float | None) -> None:
        self._limit = limit
        self._spent = 0.0
        self._reserved = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def reserve(self, amount: float) -> bool:
        """Set an amount aside, waiting for requests in flight to turn out cheaper; False when it is not there."""
        while self._limit is not None and self._spent + self._reserved + amount > self._limit:
            if not self._reserved:
                return False
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            await freed
        self._reserved += amount
        return True

    def settle(self, reserved: float, cost: float) -> None:
        """Replace what was set aside by what it cost, or by what it may have cost."""
        self._reserved -= reserved
        if self._reserved < 1e-12:
            self._reserved = 0.0
        self._spent += cost
        while self._waiting:
            freed = self._waiting.popleft()
            if not freed.done():
                freed.set_result(None)


class Health:
    """Whether the endpoint lives, judged by what gets through. Times are from ``time.monotonic``."""

    def __init__(self, patience: float, timeout: float) -> None:
        self._patience = patience
        self._timeout = timeout
        self.goods = 0
        """Requests that got through."""
        self._good_at = -math.inf
        self._bad_since: float | None = None
        self._bad = 0
        self._bad_keys: set[str] = set()
        self._message = ""
        self._unreachable = False
        self._wait_until = 0.0

    def good(self) -> None:
        """Something got through."""
        self.goods += 1
        self._good_at = time.monotonic()
        self._bad_since, self._bad, self._wait_until = None, 0, 0.0
        self._bad_keys.clear()

    def well(self) -> bool:
        """Whether something got through just now."""
        return time.monotonic() - self._good_at < JUST_NOW

    def bad(self, key: str, message: str, *, unreachable: bool, retry_after: float | None) -> None:
        """A request about the sample ``key`` failed."""
        now = time.monotonic()
        if self._bad_since is None:
            self._bad_since = now
        self._bad += 1
        self._bad_keys.add(key)
        self._message = message
        self._unreachable = unreachable
        self._wait_until = max(self._wait_until, now + (retry_after or 0.0))

    def outage(self, oldest: float | None) -> str | None:
        """A sentence when the endpoint is down. ``oldest`` is when the oldest request in flight started, if any.

        That nothing gets through for some last samples is their own fault, when others got through before.
        """
        if self._bad_since is None or self._bad < 3 or (self.goods and len(self._bad_keys) <= LAST_SAMPLES):
            return None
        now = time.monotonic()
        silent = now - self._bad_since
        limit = self._patience
        if self._unreachable and not self.goods:
            limit = min(limit, UNREACHABLE_SECONDS)
        if oldest is not None and now - oldest > SLOW_REJECTION:
            limit += self._timeout
        if silent > limit:
            return f"nothing got through for {silent:.0f} s; the last problem: {self._message}"
        wait = self._wait_until - now
        if wait > self._patience and silent > min(5.0, limit):
            return f"the endpoint asks to wait for {wait:.0f} s: {self._message}"
        return None
