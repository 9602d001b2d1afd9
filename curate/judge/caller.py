"""One request until it is answered: places, rates, budget and repeats, whatever is asked.

What stands in a request, and what its answer means, is the caller's business (:mod:`curate.judge.ask` for verdicts,
``curate.rollouts`` for responses).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from curate.corpus import UserError
from curate.judge.client import AdaptedError, Answer, BadRequestError, CallFailedError, HopelessError
from curate.judge.endpoint import Endpoint
from curate.judge.guard import Budget, Health, Stop, StoppedError
from curate.judge.journal import Journal
from curate.judge.limiter import Limiter, Rate
from curate.judge.pace import Call
from curate.judge.price import TYPICAL_REPLY, Price, text_tokens

TRIES = 6
"""How often a request may fail, while others get through, before the sample is given up for this run."""
REJECTIONS = 40
"""The same for rejections for load."""
FIRST_DELAY, LONGEST_DELAY, LONGEST_DELAY_WHEN_WELL = 0.1, 20.0, 0.5
"""Seconds before a failed request is tried again, doubled each time, half to one and a half times at random; while
others get through it need not wait long."""
BAD_REQUESTS = 3
"""Samples refused as bad requests, with nothing accepted, after which the requests themselves are at fault."""


Send = Callable[[], Awaitable[Answer]]
"""Sends the request once."""


class GivenUpError(Exception):
    """No usable answer for this sample in this run; the message is the reason."""


class CallOptions(Protocol):
    """What a user may say about requests."""

    @property
    def endpoint(self) -> Endpoint:
        """Who is asked."""

    @property
    def price(self) -> Price | None:
        """None when unknown."""

    @property
    def budget(self) -> float | None:
        """US dollars."""

    @property
    def concurrency(self) -> int:
        """Most requests in flight."""

    @property
    def requests_per_minute(self) -> float | None:
        """None for no bound."""

    @property
    def tokens_per_minute(self) -> float | None:
        """None for no bound."""

    @property
    def max_tokens(self) -> int:
        """Most tokens of an answer."""

    @property
    def timeout(self) -> float:
        """Seconds."""

    @property
    def patience(self) -> float:
        """Seconds."""


class Account(Protocol):
    """Where requests and their cost are counted."""

    requests: int
    answers: int
    rejected: int
    errors: Counter[str]
    tokens_in: int
    tokens_out: int
    tokens_estimated: int
    cost: float | None


class Caller:
    """Gets requests answered; any number of them may be under way."""

    def __init__(
        self,
        options: CallOptions,
        *,
        limiter: Limiter,
        journal: Journal,
        stop: Stop,
        account: Account,
        budget: Budget | None = None,
        typical_reply: int = TYPICAL_REPLY,
    ) -> None:
        """``budget`` is shared with other callers when given; ``typical_reply`` (tokens) is for the rate of tokens."""
        self._options = options
        self._limiter = limiter
        self._journal = journal
        self._stop = stop
        self._summary = account
        self._typical_reply = typical_reply
        self.health = Health(options.patience, options.timeout)
        self._budget = budget or Budget(options.budget)
        self._requests = Rate(options.requests_per_minute)
        self._tokens = Rate(options.tokens_per_minute)
        self._sent: set[asyncio.Timeout] = set()
        self._bad_requests: set[str] = set()
        self._token_error = 1.0  # How far the estimate of input tokens was exceeded at most.

    def give_up_sent(self) -> None:
        """Wait no longer for requests in flight."""
        now = asyncio.get_running_loop().time()
        for scope in list(self._sent):
            scope.reschedule(now)

    async def keep(self, key: str, entry: dict[str, Any], *, ok: bool) -> None:
        """Put an answer into the journal. Raises StoppedError when it cannot be written: the run is then ending."""
        try:
            await self._journal.append(key, entry, ok=ok)
        except UserError as error:
            self._stop.request("hopeless", str(error))
            raise StoppedError from None

    async def answer(self, key: str, tokens_in: int, send: Send) -> Answer:
        """Send a request until it is answered. ``key`` names what it is about; ``tokens_in`` is estimated rather high.

        Raises GivenUpError, or StoppedError when the run is ending.
        """
        trouble = _Trouble(self.health, self._options.patience)
        while True:
            wait = max(self._requests.take(), self._tokens.take(tokens_in + self._typical_reply))
            if wait:
                await self._stop.sleep(wait)
            try:
                return await self._attempt(key, tokens_in, send, urgent=trouble.times > 0)
            except AdaptedError:
                continue
            except BadRequestError as error:
                self._bad_request(key, error)
                raise GivenUpError(f"bad_request: {error}") from None
            except HopelessError as error:
                self._stop.request("hopeless", str(error))
                raise StoppedError from None
            except CallFailedError as error:
                await self._stop.sleep(trouble.delay(error))

    async def _attempt(self, key: str, tokens_in: int, send: Send, *, urgent: bool) -> Answer:
        self._stop.check()
        price, summary = self._options.price, self._summary
        most = price.cost(tokens_in * self._token_error, self._options.max_tokens) if price else 0.0
        if not await self._budget.reserve(most):
            self._stop.request("budget", f"the next request could exceed the budget of {self._options.budget:g} USD")
            raise StoppedError
        cost = 0.0
        try:
            call = await self._start(urgent=urgent)
            summary.requests += 1
            try:
                answer = await self._send(send)
            except CallFailedError as error:
                if error.kind in ("rate_limited", "overloaded"):
                    self._limiter.rejected(call, error.retry_after)
                    summary.rejected += 1
                else:
                    self._limiter.failed(call)
                unreachable = error.kind == "unreachable"
                self.health.bad(key, str(error), unreachable=unreachable, retry_after=error.retry_after)
                summary.errors[error.kind] += 1
                if error.kind in ("timeout", "broken_off", "garbled"):
                    cost = most  # It may be billed all the same.
                raise
            except (AdaptedError, BadRequestError, HopelessError):
                self._limiter.accepted(call)
                raise
            except BaseException:
                self._limiter.abandoned(call)
                cost = most
                raise
            self._limiter.accepted(call)
            self.health.good()
            cost = self._bill(tokens_in, answer)
            return answer
        finally:
            self._budget.settle(most, cost)

    async def _start(self, *, urgent: bool) -> Call:
        """A place at the endpoint, while the disk keeps up with the answers that are there."""
        most = self._options.concurrency
        while True:
            try:
                await self._journal.room(most)
            except UserError as error:
                self._stop.request("hopeless", str(error))
                raise StoppedError from None
            call = await self._limiter.start(urgent=urgent)
            if self._journal.has_room(most):
                return call
            self._limiter.abandoned(call)

    def _bill(self, estimated: int, answer: Answer) -> float:
        """Enter an answer's tokens and cost into the account; the cost in US dollars."""
        summary = self._summary
        summary.answers += 1
        tokens_in, tokens_out = answer.tokens_in, answer.tokens_out
        if tokens_in is None or tokens_out is None:
            summary.tokens_estimated += 1
            tokens_in, tokens_out = estimated, text_tokens([answer.content or ""])
        else:
            self._token_error = max(self._token_error, tokens_in / estimated)
            self._tokens.correct(tokens_in + tokens_out - estimated - self._typical_reply)
        summary.tokens_in += tokens_in
        summary.tokens_out += tokens_out
        price = self._options.price
        if price is None:
            return 0.0
        cost = price.cost(tokens_in, tokens_out)
        summary.cost = (summary.cost or 0.0) + cost
        return cost

    async def _send(self, send: Send) -> Answer:
        """Send a request; StoppedError when :meth:`give_up_sent` is called before it is answered."""
        try:
            async with asyncio.timeout(None) as scope:
                self._sent.add(scope)
                try:
                    return await send()
                finally:
                    self._sent.discard(scope)
        except TimeoutError:
            raise StoppedError from None

    def _bad_request(self, key: str, error: BadRequestError) -> None:
        """Tell a bad sample from a request that the endpoint never takes."""
        if self.health.goods:
            return
        endpoint = self._options.endpoint
        self._bad_requests.add(key)
        if error.status == 404:
            hint = "" if endpoint.url.endswith("/v1") else " (most addresses end in /v1)"
            self._stop.request(
                "hopeless",
                f"{endpoint.host} does not know the address{hint} or the model {endpoint.model} (404): {error}",
            )
        elif error.status in (403, 405) or len(self._bad_requests) >= BAD_REQUESTS:
            self._stop.request("hopeless", f"{endpoint.host} refuses the requests ({error.status}): {error}")


class _Trouble:
    """Failed attempts at one request: how long to wait before the next, and when to give up."""

    def __init__(self, health: Health, patience: float) -> None:
        self._health = health
        self._patience = patience
        self._goods = health.goods
        self._since = 0.0
        self._failures = self._rejections = 0
        self.times = 0

    def delay(self, error: CallFailedError) -> float:
        """Seconds to wait before trying again. A wait that the endpoint asks for is never cut short.

        Raises GivenUpError when others got through so often, or for so long, that it is this request's own fault.
        """
        now = time.monotonic()
        if not self.times:
            self._since = now
        self.times += 1
        others_got_through = self._health.goods > self._goods
        self._goods = self._health.goods
        if others_got_through:
            rejected = error.kind in ("rate_limited", "overloaded")
            self._rejections += rejected
            self._failures += not rejected
        too_long = self._goods and now - self._since > 1.5 * self._patience
        if self._failures >= TRIES or self._rejections >= REJECTIONS or too_long:
            raise GivenUpError(f"{error.kind}: {error}")
        longest = LONGEST_DELAY_WHEN_WELL if self._health.well() else LONGEST_DELAY
        own = min(longest, FIRST_DELAY * 2 ** min(self.times - 1, 10)) * random.uniform(0.5, 1.5)
        return own if error.retry_after is None else error.retry_after + random.uniform(0, min(own, 1.0))
