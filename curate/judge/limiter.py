"""Makes requests wait: for room at the endpoint, and for the rates that the user set."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from curate.judge.pace import Call, Pace


class ClosedError(Exception):
    """No more requests are to be started."""


class Limiter:
    """Hands out places for requests, first come first served, as :class:`curate.judge.pace.Pace` allows."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self._waiting: deque[asyncio.Future[Call]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def start(self, *, urgent: bool = False) -> Call:
        """Wait for a place; an ``urgent`` request (one that is tried again) goes before the others.

        Raises ClosedError once :meth:`close` was called.
        """
        if self._closed:
            raise ClosedError
        now = time.monotonic()
        if (urgent or not self._waiting) and self.pace.may_start(now):
            return self.pace.start(now)
        place: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if urgent else self._waiting.append)(place)
        self._set_timer()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self.abandoned(place.result())
            raise

    def accepted(self, call: Call) -> None:
        """The endpoint served the request."""
        self.pace.accepted(call, time.monotonic())
        self._hand_out()

    def rejected(self, call: Call, retry_after: float | None) -> None:
        """The endpoint refused the request for load."""
        self.pace.rejected(call, time.monotonic(), retry_after)
        self._hand_out()

    def failed(self, call: Call) -> None:
        """The request failed for another reason."""
        self.pace.failed(call, time.monotonic())
        self._hand_out()

    def abandoned(self, call: Call) -> None:
        """The request was given up on this side."""
        self.pace.abandoned(call)
        self._hand_out()

    def close(self) -> None:
        """Start no more requests: everything that waits gets ClosedError."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_exception(ClosedError())

    def _hand_out(self) -> None:
        now = time.monotonic()
        while self._waiting and self.pace.may_start(now):
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(self.pace.start(now))
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        moment = self.pace.next_start(time.monotonic()) if self._waiting and not self._closed else None
        if moment is not None:
            # A millisecond on top, so that rounding never makes the timer come too early again and again.
            delay = max(0.0, moment - time.monotonic()) + 0.001
            self._timer = asyncio.get_running_loop().call_later(delay, self._hand_out)


class Memory:
    """Bounds the bytes of prepared requests that are in memory at a time."""

    def __init__(self, size: int = 512 * 1024 * 1024) -> None:
        self._size = size
        self._used = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        """Wait until there is room for ``amount`` bytes; one request alone may be larger than all there is."""
        while self._used and self._used + amount > self._size:
            freed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(freed)
            await freed
        self._used += amount
        try:
            yield
        finally:
            self._used -= amount
            while self._waiting:
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(None)


class Rate:
    """At most so much in a minute, spread evenly; a second's worth may come at once."""

    def __init__(self, per_minute: float | None) -> None:
        self._cost = None if per_minute is None else 60.0 / per_minute
        self._due = 0.0

    def take(self, amount: float = 1.0) -> float:
        """Take ``amount`` of the rate; the seconds to wait before using it."""
        if self._cost is None:
            return 0.0
        now = time.monotonic()
        self._due = max(self._due, now - 1.0) + amount * self._cost
        return max(0.0, self._due - now)

    def correct(self, amount: float) -> None:
        """Take ``amount`` more (less if negative): what was taken turned out to be wrong by this much."""
        if self._cost is not None:
            self._due += amount * self._cost
