"""What to do about each query: leave it out, refuse it, or ask, and under which keys its answers are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, Sample, UserError, from_table
from curate.judge.journal import Journal
from curate.judge.shards import may_be_sent
from curate.rollouts.options import RolloutOptions
from curate.rollouts.question import Question, render, untrainable
from curate.rollouts.scoring import Answerable
from curate.rollouts.session import tokens_of
from curate.rollouts.shuffle import orders

Status = Literal["scored", "failed", "refused", "not_asked"]

_KEY_FORMAT: Final = 1
_BATCH: Final = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """Why a query has not all of its answers."""

    status: Status
    reason: str
    """A word, with more after a colon."""
    again: bool = False
    """Whether the next run should try again."""


NOT_REACHED: Final = Row("not_asked", "stopped", again=True)
"""For queries that the run ended before."""


NOT_CHOSEN: Final = Row("not_asked", "not_in_sample")
"""For queries outside ``--sample`` and ``--selection``."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One answer that a query gets."""

    number: int
    key: str
    question: Question


@dataclass(frozen=True, slots=True)
class Task:
    """A query with the answers that are still to be asked for."""

    position: int
    """Place of the sample in its shard."""
    sample: Sample
    missing: tuple[Attempt, ...]
    tokens_in: int
    """Estimated tokens of one request, rather too many."""


class Planner:
    """Decides query by query; sends nothing. For any thread."""

    def __init__(self, options: RolloutOptions) -> None:
        self._options = options
        self._answerable = Answerable()
        self._factor = options.price.image_factor if options.price else 1.0

    def settled(self, sample: Sample, picked: frozenset[str] | None) -> Row | None:
        """Why a query is not asked at all; None when it is. ``picked`` holds the ids that are; None for all."""
        options = self._options
        if not may_be_sent(sample.privacy, sample.source, options):
            return Row("refused", "not_deidentified")
        if picked is not None and sample.id not in picked:
            return NOT_CHOSEN
        if (why := untrainable(sample)) is not None:
            return Row("refused", f"untrainable: {why}")
        if options.text_only and not any(isinstance(part, int) for turn in sample.turns for part in turn.parts):
            return Row("not_asked", "no_image")
        question = Question((), (), sample.choices, sample.answer)
        if (why := self._answerable.problem(sample, question)) is not None:
            return Row("refused", why)
        return None

    def attempts(self, sample: Sample) -> list[Attempt]:
        """The k answers of a query, in order: the first four are the same whatever k is."""
        options = self._options
        plain = self._render(sample)
        if not options.shuffle_options:
            return _attempts([plain] * options.k, self._digest(plain))
        found = []
        for number, order in enumerate(orders(sample, options.k)):
            question = plain if order is None else self._render(order)
            found.append(Attempt(number, _key(self._digest(question), number), question))
        return found

    def task(self, position: int, sample: Sample, journal: Journal | None) -> Task | None:
        """What is left to ask about a query; None when the journal has all its answers."""
        attempts = self.attempts(sample)
        missing = tuple(a for a in attempts if journal is None or known_answer(journal, a.key) is None)
        if not missing:
            return None
        tokens = max(tokens_of(attempt.question, self._options.bound, self._factor) for attempt in missing[:1])
        return Task(position, sample, missing, tokens)

    def _render(self, sample: Sample) -> Question:
        return render(sample, self._options.system_prompt, text_only=self._options.text_only)

    def _digest(self, question: Question) -> str:
        return question_digest("rollout", question, self._options.settings)


def question_digest(purpose: str, question: Question, settings: list[object]) -> str:
    """SHA-256 (hex) of all that an answer depends on: the messages, the pictures' bytes, the model and its settings.

    The reference is no part of it: a mended reference scores the same answers anew.
    """
    said = [[message.role, message.content] for message in question.messages]
    content = [_KEY_FORMAT, purpose, settings, said, [image.sha256 for image in question.images]]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()


def queries(shard: Path) -> Iterator[tuple[int, Sample]]:
    """The queries of a samples shard with their places in it, a bounded number in memory. Raises UserError when the
    shard cannot be read."""
    start = 0
    try:
        with pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                places = pc.indices_nonzero(pc.equal(batch.column("kind"), "query"))
                if len(places):
                    samples = from_table(pa.Table.from_batches([batch]).take(places))
                    yield from zip((start + place for place in places.to_pylist()), samples, strict=True)
                start += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{shard} cannot be read ({first_line}): ingest the raw data of its corpus again") from None


def known_answer(journal: Journal, key: str) -> dict[str, Any] | None:
    """The journal's entry with an answer; None without one, also where a line of the journal is damaged."""
    try:
        entry = journal.find(key)
    except orjson.JSONDecodeError:
        return None
    return entry if entry is not None and isinstance(entry.get("response"), str) else None


def journal_folder(corpus: Corpus) -> Path:
    """Where the paid answers of rollouts lie, apart from the judge's."""
    return corpus.path / "journal" / "rollouts"


def _attempts(questions: list[Question], digest: str) -> list[Attempt]:
    return [Attempt(number, _key(digest, number), question) for number, question in enumerate(questions)]


def _key(digest: str, number: int) -> str:
    return hashlib.sha256(f"{digest}:{number}".encode()).hexdigest()
