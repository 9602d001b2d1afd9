"""Queries out of conversations, conversations out of queries."""

from __future__ import annotations

from functools import partial

from curate.corpus import Sample, Turn
from curate.rewards.answer import answer_content, extract_answer
from curate.rewards.choice import options_listed, options_named
from curate.rewards.normalise import normalise
from curate.rewards.numeric import quantity
from curate.rewards.text import polarity
from curate.sources.derive.answers import classify
from curate.sources.derive.context import Context
from curate.sources.derive.instructions import is_chinese
from curate.sources.derive.lineage import (
    check_answerable,
    child,
    draw,
    question_of,
    reward_settings,
    text_of,
    with_text,
)
from curate.sources.derive.option_lists import (
    Choices,
    OptionList,
    bare_options,
    find_list,
    locate_options,
    parse_options,
    without_formats,
)
from curate.sources.rejects import RejectError

_LONGEST_CHOICE = 4_000
"""Characters of an answer that is looked for among options."""


def conversation_to_query(sample: Sample, context: Context) -> Sample:
    """The question of a conversation of one exchange, with its answer as a reference that a rule can verify.

    The question stays as it is. Options that it lists become choices; else the answer is a yes or no, a number, or a
    short phrase. Of an answer with reasoning, what stands between ``<answer>`` and ``</answer>`` counts.
    """
    roles = [turn.role for turn in sample.turns]
    if roles[-2:] != ["user", "assistant"] or roles[:-2] not in ([], ["system"]):
        raise RejectError("several_turns", "a query is one question with one answer; this has other turns")
    before, parts = sample.turns[:-2], list(sample.turns[-2].parts)
    if not text_of(parts).strip():
        raise RejectError("no_question", "its question has no text")
    said = sample.turns[-1].parts
    if not all(isinstance(part, str) for part in said):
        raise RejectError("image_in_answer", "its answer shows an image")
    full = text_of(said)
    answer = answer_content(extract_answer(full).rest) or full
    place, listed = find_list(parts, partial(_listed, context))
    choices: Choices = ()
    if place is not None and listed is not None:
        choices = listed.choices(str(parts[place]))
        query_type, answers = _choice(answer, choices)
    else:
        query_type, reference = classify(answer, text_of(parts), context.max_words)
        answers = [reference]
    turns = (*before, Turn("user", tuple(parts)))
    made = child(
        sample,
        context.name,
        context.seed,
        kind="query",
        turns=turns,
        answer=answers,
        query_type=query_type,
        choices=choices,
    )
    return check_answerable(made)


def _listed(context: Context, text: str) -> OptionList | None:
    return parse_options(without_formats(text, context.formats))


def _choice(answer: str, choices: Choices) -> tuple[str, list[str]]:
    """Query type and letters for an answer to a question that lists its options."""
    if len(answer) <= _LONGEST_CHOICE:
        named = options_named(answer, tuple(choices))
        if len(named) == 1:
            return "choice", [choices[named.pop()][0]]
        listed = options_listed(answer, tuple(choices)) if not named else set()
        positions = sorted(position for position in listed if isinstance(position, int))
        if len(positions) > 1:
            return "multi_choice", [choices[position][0] for position in positions]
    shown = " ".join(answer.split())[:60]
    raise RejectError(
        "answer_not_in_options", f"its question lists options, and its answer {shown!r} names none of them"
    )


def query_to_conversation(sample: Sample, context: Context) -> Sample:
    """A query as an example to learn from: the question, its options, the form of the answer, and the answer.

    Options are added unless the question lists them, and a sentence about the form of the answer unless it has one. A
    multiple-choice question is answered by the option's letter, a yes/no question in that form, a number with its unit;
    inside ``<answer>`` where the question or the system message speaks of it.
    """
    before, parts = question_of(sample)
    asked = text_of(parts)
    demanded = asked + "".join(text_of(turn.parts) for turn in before if turn.role == "system")
    if "<think>" in demanded:
        raise RejectError(
            "asks_for_reasoning", "it asks for reasoning inside <think>, and a query has none to learn from"
        )
    choices = bare_options(sample.choices)
    if choices and find_list(parts, partial(locate_options, choices=choices))[0] is None:
        parts = with_text(parts, "".join(f"\n{label}. {text}" for label, text in choices))
    formats = context.instructions.formats(asked, str(sample.query_type))
    form = formats[draw(context.seed, sample.id, "form of the answer") % len(formats)]
    if not any(sentence in asked for sentence in context.formats):
        parts = with_text(parts, f"\n{form}")
    answer = _spoken(sample, context, asked)
    if "<answer>" in demanded:
        answer = f"<answer>{answer}</answer>"
    turns = (*before, Turn("user", tuple(parts)), Turn("assistant", (answer,)))
    return child(
        sample, context.name, context.seed, kind="conversation", turns=turns, query_type_of_parent=sample.query_type
    )


def _spoken(sample: Sample, context: Context, asked: str) -> str:
    """The reference, in the form that the question asks for."""
    if not sample.answer:
        raise RejectError("no_answer", "it has no reference answer")
    first = sample.answer[0]
    if sample.query_type in ("choice", "multi_choice") and sample.choices:
        return ", ".join(sample.choices[position][0] for position in referenced(sample))
    if sample.query_type == "multi_choice":
        return ", ".join(sample.answer)
    if sample.query_type == "yes_no":
        yes = polarity(first)
        if yes is None:
            raise RejectError("not_yes_or_no", f"its reference {first[:60]!r} says neither yes nor no")
        language = context.instructions.languages["zh" if is_chinese(asked) else "en"]
        return language.yes_no[0 if yes else 1]
    unit = reward_settings(sample).get("unit")
    if sample.query_type == "numeric" and isinstance(unit, str) and unit.strip():
        value = quantity(first)
        if value is not None and value.unit is None:
            return f"{first} {unit.strip()}"
    return first


def referenced(sample: Sample) -> list[int]:
    """Positions of the options that the references name, in the order of the options; RejectError when unclear.

    Several references of a ``choice`` are equally right: the first counts. Those of a ``multi_choice`` go together.
    """
    if sample.query_type == "choice":
        named = option_meant(sample.answer[0], sample.choices) if sample.answer else set()
        if len(named) == 1:
            return list(named)
    else:
        listed = [options_listed(reference, sample.choices) for reference in sample.answer]
        found = {position for positions in listed for position in positions if isinstance(position, int)}
        if found and all(listed):
            return sorted(found)
    shown = ", ".join(sample.answer)[:60]
    raise RejectError("unclear_reference", f"its reference {shown!r} does not name one of its options clearly")


def option_meant(reference: str, choices: Choices) -> set[int]:
    """Positions of the options that a reference can mean: none or several when it is unclear."""
    return options_named(reference, tuple(choices)) or options_named(reference, bare_options(choices))


def same_text(one: str, other: str) -> bool:
    """Whether two texts are spellings of the same."""
    return normalise(one) == normalise(other)
