"""What to do about each sample: refuse it, leave it out, reuse an answer, or ask."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from curate.corpus import Sample
from curate.judge.journal import Journal
from curate.judge.price import TYPICAL_REPLY, image_tokens, text_tokens
from curate.judge.prompt import Prompt, request_key, sample_code
from curate.judge.reply import InvalidReplyError, parse_reply
from curate.judge.report import JudgeOptions
from curate.judge.shards import Row, may_be_sent
from curate.judge.verdict import derive


@dataclass(frozen=True, slots=True)
class Ask:
    """A sample that has to be sent to the judge."""

    sample: Sample
    prompt: Prompt
    key: str
    tokens_in: int
    """Estimated tokens of the request, rather too many."""


class Planner:
    """Decides sample by sample; sends nothing."""

    def __init__(self, options: JudgeOptions, journal: Journal | None) -> None:
        self._options = options
        self._journal = journal
        self._prompts: dict[tuple[str, bool], tuple[Prompt, int]] = {}
        for kind, rubric in options.rubrics.items():
            for with_images in (False, True):
                prompt = Prompt(rubric, with_images)
                self._prompts[kind, with_images] = prompt, text_tokens([prompt.system, str(prompt.schema)])

    def plan(self, samples: Iterable[Sample], chosen: frozenset[str] | None) -> list[Row | Ask]:
        """One entry for each sample, in order: the row that settles it, or what to ask. Works in any thread."""
        return [self._plan(sample, chosen) for sample in samples]

    def _plan(self, sample: Sample, chosen: frozenset[str] | None) -> Row | Ask:
        options = self._options
        if not may_be_sent(sample.privacy, sample.source, options):
            return Row("refused", "not_deidentified")
        if chosen is not None and sample.id not in chosen:
            return Row("not_asked", "not_in_sample")
        prompt, prompt_tokens = self._prompts[sample.kind, bool(sample.images)]
        key = request_key(sample, prompt, options.settings)
        row = self._from_journal(prompt, key)
        if row is not None:
            return row
        tokens = prompt_tokens + text_tokens(sample.texts()) + 60 * len(sample.turns)
        tokens += text_tokens([*sample.answer, *(text for _, text in sample.choices)])
        factor = options.price.image_factor if options.price else 1.0
        tokens += sum(image_tokens(*options.bound.size(image), factor) for image in sample.images)
        return Ask(sample, prompt, key, tokens)

    def _from_journal(self, prompt: Prompt, key: str) -> Row | None:
        entry = self._journal.find(key) if self._journal is not None else None
        if entry is None:
            return None
        try:
            reply = parse_reply(entry["reply"], prompt, sample_code(key))
        except InvalidReplyError:  # It was good enough for another version of curate.
            return None
        return Row("scored", verdict=derive(reply, prompt.rubric), key=key)


@dataclass
class JudgeEstimate:
    """What judging would take."""

    samples: int = 0
    requests: int = 0
    """Samples to ask about; requests that have to be repeated come on top."""
    reused: int = 0
    """Samples whose answers are there already."""
    refused: int = 0
    not_asked: int = 0
    """Samples outside ``--sample``."""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None
    """US dollars; None when the price is not known."""

    def add(self, planned: Iterable[Row | Ask], options: JudgeOptions) -> None:
        """Enter what is planned for some samples."""
        for item in planned:
            self.samples += 1
            if isinstance(item, Ask):
                self.requests += 1
                self.tokens_in += item.tokens_in
                self.tokens_out += TYPICAL_REPLY
            elif item.status == "scored":
                self.reused += 1
            elif item.status == "refused":
                self.refused += 1
            else:
                self.not_asked += 1
        self.cost = options.price.cost(self.tokens_in, self.tokens_out) if options.price else None
