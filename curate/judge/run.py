"""Judging a corpus: samples shards in, verdict shards out, with every answer journaled on the way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

from curate.corpus import Corpus, Sample, UserError, shard_fingerprint
from curate.judge.ask import Asker
from curate.judge.client import Client
from curate.judge.endpoint import Endpoint
from curate.judge.guard import Stop
from curate.judge.journal import Journal
from curate.judge.limiter import Limiter
from curate.judge.pace import Pace
from curate.judge.plan import Ask, JudgeEstimate, Planner
from curate.judge.report import JudgeOptions, JudgeSummary
from curate.judge.shards import (
    NOT_REACHED,
    UNFINISHED,
    Row,
    choose,
    count_verdicts,
    fingerprint_of,
    write_verdicts,
)

CHUNK = 256
"""Samples planned at a time: the first requests leave before a shard is read to its end."""
TICK = 0.1
"""Seconds between looks at the stop event, the endpoint's health and the progress display."""
DRAIN_SECONDS = 30.0
"""How long requests in flight are waited for after an interrupt."""


def judge_corpus(
    corpus: Corpus,
    options: JudgeOptions,
    *,
    progress: Callable[[JudgeSummary], None] | None = None,
    stop: threading.Event | None = None,
) -> JudgeSummary:
    """Judge the samples of a corpus and write ``verdicts/``, asking only what the journal has no answer to.

    The caller holds ``corpus.lock()``. ``progress`` is called about ten times a second with the account so far.
    Setting ``stop`` (from a signal handler or another thread) lets requests in flight finish and ends the run.

    An endpoint that fails, a spent budget or a stop never raise: they leave samples unscored, and the summary's
    ``status`` and ``stopped`` say so. Raises UserError for options that cannot be, and for a corpus that cannot be read
    or written.
    """
    options.check()
    if options.endpoint.demo:
        from curate.judge.demo import demo_judge

        with demo_judge() as url:
            endpoint = Endpoint(url, options.endpoint.model)
            return asyncio.run(_Run(corpus, options, endpoint, progress, stop).go())
    return asyncio.run(_Run(corpus, options, options.endpoint, progress, stop).go())


def estimate_corpus(corpus: Corpus, options: JudgeOptions) -> JudgeEstimate:
    """What :func:`judge_corpus` would ask, and what that would cost; nothing is sent.

    Raises UserError like it.
    """
    options.check()
    chosen = choose(corpus, options)
    estimate = JudgeEstimate()
    folder = corpus.path / "journal"
    journal = Journal(folder) if folder.exists() else None
    try:
        planner = Planner(options, journal)
        for shard in corpus.shards():
            picked = None if chosen is None else chosen[shard.name]
            samples = iter(corpus.samples(shard))
            while chunk := list(islice(samples, CHUNK)):
                estimate.add(planner.plan(chunk, picked), options)
    finally:
        if journal is not None:
            journal.close()
    return estimate


class _Shard:
    """A samples shard whose verdicts are being collected."""

    def __init__(self, target: Path, fingerprint: str, size: int) -> None:
        self.target = target
        self.fingerprint = fingerprint
        self.ids: list[str] = []
        self.kinds: list[str] = []
        self.rows = [NOT_REACHED] * size
        self.left = size


class _Run:
    """One run of the judge. What asking needs is only made when there is something to ask."""

    def __init__(
        self,
        corpus: Corpus,
        options: JudgeOptions,
        endpoint: Endpoint,
        progress: Callable[[JudgeSummary], None] | None,
        outer_stop: threading.Event | None,
    ) -> None:
        self._corpus = corpus
        self._options = options
        self._progress = progress
        self._outer_stop = outer_stop
        self._summary = JudgeSummary(cost=0.0 if options.price else None)
        self._stop = Stop()
        self._pace = Pace(options.concurrency)
        self._limiter = Limiter(self._pace)
        self._endpoint = endpoint
        self._journal: Journal | None = None
        self._client: Client | None = None
        self._asker: Asker | None = None
        self._queue: asyncio.Queue[tuple[_Shard, int, Ask] | None] = asyncio.Queue(2 * CHUNK)
        self._workers: list[asyncio.Task[None]] = []

    async def go(self) -> JudgeSummary:
        """Judge the corpus; the account of it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                ticker = tasks.create_task(self._tick())
                await self._go_through_shards(tasks)
                for _ in self._workers:
                    await self._queue.put(None)
                await asyncio.gather(*self._workers)
                ticker.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            if self._asker is not None:
                self._asker.close()
            if self._client is not None:
                await self._client.close()
            if self._journal is not None:
                await self._journal.finish()
        self._report()
        return self._summary

    async def _go_through_shards(self, tasks: asyncio.TaskGroup) -> None:
        shards = self._corpus.shards()
        chosen = await asyncio.to_thread(choose, self._corpus, self._options)
        self._summary.samples = await asyncio.to_thread(lambda: sum(map(_size, shards)))
        planner: Planner | None = None
        for shard in shards:
            picked = None if chosen is None else chosen[shard.name]
            target = self._corpus.facts_shard("verdicts", shard)
            fingerprint = fingerprint_of(shard, self._options, picked)
            known = await asyncio.to_thread(shard_fingerprint, target)
            if known == fingerprint or (known == fingerprint + UNFINISHED and self._stop.kind is not None):
                count_verdicts(target, self._summary)
                continue
            if planner is None:
                self._journal = await asyncio.to_thread(Journal, self._corpus.path / "journal")
                planner = Planner(self._options, self._journal)
            await self._go_through(shard, _Shard(target, fingerprint, _size(shard)), planner, picked, tasks)

    async def _go_through(
        self, path: Path, shard: _Shard, planner: Planner, picked: frozenset[str] | None, tasks: asyncio.TaskGroup
    ) -> None:
        """Settle what can be settled without asking, and queue the rest."""
        if not shard.left:
            await self._write(shard)
        samples = await asyncio.to_thread(self._corpus.samples, path)
        position = 0
        while chunk := await asyncio.to_thread(_next, samples):
            shard.ids += [sample.id for sample in chunk]
            shard.kinds += [sample.kind for sample in chunk]
            planned = await asyncio.to_thread(planner.plan, chunk, picked) if self._stop.kind is None else []
            for offset in range(len(chunk)):
                item = planned[offset] if planned else NOT_REACHED
                if isinstance(item, Ask):
                    if self._asker is None:
                        self._start_asking(tasks)
                    await self._queue.put((shard, position + offset, item))
                else:
                    self._summary.reused += item.status == "scored"
                    await self._settle(shard, position + offset, item)
            position += len(chunk)

    def _start_asking(self, tasks: asyncio.TaskGroup) -> None:
        options = self._options
        assert self._journal is not None
        self._client = Client(
            self._endpoint,
            concurrency=options.concurrency,
            timeout=options.timeout,
            temperature=options.temperature,
            max_tokens=options.max_tokens,
        )
        self._asker = Asker(
            self._corpus,
            options,
            client=self._client,
            limiter=self._limiter,
            journal=self._journal,
            stop=self._stop,
            summary=self._summary,
        )
        # More workers than places at the endpoint: some prepare, some wait to try again, some write to the journal.
        workers = 2 * options.concurrency + 8
        self._workers = [tasks.create_task(self._work(self._asker)) for _ in range(workers)]

    async def _work(self, asker: Asker) -> None:
        while (item := await self._queue.get()) is not None:
            shard, position, ask = item
            await self._settle(shard, position, await asker.settle(ask))

    async def _settle(self, shard: _Shard, position: int, row: Row) -> None:
        shard.rows[position] = row
        shard.left -= 1
        verdict = row.verdict
        if verdict is None:
            self._summary.count(row.status, row.reason, None, None, 1)
        else:
            self._summary.count(row.status, row.reason, verdict.decided, verdict.score, 1)
        if not shard.left:
            await self._write(shard)

    async def _write(self, shard: _Shard) -> None:
        try:
            await asyncio.to_thread(
                write_verdicts, shard.target, shard.ids, shard.kinds, shard.rows, self._options, shard.fingerprint
            )
        except OSError as error:
            raise UserError(f"{shard.target}: {error.strerror}; the answers are in the journal, run again") from None

    async def _tick(self) -> None:
        """Look after the run from outside: stop it when it has to stop, and show how it goes."""
        ending_since: float | None = None
        while True:
            now = time.monotonic()
            if self._outer_stop is not None and self._outer_stop.is_set():
                self._stop.request("interrupted", "interrupted")
            if self._asker is not None:
                outage = self._asker.health.outage(self._pace.oldest)
                if outage is not None:
                    self._stop.request("outage", f"the endpoint is down: {outage}")
            if self._stop.kind is not None:
                ending_since = now if ending_since is None else ending_since
                self._limiter.close()
                if self._asker is not None and now - ending_since >= self._drain_seconds:
                    self._asker.give_up_sent()
            self._report()
            await asyncio.sleep(TICK)

    @property
    def _drain_seconds(self) -> float:
        """How long requests in flight are waited for when the run ends early: their answers may be paid for."""
        return {"interrupted": DRAIN_SECONDS, "budget": self._options.timeout}.get(self._stop.kind or "", 1.0)

    def _report(self) -> None:
        summary = self._summary
        summary.elapsed = time.monotonic() - summary.started
        summary.in_flight = self._pace.in_flight
        summary.limit = int(self._pace.limit)
        if self._client is not None:
            summary.mode, summary.adapted = self._client.mode, self._client.adapted
        summary.stop_kind, summary.stopped = self._stop.kind, self._stop.reason
        if self._progress is not None:
            self._progress(summary)


def _size(shard: Path) -> int:
    size: int = pq.read_metadata(shard).num_rows
    return size


def _next(samples: Iterator[Sample]) -> list[Sample]:
    return list(islice(samples, CHUNK))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception that a failure of tasks began with."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
