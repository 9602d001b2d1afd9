"""Asking about one sample until there is a usable answer, or a reason why there is none."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

from curate.corpus import Corpus, Sample, UserError
from curate.judge.caller import Caller, GivenUpError
from curate.judge.client import Answer, Client
from curate.judge.guard import Health, Stop, StoppedError
from curate.judge.images import UnreadableImageError, data_url
from curate.judge.journal import Journal
from curate.judge.limiter import ClosedError, Limiter, Memory
from curate.judge.plan import Ask
from curate.judge.prompt import correction, sample_code, user_content
from curate.judge.reply import LONGEST_REPLY, InvalidReplyError, Reply, parse_reply
from curate.judge.report import JudgeOptions, JudgeSummary
from curate.judge.shards import NOT_REACHED, Row
from curate.judge.verdict import derive

CORRECTIONS = 2
"""How often a sample is asked again when the reply cannot be used."""


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
        self._stop = stop
        self._summary = summary
        self._caller = Caller(options, limiter=limiter, journal=journal, stop=stop, account=summary)
        self._memory = Memory()
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="judge-image")
        self._under_way: dict[str, asyncio.Future[Row]] = {}

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

    @property
    def health(self) -> Health:
        """Whether the endpoint lives."""
        return self._caller.health

    def give_up_sent(self) -> None:
        """Wait no longer for requests in flight."""
        self._caller.give_up_sent()

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
            asked = [*content, correction(problem)] if problem else content
            answer = await self._caller.answer(ask.key, ask.tokens_in, partial(self._client.ask, ask.prompt, asked))
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
        await self._caller.keep(ask.key, entry, ok=not problem)
