"""Responses for SFT from rollouts, by how often the model was right (stability-aware, InfiMed2, arXiv 2609.34798).

A question that is mostly answered rightly keeps one of its own explanations: the one from which another model rebuilds
the masked answer most surely. One that is sometimes answered rightly is explained by a stronger model, which is given
the answer. The rest is dropped.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from curate.corpus import Corpus, Sample
from curate.judge.journal import Journal
from curate.rollouts.candidates import Candidate, surest
from curate.rollouts.choice import corpus_sizes
from curate.rollouts.conversations import Writer, check_folder, written_folder
from curate.rollouts.demo import Demo, demo_model
from curate.rollouts.funnel import Funnel
from curate.rollouts.helping import WORST, Helpers, UnansweredError
from curate.rollouts.masking import explanation_of, masked, still_named
from curate.rollouts.plan import journal_folder
from curate.rollouts.question import Question, render
from curate.rollouts.respond_options import RespondOptions
from curate.rollouts.rolled import Rolled, rolled_queries
from curate.rollouts.scoring import score
from curate.rollouts.session import Session
from curate.rollouts.tables import RunInfo, find_run, read_run
from curate.rollouts.teaching import rebuild_question, rewrite_question, rewriting_fault

_CHUNK: Final = 64


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a question."""

    word: str
    """rebuilt, rewritten, or why it gets no response."""
    response: str = ""
    detail: dict[str, Any] | None = None


def respond(
    corpus: Corpus,
    options: RespondOptions,
    target: Path,
    *,
    progress: Callable[[Funnel], None] | None = None,
    stop: threading.Event | None = None,
) -> Funnel:
    """Write one response for each question that deserves one into ``target/responses.jsonl``; the account of it.

    The caller holds ``corpus.lock()``. Answers of the helpers are journaled as those of rollouts are. A run that ends
    early (budget, outage, interrupt) writes nothing to ``target``: the next one goes on from the journal. Raises
    UserError for options that cannot be, a rollout run that is not there or does not fit, and a ``target`` that holds
    anything else.
    """
    options.check()
    check_folder(target.resolve())
    run = find_run(corpus, options.run, text_only=False)
    info = read_run(corpus, run)
    helpers = [helper for helper in (options.rebuild, options.stronger) if helper is not None]
    with demo_model() if any(helper.endpoint.demo for helper in helpers) else nullcontext() as demo:
        return asyncio.run(_Respond(corpus, options, run, info, target, demo, progress, stop).go())


class _Respond:
    """One run."""

    def __init__(
        self,
        corpus: Corpus,
        options: RespondOptions,
        run: str,
        info: RunInfo,
        target: Path,
        demo: Demo | None,
        progress: Callable[[Funnel], None] | None,
        outer_stop: threading.Event | None,
    ) -> None:
        self._corpus = corpus
        self._options = options
        self._run = run
        self._info = info
        self._target = target
        self._demo = demo
        self._progress = progress
        self._outer_stop = outer_stop
        helpers = [helper for helper in (options.rebuild, options.stronger) if helper is not None]
        priced = all(helper.price is not None for helper in helpers)
        self._funnel = Funnel(cost=0.0 if priced else None, k=info.k)

    async def go(self) -> Funnel:
        """Make the responses; the account of it."""
        funnel = self._funnel
        _, funnel.queries = await asyncio.to_thread(corpus_sizes, self._corpus)
        journal = await asyncio.to_thread(Journal, journal_folder(self._corpus))
        self._session = Session(
            journal,
            funnel,
            self._options.rebuild.budget,
            demo=self._demo,
            report=lambda: self._progress(funnel) if self._progress else None,
            outer_stop=self._outer_stop,
        )
        self._helpers = Helpers(self._corpus, self._options, self._session, funnel)
        try:
            async with asyncio.TaskGroup() as tasks:
                watcher = tasks.create_task(self._session.watch())
                await self._write(tasks)
                watcher.cancel()
        except BaseExceptionGroup as group:
            _, others = group.split(_EarlyEndError)
            if others is not None:
                raise _first(others) from None
        finally:
            self._helpers.close()
            await self._session.close()
        return funnel

    async def _write(self, tasks: asyncio.TaskGroup) -> None:
        """Settle the questions in order, many at a time, and write those that get a response."""
        window = 4 * self._options.rebuild.concurrency
        pending: deque[tuple[Rolled, asyncio.Task[_Outcome]]] = deque()
        with written_folder(self._corpus, self._target) as writer:
            async for rolled in self._questions():
                if self._session.stop.kind is not None:
                    break
                pending.append((rolled, tasks.create_task(self._settle(rolled))))
                if len(pending) >= window:
                    await self._enter(*pending.popleft(), writer)
            while pending:
                await self._enter(*pending.popleft(), writer)
            if self._session.stop.kind is not None:
                raise _EarlyEndError  # The folder that was begun vanishes.

    async def _questions(self) -> AsyncIterator[Rolled]:
        found = rolled_queries(self._corpus, self._run, self._info)
        while chunk := await asyncio.to_thread(lambda: list(islice(found, _CHUNK))):
            self._funnel.read += len(chunk)
            for rolled in chunk:
                if rolled is None:
                    self._funnel.unscored += 1
                else:
                    yield rolled

    async def _enter(self, rolled: Rolled, task: asyncio.Task[_Outcome], writer: Writer) -> None:
        outcome = await task
        funnel = self._funnel
        funnel.questions += 1
        funnel.right += rolled.correct
        funnel.outcomes[outcome.word] += 1
        if outcome.detail is None:
            return
        question = self._asked(rolled.sample)
        derived = {
            "by": "respond",
            "route": outcome.word,
            "run": self._run,
            "source": rolled.sample.source,
            "correct": rolled.correct,
            "of": self._info.k,
            **outcome.detail,
        }
        source = self._options.source
        await asyncio.to_thread(writer.add, rolled.sample, question, outcome.response, derived, source=source)

    def _asked(self, sample: Sample) -> Question:
        """The question as the run put it."""
        return render(sample, self._info.system_prompt)

    async def _settle(self, rolled: Rolled) -> _Outcome:
        often, sometimes = self._options.thresholds(self._info.k)
        route = "rebuild" if rolled.correct >= often else "rewrite" if rolled.correct >= sometimes else "drop"
        self._funnel.routes[route] += 1
        if route == "drop":
            return _Outcome("mostly_wrong")
        if rolled.sample.privacy == "identified":
            # A record has no place for this mark: ingested, it would pass for a sample that identifies nobody.
            if route == "rebuild":
                self._funnel.explanations += len(rolled.right)
                self._funnel.open += len(rolled.right)
            return _Outcome("identified")
        if route == "rewrite" and self._options.stronger is None:
            return _Outcome("no_stronger_model")
        try:
            return await (self._rebuild(rolled) if route == "rebuild" else self._rewrite(rolled))
        except UnansweredError as error:
            return _Outcome(str(error))

    async def _rebuild(self, rolled: Rolled) -> _Outcome:
        """Choose the explanation from which the masked answer is rebuilt most surely."""
        sample, funnel = rolled.sample, self._funnel
        explained = [(response, explanation_of(response)) for response in rolled.right]
        funnel.explanations += len(explained)
        funnel.unexplained += sum(explanation is None for _, explanation in explained)
        asked = self._asked(sample)
        found = await asyncio.gather(
            *(
                self._rebuilt(sample, asked, response, explanation)
                for response, explanation in explained
                if explanation is not None
            ),
        )
        problems = [result for result in found if isinstance(result, str)]
        funnel.open += len(problems)
        funnel.named += sum(result is None for result in found)
        candidates = [result for result in found if isinstance(result, Candidate)]
        leading = [candidate for candidate in candidates if candidate.right]
        funnel.rebuilt += len(leading)
        funnel.not_rebuilt += len(candidates) - len(leading)
        if problems:
            raise UnansweredError(min(problems, key=WORST.index))
        if not leading:
            return _Outcome("not_rebuilt" if candidates else "still_named" if None in found else "unexplained")
        best, measure = surest(leading)
        funnel.chosen_by[measure] += 1
        detail = {"rebuilt": len(leading), "chosen_by": measure, "model": self._info.model}
        if measure != "length":
            detail["uncertainty"] = best.uncertainty
        return _Outcome("rebuilt", best.response, detail)

    async def _rebuilt(
        self, sample: Sample, asked: Question, response: str, explanation: str
    ) -> Candidate | str | None:
        """The explanation after its test; why there was none, in a word; None when its answer cannot be masked."""
        options = self._options
        text = masked(explanation, response, sample)
        if still_named(text, response, sample):
            return None
        question = rebuild_question(asked, text, with_images=options.with_images)
        try:
            entry = await self._helpers.ask("rebuild", options.rebuild, sample, question)
        except UnansweredError as error:
            return str(error)
        right = score(entry["response"], sample, asked).right
        return Candidate(response, right, len(explanation), entry.get("measure"), entry.get("uncertainty"))

    async def _rewrite(self, rolled: Rolled) -> _Outcome:
        """Have the stronger model explain the answer."""
        sample, stronger = rolled.sample, self._options.stronger
        assert stronger is not None
        asked = self._asked(sample)
        entry = await self._helpers.ask("rewrite", stronger, sample, rewrite_question(asked, sample))
        if not score(entry["response"], sample, asked).right:
            return _Outcome("rewritten_wrong")
        fault = rewriting_fault(entry["response"])
        if fault is not None:
            return _Outcome(f"rewritten_{fault}")
        model = entry.get("model") or stronger.endpoint.model
        return _Outcome("rewritten", entry["response"], {"model": model})


class _EarlyEndError(Exception):
    """The run ends early: nothing is written."""


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception that a failure of tasks began with."""
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
