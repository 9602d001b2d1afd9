"""Asking the helpers, with the journal in front of them."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final, Literal

from curate.corpus import Corpus, Sample, UserError
from curate.judge.caller import GivenUpError
from curate.judge.client import Answer
from curate.judge.guard import StoppedError
from curate.judge.images import UnreadableImageError
from curate.judge.limiter import ClosedError
from curate.rollouts.entropy import answer_uncertainty
from curate.rollouts.funnel import Funnel
from curate.rollouts.plan import known_answer, question_digest
from curate.rollouts.question import Question, chat
from curate.rollouts.respond_options import Helper, RespondOptions
from curate.rollouts.scoring import right_answer, wrong_answer
from curate.rollouts.session import Line, Pictures, Session, tokens_of

Purpose = Literal["rebuild", "rewrite"]
TYPICAL: Final[dict[Purpose, int]] = {"rebuild": 30, "rewrite": 500}
"""Tokens of an answer, for estimates."""
TOP_LOGPROBS: Final = 10
"""Likeliest tokens that are asked for at each place of a rebuilt answer."""
WORST: Final = ("stopped", "failed", "refused")
"""What keeps a helper from answering; the first counts when there are several."""


class UnansweredError(Exception):
    """A helper has not answered; the message is one of :data:`WORST`."""


def helper_key(purpose: Purpose, question: Question, options: RespondOptions, helper: Helper) -> str:
    """The journal's key of a helper's answer."""
    digest = question_digest(purpose, question, options.helper_settings(helper))
    return hashlib.sha256(f"{digest}:0".encode()).hexdigest()


class Helpers:
    """Both helpers of a run; a line to one is opened with the first question to it."""

    def __init__(self, corpus: Corpus, options: RespondOptions, session: Session, funnel: Funnel) -> None:
        self._options = options
        self._session = session
        self._funnel = funnel
        self._pictures = Pictures(corpus, options.bound)
        self._lines: dict[str, Line] = {}
        self._under_way: dict[str, asyncio.Future[dict[str, Any] | str]] = {}

    def close(self) -> None:
        """Release the threads."""
        self._pictures.close()

    async def ask(self, purpose: Purpose, helper: Helper, sample: Sample, question: Question) -> dict[str, Any]:
        """The journal's entry with a helper's answer, asked for unless it is there. Raises UnansweredError."""
        key = helper_key(purpose, question, self._options, helper)
        known = known_answer(self._session.journal, key)
        if known is not None:
            self._funnel.reused += 1
            return known
        same = self._under_way.get(key)
        result = await asyncio.shield(same) if same is not None else None
        if result is None:
            future = self._under_way[key] = asyncio.get_running_loop().create_future()
            result = "stopped"
            try:
                result = await self._answered(purpose, helper, sample, question, key)
            finally:
                future.set_result(result)
                del self._under_way[key]
        if isinstance(result, str):
            raise UnansweredError(result)
        return result

    async def _answered(
        self, purpose: Purpose, helper: Helper, sample: Sample, question: Question, key: str
    ) -> dict[str, Any] | str:
        try:
            self._session.stop.check()
            if purpose not in self._lines:
                top = TOP_LOGPROBS if purpose == "rebuild" else 0
                self._lines[purpose] = self._session.line(helper, typical_reply=TYPICAL[purpose], top_logprobs=top)
            line = self._lines[purpose]
            factor = helper.price.image_factor if helper.price else 1.0
            async with self._pictures.urls(question.images) as urls:
                messages = chat(question, urls)
                if line.demo:
                    line.demo.teach(messages, right_answer(question, sample), wrong_answer(question, sample))
                tokens = tokens_of(question, self._options.bound, factor)
                note = _uncertainty if purpose == "rebuild" else None
                entry = await line.ask(key, tokens, messages, about=sample.id, note=note)
                if line.demo:
                    line.demo.forget(messages)
                return entry
        except (StoppedError, ClosedError):
            return "stopped"
        except GivenUpError:
            return "failed"
        except (UnreadableImageError, UserError):
            return "refused"


def _uncertainty(answer: Answer) -> dict[str, Any]:
    found = answer_uncertainty(answer.logprobs)
    return {} if found is None else {"measure": found.measure, "uncertainty": found.value}
