"""Asking about one sample until there is a usable answer, or a reason why there is none."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from curate.corpus import Corpus, Sample, UserError
from curate.judge.client import AdaptedError, Answer, BadRequestError, CallFailedError, Client, HopelessError
from curate.judge.guard import Budget, Health, Stop, StoppedError
from curate.judge.images import UnreadableImageError, data_url
from curate.judge.journal import Journal
from curate.judge.limiter import ClosedError, Limiter, Memory, Rate
from curate.judge.pace import Call
from curate.judge.plan import Ask
from curate.judge.price import TYPICAL_REPLY, text_tokens
from curate.judge.prompt import correction, sample_code, user_content
from curate.judge.reply import LONGEST_REPLY, InvalidReplyError, Reply, parse_reply
from curate.judge.report import JudgeOptions, JudgeSummary
from curate.judge.shards import NOT_REACHED, Row
from curate.judge.verdict import derive

CORRECTIONS = 2
"""How often a sample is asked again when the reply cannot be used."""
TRIES = 6
"""How often a request may fail, while others get through, before the sample is given up for this run."""
REJECTIONS = 40
"""The same for rejections for load."""
FIRST_DELAY, LONGEST_DELAY, LONGEST_DELAY_WHEN_WELL = 0.1, 20.0, 0.5
"""Seconds before a failed request is tried again, doubled each time, half to one and a half times at random; while
others get through it need not wait long."""
BAD_REQUESTS = 3
"""Samples refused as bad requests, with nothing accepted, after which the requests themselves are at fault."""


class GivenUpError(Exception):
    """No usable answer for this sample in this run; the message is the reason."""


class Asker:
    """Asks about samples, one call each; any number of calls may be under way."""

    def __init__(
        self,
        corpus: Corpus,
        options: JudgeOptions,
        *,
        client: Client,
        limiter: Limiter,
        journal: Journal,
        stop: Stop,
        summary: JudgeSummary,
    ) -> None:
        self._corpus = corpus
        self._options = options
        self._client = client
        self._limiter = limiter
        self._journal = journal
        self._stop = stop
        self._summary = summary
        self.health = Health(options.patience, options.timeout)
        self._budget = Budget(options.budget)
        self._requests = Rate(options.requests_per_minute)
        self._tokens = Rate(options.tokens_per_minute)
        self._memory = Memory()
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="judge-image")
        self._under_way: dict[str, asyncio.Future[Row]] = {}
        self._sent: set[asyncio.Timeout] = set()
        self._bad_requests = 0
        self._token_error = 1.0  # How far the estimate of input tokens was exceeded at most.

    async def settle(self, ask: Ask) -> Row:
        """The row for a sample: scored, failed, refused, or not asked when the run is ending."""
        same = self._under_way.get(ask.key)
        if same is not None:
            return await asyncio.shield(same)
        outcome = self._under_way[ask.key] = asyncio.get_running_loop().create_future()
        row = NOT_REACHED
        try:
            row = await self._settle(ask)
        except (StoppedError, ClosedError):
            pass
        finally:
            outcome.set_result(row)
            del self._under_way[ask.key]
        return row

    def give_up_sent(self) -> None:
        """Wait no longer for requests in flight."""
        now = asyncio.get_running_loop().time()
        for scope in list(self._sent):
            scope.reschedule(now)

    def close(self) -> None:
        """Release the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _settle(self, ask: Ask) -> Row:
        self._stop.check()
        sizes = [min(image.size, 2 * self._options.bound.bytes) for image in ask.sample.images]
        async with self._memory.hold(3 * sum(sizes)):
            code = sample_code(ask.key)
            try:
                loop = asyncio.get_running_loop()
                urls = await loop.run_in_executor(self._threads, self._image_urls, ask.sample) if sizes else []
            except UnreadableImageError as error:
                return Row("refused", f"image_unreadable: {error}")
            except UserError as error:
                return Row("refused", f"image_unavailable: {error}", again=True)
            try:
                reply = await self._usable_reply(ask, user_content(ask.sample, code, urls), code)
            except GivenUpError as error:
                return Row("failed", str(error), key=ask.key, again=True)
        return Row("scored", verdict=derive(reply, ask.prompt.rubric), key=ask.key)

    def _image_urls(self, sample: Sample) -> list[str]:
        return [data_url(self._corpus.image_bytes(image), image, self._options.bound) for image in sample.images]

    async def _usable_reply(self, ask: Ask, content: list[dict[str, Any]], code: str) -> Reply:
        problem = ""
        for _ in range(1 + CORRECTIONS):
            answer = await self._answer(ask, [*content, correction(problem)] if problem else content)
            reply, problem = self._examine(answer, ask, code)
            await self._keep(ask, answer, problem)
            if reply is not None:
                return reply
            self._summary.invalid += 1
            self._summary.errors["invalid"] += 1
            if problem.startswith(("model_refused", "content_filter")):
                raise GivenUpError(problem)
        raise GivenUpError(f"invalid_reply: {problem}")

    def _examine(self, answer: Answer, ask: Ask, code: str) -> tuple[Reply | None, str]:
        """The reply in an answer, or what is wrong with it in our own words."""
        if answer.refusal:
            return None, "model_refused: the model declined to judge this sample"
        if answer.finish == "content_filter":
            return None, "content_filter: the endpoint's filter blocked the sample or the answer"
        if not answer.content:
            return None, "it was empty" if answer.finish != "length" else "it ran out of tokens before the answer"
        try:
            return parse_reply(answer.content, ask.prompt, code), ""
        except InvalidReplyError as error:
            return None, "it was cut off: be shorter" if answer.finish == "length" else str(error)

    async def _keep(self, ask: Ask, answer: Answer, problem: str) -> None:
        entry = {
            "reply": (answer.content or answer.refusal or "")[:LONGEST_REPLY],
            "problem": problem or None,
            "tokens": [answer.tokens_in, answer.tokens_out],
            "asked": self._options.endpoint.model,
            "model": answer.model,
            "mode": answer.mode,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        try:
            await self._journal.append(ask.key, entry, ok=not problem)
        except UserError as error:
            self._stop.request("hopeless", str(error))
            raise StoppedError from None

    async def _answer(self, ask: Ask, content: list[dict[str, Any]]) -> Answer:
        """Send a request until it is answered. Raises GivenUpError, or StoppedError when the run is ending."""
        trouble = _Trouble(self.health, self._options.patience)
        while True:
            wait = max(self._requests.take(), self._tokens.take(ask.tokens_in + TYPICAL_REPLY))
            if wait:
                await self._stop.sleep(wait)
            try:
                return await self._attempt(ask, content, urgent=trouble.times > 0)
            except AdaptedError:
                continue
            except BadRequestError as error:
                self._bad_request(error)
                raise GivenUpError(f"bad_request: {error}") from None
            except HopelessError as error:
                self._stop.request("hopeless", str(error))
                raise StoppedError from None
            except CallFailedError as error:
                await self._stop.sleep(trouble.delay(error))

    async def _attempt(self, ask: Ask, content: list[dict[str, Any]], *, urgent: bool) -> Answer:
        self._stop.check()
        price, summary = self._options.price, self._summary
        most = price.cost(ask.tokens_in * self._token_error, self._options.max_tokens) if price else 0.0
        if not await self._budget.reserve(most):
            self._stop.request("budget", f"the next request could exceed the budget of {self._options.budget:g} USD")
            raise StoppedError
        cost = 0.0
        try:
            call = await self._start(urgent=urgent)
            summary.requests += 1
            try:
                answer = await self._send(ask, content)
            except CallFailedError as error:
                if error.kind in ("rate_limited", "overloaded"):
                    self._limiter.rejected(call, error.retry_after)
                    summary.rejected += 1
                else:
                    self._limiter.failed(call)
                unreachable = error.kind == "unreachable"
                self.health.bad(ask.key, str(error), unreachable=unreachable, retry_after=error.retry_after)
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
            cost = self._bill(ask, answer)
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

    def _bill(self, ask: Ask, answer: Answer) -> float:
        """Enter an answer's tokens and cost into the account; the cost in US dollars."""
        summary = self._summary
        summary.answers += 1
        tokens_in, tokens_out = answer.tokens_in, answer.tokens_out
        if tokens_in is None or tokens_out is None:
            summary.tokens_estimated += 1
            tokens_in, tokens_out = ask.tokens_in, text_tokens([answer.content or ""])
        else:
            self._token_error = max(self._token_error, tokens_in / ask.tokens_in)
            self._tokens.correct(tokens_in + tokens_out - ask.tokens_in - TYPICAL_REPLY)
        summary.tokens_in += tokens_in
        summary.tokens_out += tokens_out
        price = self._options.price
        if price is None:
            return 0.0
        cost = price.cost(tokens_in, tokens_out)
        summary.cost = (summary.cost or 0.0) + cost
        return cost

    async def _send(self, ask: Ask, content: list[dict[str, Any]]) -> Answer:
        """Send a request; StoppedError when :meth:`give_up_sent` is called before it is answered."""
        try:
            async with asyncio.timeout(None) as scope:
                self._sent.add(scope)
                try:
                    return await self._client.ask(ask.prompt, content)
                finally:
                    self._sent.discard(scope)
        except TimeoutError:
            raise StoppedError from None

    def _bad_request(self, error: BadRequestError) -> None:
        """Tell a bad sample from a request that the endpoint never takes."""
        if self.health.goods:
            return
        endpoint = self._options.endpoint
        self._bad_requests += 1
        if error.status == 404:
            hint = "" if endpoint.url.endswith("/v1") else " (most addresses end in /v1)"
            self._stop.request(
                "hopeless",
                f"{endpoint.host} does not know the address{hint} or the model {endpoint.model} (404): {error}",
            )
        elif error.status in (403, 405) or self._bad_requests >= BAD_REQUESTS:
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
