"""The lines to endpoints of one run: opened together, watched together, and ended together."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol

from curate.corpus import Corpus, Image
from curate.judge.bill import Bill
from curate.judge.caller import Caller, CallOptions
from curate.judge.client import Answer, Client
from curate.judge.endpoint import Endpoint
from curate.judge.guard import Budget, Stop
from curate.judge.images import ImageBound, data_url
from curate.judge.journal import Journal
from curate.judge.limiter import Limiter, Memory
from curate.judge.pace import Pace
from curate.judge.price import image_tokens, text_tokens
from curate.rollouts.demo import Demo
from curate.rollouts.question import Question

TICK: Final = 0.1
"""Seconds between looks at the stop event, the endpoints' health and the progress display."""
DRAIN_SECONDS: Final = 30.0
"""How long requests in flight are waited for after an interrupt."""


class LineOptions(CallOptions, Protocol):
    """What a line needs to know."""

    @property
    def temperature(self) -> float:
        """Of sampling."""


class Line:
    """One endpoint, with a journal between it and whoever asks."""

    def __init__(
        self,
        options: LineOptions,
        *,
        session: Session,
        typical_reply: int,
        top_logprobs: int = 0,
    ) -> None:
        self._session = session
        self._model = options.endpoint.model
        self.demo = session.demo if options.endpoint.demo else None
        endpoint = Endpoint(self.demo.url, self._model) if self.demo else options.endpoint
        self.timeout = options.timeout
        self.pace = Pace(options.concurrency)
        self.limiter = Limiter(self.pace)
        self.client = Client(
            endpoint,
            concurrency=options.concurrency,
            timeout=options.timeout,
            temperature=options.temperature,
            max_tokens=options.max_tokens,
            mode="text",
            top_logprobs=top_logprobs,
        )
        self.caller = Caller(
            options,
            limiter=self.limiter,
            journal=session.journal,
            stop=session.stop,
            account=session.bill,
            budget=session.budget,
            typical_reply=typical_reply,
        )

    async def ask(
        self,
        key: str,
        tokens_in: int,
        messages: list[dict[str, Any]],
        *,
        about: str,
        number: int = 0,
        note: Callable[[Answer], dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        """The journal's entry with the answer, once it is on the disk. ``note`` makes fields that are kept beside it.

        ``about`` is the sample's id: requests about one sample may all fail for its own fault.
        Whatever a model says is an answer: an empty one, a refusal, one that was cut off. Raises GivenUpError without
        one, and StoppedError or ClosedError when the run is ending.
        """
        fields: dict[str, Any] = (
            {"seed": number} if self.demo else {}
        )  # Few endpoints know seeds; only the demo needs one.
        answer = await self.caller.answer(about, tokens_in, partial(self.client.chat, messages, **fields))
        entry = {
            "response": spoken(answer),
            "finish": answer.finish,
            "tokens": [answer.tokens_in, answer.tokens_out],
            "asked": self._model,
            "model": answer.model,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            **(note(answer) if note else {}),
        }
        await self.caller.keep(key, entry, ok=True)
        return entry


def spoken(answer: Answer) -> str:
    """All that a model said: thoughts that the endpoint tells apart stand in front, in ``<think>``, where the model
    wrote them and the reward looks for them."""
    said = answer.content or answer.refusal or ""
    thought = re.sub(r"</?think>", "", answer.reasoning or "").strip()
    return said if not thought or "<think>" in said else f"<think>{thought}</think>\n{said.lstrip()}"


class Session:
    """What the lines of a run share: journal, budget, account, and the reason to end."""

    def __init__(
        self,
        journal: Journal,
        bill: Bill,
        budget: float | None,
        *,
        demo: Demo | None,
        report: Callable[[], None],
        outer_stop: threading.Event | None,
    ) -> None:
        self.journal = journal
        self.bill = bill
        self.budget = Budget(budget)
        self.demo = demo
        self.stop = Stop()
        self._report = report
        self._outer_stop = outer_stop
        self._lines: list[Line] = []

    def line(self, options: LineOptions, *, typical_reply: int, top_logprobs: int = 0) -> Line:
        """Open a line to an endpoint."""
        line = Line(options, session=self, typical_reply=typical_reply, top_logprobs=top_logprobs)
        self._lines.append(line)
        return line

    async def watch(self) -> None:
        """Look after the run from outside until cancelled: stop it when it has to stop, and show how it goes."""
        ending_since: float | None = None
        while True:
            now = time.monotonic()
            if self._outer_stop is not None and self._outer_stop.is_set():
                self.stop.request("interrupted", "interrupted")
            for line in self._lines:
                outage = line.caller.health.outage(line.pace.oldest)
                if outage is not None:
                    self.stop.request("outage", f"the endpoint is down: {outage}")
            if self.stop.kind is not None:
                ending_since = now if ending_since is None else ending_since
                for line in self._lines:
                    line.limiter.close()
                    if now - ending_since >= self._drain_seconds(line):
                        line.caller.give_up_sent()
            self.count()
            self._report()
            await asyncio.sleep(TICK)

    def count(self) -> None:
        """Bring the account up to date."""
        bill = self.bill
        bill.elapsed = time.monotonic() - bill.started
        bill.in_flight = sum(line.pace.in_flight for line in self._lines)
        bill.limit = sum(int(line.pace.limit) for line in self._lines)
        bill.adapted = [sentence for line in self._lines for sentence in line.client.adapted]
        bill.stop_kind, bill.stopped = self.stop.kind, self.stop.reason

    async def close(self) -> None:
        """Close the connections and the journal."""
        for line in self._lines:
            await line.client.close()
        await self.journal.finish()
        self.count()

    def _drain_seconds(self, line: Line) -> float:
        """How long requests in flight are waited for when the run ends early: their answers may be paid for."""
        return {"interrupted": DRAIN_SECONDS, "budget": line.timeout}.get(self.stop.kind or "", 1.0)


class Pictures:
    """The pictures of questions as data URLs, a bounded number of bytes at a time."""

    def __init__(self, corpus: Corpus, bound: ImageBound) -> None:
        self._corpus = corpus
        self._bound = bound
        self._memory = Memory()
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="rollout-image")

    @asynccontextmanager
    async def urls(self, images: Sequence[Image]) -> AsyncIterator[list[str]]:
        """Hold the pictures in memory. Raises UnreadableImageError or UserError when there is no such picture."""
        sizes = [min(image.size, 2 * self._bound.bytes) for image in images]
        async with self._memory.hold(3 * sum(sizes)):
            loop = asyncio.get_running_loop()
            yield await loop.run_in_executor(self._threads, self._read, images) if images else []

    def close(self) -> None:
        """Release the threads."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _read(self, images: Sequence[Image]) -> list[str]:
        return [data_url(self._corpus.image_bytes(image), image, self._bound) for image in images]


def tokens_of(question: Question, bound: ImageBound, factor: float) -> int:
    """Tokens of a question, estimated rather high; ``factor`` is how a model counts pictures."""
    tokens = text_tokens(message.content for message in question.messages) + 20 * len(question.messages)
    return tokens + sum(image_tokens(*bound.size(image), factor) for image in question.images)
