"""What a response is worth, by the reward that training uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from curate.corpus import Sample, UserError
from curate.rewards import RewardError, compute_score, reference_problem
from curate.rewards.choice import options_listed, options_named
from curate.rollouts.question import Question

_MOST_KNOWN = 100_000


class Scored(NamedTuple):
    """One response, scored."""

    accuracy: float
    """0 to 1; a response without exactly one answer in tags has 0."""
    score: float
    """The reward: 0.1 for the form and 0.9 for the accuracy."""
    read: bool
    """Whether an answer of the query's type was found in the response."""

    @property
    def right(self) -> bool:
        """Whether the answer is wholly right."""
        return self.accuracy >= 1


def score(response: str, sample: Sample, question: Question) -> Scored:
    """Score a response to a question. Raises UserError when a team's own reward fails."""
    truth, extra = reference(sample, question)
    try:
        scored = compute_score(sample.source, response, truth, extra)
    except RewardError as error:
        raise UserError(f"sample {sample.id} ({sample.origin.file}:{sample.origin.row}): {error}") from None
    return Scored(scored["accuracy"], scored["score"], bool(scored["answer_read"]))


def reference(sample: Sample, question: Question) -> tuple[str, dict[str, Any]]:
    """``ground_truth`` and ``extra_info`` as the verl export writes them."""
    together = sample.query_type == "multi_choice"
    extra = {
        "query_type": sample.query_type,
        "answers": list(question.answer),
        "choices": [{"label": label, "text": text} for label, text in question.choices],
        "unit": _setting(sample.meta, "unit"),
        "absolute_tolerance": _number(_setting(sample.meta, "absolute_tolerance")),
        "relative_tolerance": _number(_setting(sample.meta, "relative_tolerance")),
    }
    return ", ".join(question.answer) if together else question.answer[0], extra


class Answerable:
    """Tells queries that no response could match. Equal references are looked at once. For any thread."""

    def __init__(self) -> None:
        self._known: dict[str, str | None] = {}

    def problem(self, sample: Sample, question: Question) -> str | None:
        """Why no response can be right, as a sentence with a word before a colon; None when one can."""
        truth, extra = reference(sample, question)
        asked = repr((truth, extra))
        if asked in (known := self._known):
            return known[asked]
        if len(known) >= _MOST_KNOWN:
            known = self._known = {}
        why = known[asked] = _problem(list(question.answer), extra)
        return why


def _problem(answers: list[str], extra: dict[str, Any]) -> str | None:
    try:
        why = reference_problem(answers, extra)
    except RewardError as error:
        return f"no_reward: {error}"
    return None if why is None else f"unanswerable: {why}"


def _setting(meta: Mapping[str, Any], name: str) -> str | None:
    """A field of the record, or of its ``extra_info``, as text."""
    inner = meta.get("extra_info")
    found = meta.get(name)
    if found is None and isinstance(inner, Mapping):
        found = inner.get(name)
    return found if found is None or isinstance(found, str) else str(found)


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def right_answer(question: Question, sample: Sample) -> str:
    """An answer that the reward takes for the reference, for the demo model."""
    if sample.query_type != "multi_choice" or not question.choices:
        return question.answer[0]
    return ", ".join(question.choices[place][0] for place in sorted(referenced(question.answer, question.choices)))


def wrong_answer(question: Question, sample: Sample) -> str:
    """An answer that is not the reference, for the demo model."""
    if sample.query_type == "yes_no":
        return "no" if question.answer[0].strip().casefold() in ("yes", "y", "true") else "yes"
    right = referenced(question.answer, question.choices)
    others = [label for place, (label, _) in enumerate(question.choices) if place not in right]
    return others[0] if others else "something else entirely"


def referenced(answer: Sequence[str], choices: Sequence[tuple[str, str]]) -> set[int]:
    """Places of all options that references name, whether they belong together or are equally right."""
    places: set[int] = set()
    for text in answer:
        named = options_named(text, choices) or options_listed(text, choices)
        places |= {place for place in named if isinstance(place, int)}
    return places
