"""How many requests to have in flight: found from what the endpoint answers, without being told its limit.

The logic alone, with no clock and no tasks, so that it can be read and tested on its own; :mod:`curate.judge.limiter`
makes tasks wait for it. It is slow start with multiplicative cuts, refined in three ways:

* A rejection is a sign of load only when more requests were in flight than the endpoint is known to have served at the
  same time. An endpoint that rejects at random is not slowed down by it.
* The number at which a rejection came is remembered as the ceiling. The way back up to it is quick; raising it is tried
  rarely, and ever more rarely while it fails.
* Growth is spread over the time that an answer takes. Answers come in waves when requests start together, and growing
  with each wave at once would overshoot by half a wave before the first rejection is back.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

START = 40
"""Requests in flight at first: twice as many are reached within two answers' time."""
CUT = 0.8
"""Factor on the number in flight after a rejection that is a sign of load."""
WINDOW = 48
"""Latest answers looked at to tell an overloaded or failing endpoint from one that rejects by chance."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds without any new request when an endpoint is overloaded or failing; doubled each time in a row."""
LONGEST_WAIT = 16
"""Most rounds of clean answers to wait for, after a fall, before trying to raise the ceiling."""


@dataclass(slots=True)
class Call:
    """One request in flight."""

    number: int
    started: float
    level: int
    """Requests in flight when it started, itself included, as seen from here: at most these were being served."""
    sure: int
    """Those of them that were too young to be answered: at least these were being served, unless rejected."""
    beyond: bool
    """Whether ``level`` was more than the endpoint was known to serve."""


@dataclass(slots=True)
class Tally:
    """Calls started and how many of them were rejected."""

    started: int = 0
    rejected: int = 0


class Pace:
    """The number of requests allowed in flight. Times are seconds of any steady clock."""

    def __init__(self, maximum: int, start: int = START) -> None:
        self.maximum = maximum
        self.limit: float = min(start, maximum)
        self.ceiling: int | None = None
        """Number in flight that the endpoint is thought to bear; None until it rejected something."""
        self.hold_until = -math.inf
        """No new request before this time."""
        self._calls: dict[int, Call] = {}
        self._next = 0
        self._counts_from = 0  # Answers to calls started before the last cut say nothing about the limit after it.
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._fastest = math.inf
        self._proven = 0
        self._proves_from = 0  # What was served before an overload says nothing about what is served after it.
        self._within = Tally()  # Calls started with no more in flight than is proven to be served.
        self._beyond = Tally()  # Calls started with more.
        self._evidence = Tally()  # What the ceiling rests on.
        self._pause = FIRST_PAUSE
        self._room = 0  # Growth that answers have earned.
        self._grown_at = -math.inf
        self._clean = 0
        self._wait_after_fall = self._wait = 2  # Rounds; a round is as many answers as there may be calls in flight.
        self._step = 1

    @property
    def in_flight(self) -> int:
        """Requests started and not answered."""
        return len(self._calls)

    @property
    def oldest(self) -> float | None:
        """When the oldest request in flight started; None when there is none."""
        return next((call.started for call in self._calls.values()), None)

    def may_start(self, now: float) -> bool:
        """Whether another request may start now."""
        self._grow(now)
        return len(self._calls) < int(self.limit) and now >= self.hold_until

    def next_start(self, now: float) -> float | None:
        """When to ask again if no request may start now; None: after the next answer."""
        if now < self.hold_until:
            return self.hold_until
        if self._room and self.ceiling is None and int(self.limit) < self.maximum:
            return self._grown_at + self._fastest / self.limit
        return None

    def start(self, now: float) -> Call:
        """A request starts."""
        # A tenth of the shortest answer's time is left for the way there and back.
        unanswered = now - 0.9 * self._fastest
        sure = 1
        for other in reversed(self._calls.values()):
            if other.started <= unanswered:
                break
            sure += 1
        level = len(self._calls) + 1
        call = Call(self._next, now, level, sure, level > self._proven)
        self._next += 1
        self._calls[call.number] = call
        (self._beyond if call.beyond else self._within).started += 1
        return call

    def abandoned(self, call: Call) -> None:
        """The request was given up on this side: nothing is learned."""
        del self._calls[call.number]

    def accepted(self, call: Call, now: float) -> None:
        """The endpoint served the request."""
        del self._calls[call.number]
        self._pause = FIRST_PAUSE
        self._fastest = min(self._fastest, now - call.started)
        if call.number >= self._proves_from:
            self._proven = max(self._proven, call.sure)
            if self.ceiling is not None and call.sure > self.ceiling:
                self.ceiling = None
            if self.ceiling is None:
                self.limit = max(self.limit, call.sure)
        if call.number < self._counts_from:
            return
        self._recent.append(True)
        if self.ceiling is None:
            if 2 * len(self._calls) >= self.limit - 2:
                self._room = min(self._room + 1, int(self.limit))
        elif self.limit < self.ceiling:
            self.limit = min(self.ceiling, self.limit + 4 / self.limit)
        else:
            self._clean += 1
            if self._clean >= self._wait * self.limit:
                self._raise_ceiling()

    def rejected(self, call: Call, now: float, retry_after: float | None = None) -> None:
        """The endpoint refused the request for load (429, 503, 529); ``retry_after`` as it asked, in seconds."""
        del self._calls[call.number]
        for other in reversed(self._calls.values()):
            if other.number < call.number:
                break
            other.sure -= 1
        if call.number < self._counts_from:
            return
        self._recent.append(False)
        if self._mostly_failing():
            self._back_off(now, retry_after)
        elif call.level <= self._proven:
            if call.beyond:
                self._beyond.started -= 1
                self._within.started += 1
            self._within.rejected += 1
            if self.ceiling is not None and not self._is_load(self._evidence):
                self.ceiling = None
        else:
            self._beyond.rejected += 1
            if self._is_load(self._beyond):
                self._cut(call.level)

    def failed(self, call: Call, now: float) -> None:
        """The request failed for another reason (5xx, a timeout, a broken connection)."""
        del self._calls[call.number]
        if call.number < self._counts_from:
            return
        self._recent.append(False)
        if self._mostly_failing():
            self._hold(now, None)

    def _grow(self, now: float) -> None:
        """Take up the room that answers have earned, at most as much as doubles the limit in an answer's time."""
        if not self._room or self.ceiling is not None:
            return
        earned = min(self._room, (now - self._grown_at) * self.limit / self._fastest)
        grown = int(min(earned, self.maximum - int(self.limit)))
        if grown:
            self.limit += grown
            self._room -= grown
            self._grown_at = now

    def _is_load(self, tally: Tally) -> bool:
        """Whether calls beyond the proven load were rejected clearly more often than those within it."""
        by_chance = self._within.rejected
        if not by_chance:
            return tally.rejected >= (2 if self.ceiling is None else 1)
        return tally.rejected > 1 + 3 * tally.started * by_chance / self._within.started

    def _mostly_failing(self) -> bool:
        answers, good = len(self._recent), sum(self._recent)
        return (answers >= WINDOW // 4 and 2 * good < answers) or (answers == WINDOW and 3 * good < 2 * answers)

    def _cut(self, level: int) -> None:
        self._lower(max(1, level - 1), max(1.0, CUT * level))
        self._evidence, self._beyond = self._beyond, Tally()

    def _back_off(self, now: float, retry_after: float | None) -> None:
        half = max(1, int(self.limit / 2))
        self._lower(half, half)
        self._evidence = Tally(0, self._next + 1)  # Not to be explained by chance.
        self._proven, self._proves_from = 0, self._next
        self._within, self._beyond = Tally(), Tally()
        self._hold(now, retry_after)

    def _hold(self, now: float, retry_after: float | None) -> None:
        self._counts_from = self._next
        self._recent.clear()
        self.hold_until = now + max(self._pause, retry_after or 0.0)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)

    def _lower(self, ceiling: int, limit: float) -> None:
        self.ceiling, self.limit = ceiling, limit
        self._counts_from = self._next
        self._room = self._clean = 0
        self._wait = self._wait_after_fall = min(LONGEST_WAIT, 2 * self._wait_after_fall)
        self._step = 1

    def _raise_ceiling(self) -> None:
        assert self.ceiling is not None
        self.ceiling = min(self.maximum, self.ceiling + self._step)
        self.limit = float(self.ceiling)
        self._clean = 0
        self._wait = 1
        self._step *= 2
