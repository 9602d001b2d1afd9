"""Multiple-choice queries: shuffled, made open questions, or read out of the words of a question."""

from __future__ import annotations

import re
from functools import partial

from curate.corpus import Part, Sample, Turn
from curate.rewards.choice import options_listed, options_named
from curate.rewards.normalise import normalise
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
from curate.sources.derive.queries import option_meant, referenced, same_text
from curate.sources.rejects import RejectError

_OF_OTHERS = re.compile(
    r"\b(?:the|of)\s+(?:above|others?|foregoing|preceding)\b|\bof\s+(?:these|them|those)\b"
    r"|^(?:all|none|both|neither|either|any)(?:\s+(?:above|others?|options?|choices?|answers?|are\s+correct))?$"
    r"|以上|上述|前述|都(?:对|是|不是|正确|不对)$|均(?:是|不是|正确|不正确|可|对)$",
    re.IGNORECASE,
)
"""An option that speaks of all the others; it holds wherever they stand, as long as it comes after them."""
_LETTER = r"[(（]?[A-Z][)）]?"
_OF_LETTERS = re.compile(
    rf"^(?:both|either|neither|only|all\s+of)?\s*(?:options?\s+|choices?\s+)?{_LETTER}"
    rf"(?:\s*(?:,|、|/|&|\+|\band\b|\bor\b|\bnor\b|和|与|及|或)\s*{_LETTER})+\s*(?:only|are\s+correct|都对|都是|均是)?[.。]?$"
    rf"|\b(?:options?|choices?|answers?)\s+(?-i:{_LETTER})(?!\w)|选项\s*[A-Z]"
    r"|\b(?:former|latter)\b|\b(?:first|last|previous)\s+(?:one|two|three|options?|choices?)\b|前[一二两三]项|后[一二两三]项",
    re.IGNORECASE,
)
"""An option that names certain others, which get other letters."""
_STEM_NAMES_OPTIONS = re.compile(
    rf"\b(?:options?|choices?|answers?)\s+(?-i:{_LETTER})(?!\w)|选项\s*[A-Z]", re.IGNORECASE
)


def shuffle_choices(sample: Sample, context: Context) -> Sample:
    """The options in another order under the same letters, in the choices and in the question; the answer follows.

    Options that speak of all others ("none of the above") stay last. The order depends on the id and the seed alone,
    every order being equally likely, so it may be the one there was.
    """
    _check_choices(sample)
    before, parts = question_of(sample)
    choices = bare_options(sample.choices)
    moving = _movable(choices)
    named = [_named(sample, reference) for reference in sample.answer]
    if not named:
        raise RejectError("no_answer", "it has no reference answer")
    order = sorted(range(moving), key=lambda position: draw(context.seed, sample.id, f"option {position}"))
    order += range(moving, len(choices))
    texts = [choices[position][1] for position in order]
    relettered = tuple((label, text) for (label, _), text in zip(choices, texts, strict=True))
    place = {old: new for new, old in enumerate(order)}
    answer = [
        reference
        if len(positions) == 1 and same_text(reference, choices[next(iter(positions))][1])
        else ", ".join(relettered[new][0] for new in sorted(place[old] for old in positions))
        for reference, positions in zip(sample.answer, named, strict=True)
    ]
    made = child(
        sample,
        context.name,
        context.seed,
        kind="query",
        turns=(*before, Turn("user", tuple(_rewritten(parts, choices, texts)))),
        answer=answer,
        query_type=sample.query_type,
        choices=relettered,
        order=order,
    )
    meant = [{choices[old][1] for old in positions} for positions in named]
    if [{relettered[new][1] for new in _named(made, reference)} for reference in made.answer] != meant:
        raise RejectError("unclear_reference", "with other letters its reference would name another option")
    return check_answerable(made)


def _check_choices(sample: Sample) -> None:
    if sample.query_type not in ("choice", "multi_choice") or len(sample.choices) < 2:
        raise RejectError("no_choices", f"it is no multiple-choice question with options (type {sample.query_type})")


def _movable(choices: Choices) -> int:
    """How many of the options, from the first, may change places; those after them speak of all others."""
    labels = {normalise(label) for label, _ in choices}
    for label, text in choices:
        if _OF_LETTERS.search(text.strip()) or (normalise(text) in labels and normalise(text) != normalise(label)):
            raise RejectError(
                "options_name_letters", f"its option {text[:60]!r} speaks of other options by their letters"
            )
    last = [_OF_OTHERS.search(text.strip()) is not None for _, text in choices]
    moving = last.index(True) if any(last) else len(choices)
    if not all(last[moving:]):
        raise RejectError(
            "options_speak_of_others",
            f"its option {choices[moving][1][:60]!r} speaks of those before it, and is not last",
        )
    if moving < 2:
        raise RejectError("options_speak_of_others", "fewer than two of its options can change places")
    return moving


def _named(sample: Sample, reference: str) -> set[int]:
    """The options that one reference names, by position."""
    named = option_meant(reference, sample.choices)
    if sample.query_type == "multi_choice" and len(named) != 1:
        named = {position for position in options_listed(reference, sample.choices) if isinstance(position, int)}
    if not named or (sample.query_type == "choice" and len(named) != 1):
        raise RejectError(
            "unclear_reference", f"its reference {reference[:60]!r} does not name one of its options clearly"
        )
    return named


def _rewritten(parts: list[Part], choices: Choices, texts: list[str]) -> list[Part]:
    """The question with the option texts in their new places, where it lists them."""
    place, listed = find_list(parts, partial(locate_options, choices=choices))
    if place is not None and listed is not None:
        written = str(parts[place])
        rest = [written[: listed.start], written[listed.spans[-1][1] :]]
        rest += [part for position, part in enumerate(parts) if isinstance(part, str) and position != place]
        parts = [*parts[:place], listed.replaced(written, texts), *parts[place + 1 :]]
    else:
        rest = [part for part in parts if isinstance(part, str)]
    if any(lists_some(text, choices) for text in rest):
        raise RejectError(
            "options_in_question", "its question lists options in part, or twice: they cannot be re-lettered"
        )
    if found := next((found for text in rest if (found := _STEM_NAMES_OPTIONS.search(text))), None):
        raise RejectError(
            "question_names_letters", f"its question speaks of {found.group()!r}, which gets another letter"
        )
    return parts


def choice_to_open(sample: Sample, context: Context) -> Sample:
    """The question without its options, answered by the text of the right one (Lingshu: word MCQs made open).

    Not for questions that make no sense without options; with ``rephrase`` one form of those is asked otherwise.
    """
    _check_choices(sample)
    before, parts = question_of(sample)
    positions = referenced(sample)
    if len(positions) != 1 or sample.query_type == "multi_choice" or len(sample.answer) != 1:
        raise RejectError("several_answers", "several of its options are right; an open question has one answer")
    choices = bare_options(sample.choices)
    answer = choices[positions[0]][1]
    if _OF_LETTERS.search(answer.strip()) or _OF_OTHERS.search(answer.strip()):
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
