"""Options of a multiple-choice question in another order under the same letters, with the answer following.

One implementation for derived corpora (:mod:`curate.sources.derive.choices`) and for questions that are asked with
their options in several orders (:mod:`curate.rollouts.shuffle`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from curate.corpus import Part, Sample
from curate.rewards.choice import options_listed
from curate.rewards.normalise import normalise
from curate.sources.derive.lineage import question_of
from curate.sources.derive.option_lists import Choices, bare_options, find_list, lists_some, locate_options
from curate.sources.derive.queries import option_meant, same_text
from curate.sources.rejects import RejectError

OF_OTHERS = re.compile(
    r"\b(?:the|of)\s+(?:above|others?|foregoing|preceding)\b|\bof\s+(?:these|them|those)\b"
    r"|^(?:all|none|both|neither|either|any)(?:\s+(?:above|others?|options?|choices?|answers?|are\s+correct))?$"
    r"|以上|上述|前述|都(?:对|是|不是|正确|不对)$|均(?:是|不是|正确|不正确|可|对)$",
    re.IGNORECASE,
)
"""An option that speaks of all the others; it holds wherever they stand, as long as it comes after them."""
_LETTER = r"[(（]?[A-Z][)）]?"
OF_LETTERS = re.compile(
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


class Relettered(NamedTuple):
    """A question whose options stand in another order."""

    parts: tuple[Part, ...]
    """The parts of the question; where it lists its options, they have changed places there."""
    choices: tuple[tuple[str, str], ...]
    answer: tuple[str, ...]


def movable(sample: Sample) -> int:
    """How many of the options, from the first, may change places; those after them speak of all others.

    RejectError says why the question cannot be shuffled.
    """
    check_choices(sample)
    question_of(sample)
    return _movable(bare_options(sample.choices))


def relettered(sample: Sample, order: Sequence[int]) -> Relettered:
    """The question with the option ``order[n]`` in place n, for each of its options.

    Letters keep their places, and texts that all repeat their own letter lose it. A reference that is a letter becomes
    the new one; a text stays. RejectError says why the order cannot be changed. ``order`` must leave the options from
    :func:`movable` on where they are.
    """
    _, parts = question_of(sample)
    choices = bare_options(sample.choices)
    named = [_named(sample.query_type, sample.choices, reference) for reference in sample.answer]
    if not named:
        raise RejectError("no_answer", "it has no reference answer")
    texts = [choices[position][1] for position in order]
    moved = tuple((label, text) for (label, _), text in zip(choices, texts, strict=True))
    place = {old: new for new, old in enumerate(order)}
    answer = tuple(
        reference
        if len(positions) == 1 and same_text(reference, choices[next(iter(positions))][1])
        else ", ".join(moved[new][0] for new in sorted(place[old] for old in positions))
        for reference, positions in zip(sample.answer, named, strict=True)
    )
    rewritten = tuple(_rewritten(parts, choices, texts))
    meant = [{choices[old][1] for old in positions} for positions in named]
    found = [_named(sample.query_type, moved, reference) for reference in answer]
    if [{moved[new][1] for new in positions} for positions in found] != meant:
        raise RejectError("unclear_reference", "with other letters its reference would name another option")
    return Relettered(rewritten, moved, answer)


def check_choices(sample: Sample) -> None:
    """RejectError unless the sample is a multiple-choice question that knows its options."""
    if sample.query_type not in ("choice", "multi_choice") or len(sample.choices) < 2:
        raise RejectError("no_choices", f"it is no multiple-choice question with options (type {sample.query_type})")


def _movable(choices: Choices) -> int:
    labels = {normalise(label) for label, _ in choices}
    for label, text in choices:
        if OF_LETTERS.search(text.strip()) or (normalise(text) in labels and normalise(text) != normalise(label)):
            raise RejectError(
                "options_name_letters", f"its option {text[:60]!r} speaks of other options by their letters"
            )
    last = [OF_OTHERS.search(text.strip()) is not None for _, text in choices]
    moving = last.index(True) if any(last) else len(choices)
    if not all(last[moving:]):
        raise RejectError(
            "options_speak_of_others",
            f"its option {choices[moving][1][:60]!r} speaks of those before it, and is not last",
        )
    if moving < 2:
        raise RejectError("options_speak_of_others", "fewer than two of its options can change places")
    return moving


def _named(query_type: str | None, choices: Choices, reference: str) -> set[int]:
    """The options that one reference names, by position."""
    named = option_meant(reference, choices)
    if query_type == "multi_choice" and len(named) != 1:
        named = {position for position in options_listed(reference, choices) if isinstance(position, int)}
    if not named or (query_type == "choice" and len(named) != 1):
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
