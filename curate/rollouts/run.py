"""Rolling out a corpus: queries in, k scored answers each out, with every answer journaled on the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Final

import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, Sample, UserError
from curate.judge.caller import GivenUpError
from curate.judge.guard import StoppedError
from curate.judge.images import UnreadableImageError
from curate.judge.journal import Journal
from curate.judge.limiter import ClosedError
from curate.rollouts.choice import Admit, Choice, corpus_sizes
from curate.rollouts.demo import Demo, demo_model
from curate.rollouts.options import TYPICAL_ANSWER, RolloutOptions
from curate.rollouts.plan import Attempt, Planner, Row, Task, journal_folder, queries
from curate.rollouts.question import chat
from curate.rollouts.report import RolloutSummary
from curate.rollouts.runs import check_same_run, write_run_info
from curate.rollouts.scoring import right_answer, wrong_answer
from curate.rollouts.session import Line, Pictures, Session
from curate.rollouts.shards import fingerprint_of, is_current, read_facts, write_run_shard
from curate.rollouts.tables import run_folder

CHUNK: Final = 128
"""Queries planned at a time: the first requests leave before a shard is read to its end."""


def rollout_corpus(
    corpus: Corpus,
    options: RolloutOptions,
    *,
    admit: Admit | None = None,
    progress: Callable[[RolloutSummary], None] | None = None,
    stop: threading.Event | None = None,
) -> RolloutSummary:
    """Answer the queries of a corpus k times each and write ``rollouts/<run>/``, asking only what the journal lacks.

    The caller holds ``corpus.lock()``. ``admit`` narrows down which samples are asked about. ``progress`` is called
    about ten times a second with the account so far. Setting ``stop`` (from a signal handler or another thread) lets
    requests in flight finish and ends the run.

    An endpoint that fails, a spent budget or a stop never raise: they leave queries unscored, and the summary's
    ``status`` and ``stopped`` say so. Raises UserError for options that cannot be, a corpus without queries, a run of
    this name by another model or asked otherwise, and a corpus that cannot be read or written.
    """
    options.check()
    check_same_run(corpus, options)
    with demo_model() if options.endpoint.demo else nullcontext() as demo:
        return asyncio.run(_Run(corpus, options, demo, admit, progress, stop).go())


@dataclass
class _Shard:
    """A samples shard whose answers are being collected."""

    path: Path
    target: Path
    fingerprint: str
    picked: frozenset[str] | None
    left: int = 1
    """Queries that are not settled; one more until the shard has been read to its end."""
    problems: dict[int, Row] = field(default_factory=dict)
    """By the place of the sample."""


class _Run:
    """One run. What asking needs is only made when there is something to ask."""

    def __init__(
        self,
        corpus: Corpus,
        options: RolloutOptions,
        demo: Demo | None,
        admit: Admit | None,
        progress: Callable[[RolloutSummary], None] | None,
        outer_stop: threading.Event | None,
    ) -> None:
        self._corpus = corpus
        self._options = options
        self._demo = demo
        self._admit = admit
        self._progress = progress
        self._outer_stop = outer_stop
        self._summary = RolloutSummary(cost=0.0 if options.price else None, k=options.k)
        self._planner = Planner(options)
        self._pictures = Pictures(corpus, options.bound)
        self._line: Line | None = None
        self._queue: asyncio.Queue[tuple[_Shard, Task] | None] = asyncio.Queue(2 * CHUNK)
        self._workers: list[asyncio.Task[None]] = []
        self._under_way: dict[str, asyncio.Future[Row | None]] = {}

    async def go(self) -> RolloutSummary:
        """Roll out the corpus; the account of it."""
        summary = self._summary
        summary.samples, summary.queries = await asyncio.to_thread(corpus_sizes, self._corpus)
        write_run_info(self._corpus, self._options)
        self._journal = await asyncio.to_thread(Journal, journal_folder(self._corpus))
        self._session = Session(
            self._journal,
            summary,
            self._options.budget,
            demo=self._demo,
            report=self._report,
            outer_stop=self._outer_stop,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                watcher = tasks.create_task(self._session.watch())
                await self._go_through_shards(tasks)
                for _ in self._workers:
                    await self._queue.put(None)
                await asyncio.gather(*self._workers)
                watcher.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from None
        finally:
            self._pictures.close()
            await self._session.close()
        left = summary.queries - summary.scored
        left -= summary.failed.total() + summary.refused.total() + summary.not_asked.total()
        if left:
            summary.not_asked["stopped"] += left
        self._report()
        return summary

    async def _go_through_shards(self, tasks: asyncio.TaskGroup) -> None:
        choice = await asyncio.to_thread(Choice, self._corpus, self._options, self._admit)
        folder = run_folder(self._corpus, self._options.run)
        for path in self._corpus.shards():
            if self._session.stop.kind is not None:
                return  # The rest keeps the facts it has.
            picked = await asyncio.to_thread(choice.of, path)
            target = folder / path.name
            fingerprint = fingerprint_of(path, self._options, picked)
            if await asyncio.to_thread(is_current, target, fingerprint) and await asyncio.to_thread(
                self._count_known, path, target
            ):
                continue
            await self._go_through(_Shard(path, target, fingerprint, picked), tasks)

    def _count_known(self, path: Path, target: Path) -> bool:
        """Enter facts that are up to date; False when they are damaged, to be made again."""
        facts = read_facts(target, path)
        if facts is None:
            return False
        self._summary.reused += pc.sum(facts["rollout_k"]).as_py() or 0
        self._count(path, facts)
        return True

    def _count(self, path: Path, facts: object) -> None:
        with pq.ParquetFile(path) as file:
            self._summary.add(facts, file.read(columns=["source"]).column("source"))

    async def _go_through(self, shard: _Shard, tasks: asyncio.TaskGroup) -> None:
        """Queue what has to be asked about a shard."""
        found = queries(shard.path)
        while chunk := await asyncio.to_thread(lambda: list(islice(found, CHUNK))):
            if self._session.stop.kind is not None:
                break
            for task in await asyncio.to_thread(self._plan, chunk, shard.picked):
                if self._line is None:
                    self._start_asking(tasks)
                shard.left += 1
                await self._queue.put((shard, task))
        await self._settled(shard)

    def _plan(self, chunk: list[tuple[int, Sample]], picked: frozenset[str] | None) -> list[Task]:
        asked = [(place, sample) for place, sample in chunk if self._planner.settled(sample, picked) is None]
        found = [self._planner.task(place, sample, self._journal) for place, sample in asked]
        tasks = [task for task in found if task is not None]
        self._summary.reused += len(asked) * self._options.k - sum(len(task.missing) for task in tasks)
        self._summary.done += len(chunk) - len(tasks)
        return tasks

    def _start_asking(self, tasks: asyncio.TaskGroup) -> None:
        options = self._options
        self._line = self._session.line(options, typical_reply=min(TYPICAL_ANSWER, options.max_tokens))
        # Answers to one query take unequally long: enough queries are under way to fill the places that wait for it.
        workers = 4 * ceil(options.concurrency / options.k) + 8
        self._workers = [tasks.create_task(self._work(self._line)) for _ in range(workers)]

    async def _work(self, line: Line) -> None:
        while (item := await self._queue.get()) is not None:
            shard, task = item
            problem = await self._ask(line, task)
            if problem is not None:
                shard.problems[task.position] = problem
            self._summary.done += 1
            await self._settled(shard)

    async def _ask(self, line: Line, task: Task) -> Row | None:
        """Ask for the missing answers to a query; what went wrong, if anything did."""
        try:
            self._session.stop.check()
            async with self._pictures.urls(task.missing[0].question.images) as urls:
                asked = (self._answer(line, task, attempt, urls) for attempt in task.missing)
                problems = await asyncio.gather(*asked)
                if line.demo:
                    for attempt in task.missing:
                        line.demo.forget(chat(attempt.question, urls))
        except (StoppedError, ClosedError):
            return None
        except UnreadableImageError as error:
            return Row("refused", f"image_unreadable: {error}")
        except UserError as error:
            return Row("refused", f"image_unavailable: {error}", again=True)
        return next((problem for problem in problems if problem is not None), None)

    async def _answer(self, line: Line, task: Task, attempt: Attempt, urls: list[str]) -> Row | None:
        """Ask for one answer, unless another query with the same words and pictures is asking for it."""
        same = self._under_way.get(attempt.key)
        if same is not None:
            return await asyncio.shield(same)
        outcome = self._under_way[attempt.key] = asyncio.get_running_loop().create_future()
        problem: Row | None = None
        messages = chat(attempt.question, urls)
        if line.demo:
            question, sample = attempt.question, task.sample
            line.demo.teach(messages, right_answer(question, sample), wrong_answer(question, sample))
        try:
            await line.ask(attempt.key, task.tokens_in, messages, about=task.sample.id, number=attempt.number)
        except (StoppedError, ClosedError):
            pass
        except GivenUpError as error:
            problem = Row("failed", str(error), again=True)
        finally:
            outcome.set_result(problem)
            del self._under_way[attempt.key]
        return problem

    async def _settled(self, shard: _Shard) -> None:
        shard.left -= 1
        if shard.left:
            return
        facts = await asyncio.to_thread(
            write_run_shard,
            shard.target,
            shard.path,
            self._planner,
            self._journal,
            self._options,
            picked=shard.picked,
            problems=shard.problems,
            fingerprint=shard.fingerprint,
        )
        await asyncio.to_thread(self._count, shard.path, facts)

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(self._summary)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception that a failure of tasks began with."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
