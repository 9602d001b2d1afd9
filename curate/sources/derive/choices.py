"""Multiple-choice queries: shuffled, made open questions, or read out of the words of a question."""

from __future__ import annotations

from functools import partial

from curate.corpus import Part, Sample, Turn
from curate.rewards.choice import options_listed, options_named
from curate.sources.derive.answers import classify, needs_options, rephrased
from curate.sources.derive.context import Context
from curate.sources.derive.lineage import check_answerable, child, draw, question_of, text_of
from curate.sources.derive.option_lists import (
    Choices,
    bare_options,
    find_list,
    lists_some,
    locate_options,
    parse_options,
    without_formats,
)
from curate.sources.derive.queries import referenced
from curate.sources.derive.relettering import OF_LETTERS, OF_OTHERS, check_choices, movable, relettered
from curate.sources.rejects import RejectError


def shuffle_choices(sample: Sample, context: Context) -> Sample:
    """The options in another order under the same letters, in the choices and in the question; the answer follows.

    Options that speak of all others ("none of the above") stay last. The order depends on the id and the seed alone,
    every order being equally likely, so it may be the one there was.
    """
    moving = movable(sample)
    order = sorted(range(moving), key=lambda position: draw(context.seed, sample.id, f"option {position}"))
    order += range(moving, len(sample.choices))
    parts, choices, answer = relettered(sample, order)
    made = child(
        sample,
        context.name,
        context.seed,
        kind="query",
        turns=(*sample.turns[:-1], Turn("user", parts)),
        answer=answer,
        query_type=sample.query_type,
        choices=choices,
        order=order,
    )
    return check_answerable(made)


def choice_to_open(sample: Sample, context: Context) -> Sample:
    """The question without its options, answered by the text of the right one (Lingshu: word MCQs made open).

    Not for questions that make no sense without options; with ``rephrase`` one form of those is asked otherwise.
    """
    check_choices(sample)
    before, parts = question_of(sample)
    positions = referenced(sample)
    if len(positions) != 1 or sample.query_type == "multi_choice" or len(sample.answer) != 1:
        raise RejectError("several_answers", "several of its options are right; an open question has one answer")
    choices = bare_options(sample.choices)
    answer = choices[positions[0]][1]
    if OF_LETTERS.search(answer.strip()) or OF_OTHERS.search(answer.strip()):
        raise RejectError(
            "options_speak_of_others", f"its answer {answer[:60]!r} means something beside the other options only"
        )
    parts = _without_list(parts, choices, context)
    question = text_of(parts).strip()
    if context.rephrase and isinstance(parts[-1], str):
        parts = [*parts[:-1], rephrased(parts[-1])]
    if not question or (words := needs_options(text_of(parts))):
        why = f"{words!r} in its question asks for options" if question else "nothing but options is asked"
        raise RejectError("needs_its_options", why)
    query_type, reference = classify(answer, text_of(parts), context.max_words)
    made = child(
        sample,
        context.name,
        context.seed,
        kind="query",
        turns=(*before, Turn("user", tuple(parts))),
        answer=[reference],
        query_type=query_type,
    )
    return check_answerable(made)


def _without_list(parts: list[Part], choices: Choices, context: Context) -> list[Part]:
    """The question without the options that it lists, and without what it says about answering by letter."""
    place, listed = find_list(parts, partial(locate_options, choices=choices))
    if place is not None and listed is not None:
        head, tail = listed.cut(without_formats(str(parts[place]), context.formats))
        if tail:
            raise RejectError("options_in_question", f"its question goes on after its options: {tail[:60]!r}")
        parts = [*parts[:place], *([head] if head else []), *parts[place + 1 :]]
    cut = [without_formats(part, context.formats) if isinstance(part, str) else part for part in parts]
    if any(isinstance(part, str) and lists_some(part, choices) for part in cut):
        raise RejectError(
            "options_in_question", "its question lists options in part, or twice: they cannot be taken out"
        )
    return [part for part in cut if part != ""]


def words_to_choice(sample: Sample, context: Context) -> Sample:
    """A question whose words list its options, as a multiple-choice query that knows them.

    For data that came as text: "Which view is this? (A) axial (B) coronal", answered by "B" or "coronal".
    """
    if sample.choices:
        raise RejectError("has_choices", "its options are known already")
    before, parts = question_of(sample)
    place, listed = find_list(parts, lambda text: parse_options(without_formats(text, context.formats)))
    if place is None or listed is None:
        raise RejectError("no_choices", "its question lists no options A, B, ...")
    choices = listed.choices(str(parts[place]))
    positions: set[int] = set()
    for reference in sample.answer:
        found = options_named(reference, choices)
        if len(found) != 1:
            found = {position for position in options_listed(reference, choices) if isinstance(position, int)}
        if not found:
            raise RejectError(
                "answer_not_in_options", f"its reference {reference[:60]!r} is none of the options it lists"
            )
        positions |= found
    several = len(positions) > 1
    if several and sample.query_type != "multi_choice" and len(sample.answer) > 1:
        raise RejectError("unclear_reference", "its references, which are equally right, name different options")
    made = child(
        sample,
        context.name,
        context.seed,
        kind="query",
        turns=(*before, Turn("user", tuple(parts))),
        answer=[choices[position][0] for position in sorted(positions)],
        query_type="multi_choice" if several or sample.query_type == "multi_choice" else "choice",
        choices=choices,
    )
    return check_answerable(made)
