"""Accuracies for questions with options: ``choice`` (one of them) and ``multi_choice`` (a set of them)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from curate.rewards.inputs import Choice
from curate.rewards.normalise import SPACELESS, compatible, normalise
from curate.rewards.registry import Context, register

_BRACKETS = "()[]{}<>【】〔〕 "
_AFTER_LABEL = " .):,;]}>、。】〕"
_FILLER = re.compile(
    r"(?:(?:the|correct|best|final|answers?|options?|choices?|is|are)\b|正确|最终|答案|选项|选择|应选|选|为|是)[ :]*",
    re.IGNORECASE,
)
_LETTER_SEPARATORS = re.compile(r"[\s,;/&+|.()\[\]{}、。【】]+|(?<=[\s)\].,])(?i:and)(?=[\s(\[])|[和与及]")
_PIECES = (re.compile(r"[\n;；]"), re.compile(r"[,，、\n;；]"))


@register("choice")
def choice(answer: str, references: Sequence[str], context: Context) -> float | None:
    """1 when the answer names the option that the reference names, each by its letter, its text, or both.

    Without options it is 1 when both spell the same, brackets and case aside.
    """
    if not context.choices:
        said = _bare(answer)
        return float(any(_bare(reference) == said for reference in references)) if said else None
    said_options = options_named(answer, context.choices)
    if not said_options:
        return None
    return float(any(said_options <= options_named(reference, context.choices) for reference in references))


@register("multi_choice", together=True)
def multi_choice(answer: str, references: Sequence[str], context: Context) -> float | None:
    """1 when the answer names exactly the options that the references name together.

    Letters may be written "A, C", "AC", "A and C" or "(A)(C)"; options may also be given by their text.
    """
    wanted: set[str | int] = set()
    for reference in references:
        part = options_listed(reference, context.choices)
        if not part:
            return 0.0
        wanted |= part
    said = options_listed(answer, context.choices)
    return float(said == wanted) if said else None


def options_named(text: str, choices: Sequence[Choice]) -> set[int]:
    """Positions of the options that ``text`` can mean as a whole: more than one when it is ambiguous, none when it is
    no option.

    A letter alone always means the option with that letter. Otherwise the text must be an option's text, or its letter
    followed by its text; a letter with another option's text names none. Words such as "Option" or "The answer is" may
    come first. Nothing is matched in part: "Abnormal" does not name "normal".
    """
    said = normalise(text)
    for _ in range(8):
        found = _named(said, choices)
        filler = _FILLER.match(said)
        if found or filler is None:
            return found
        said = said[filler.end() :]
    return set()


def _named(said: str, choices: Sequence[Choice]) -> set[int]:
    bare = said.strip(_BRACKETS)
    if not bare:
        return set()
    labels = [normalise(label) for label, _ in choices]
    by_label = {position for position, label in enumerate(labels) if bare == label}
    if by_label:
        return by_label
    return {
        position
        for position, (label, (_, option)) in enumerate(zip(labels, choices, strict=True))
        if (text := normalise(option)) and (text in (said, bare) or _without_label(said, label) == text)
    }


def _without_label(said: str, label: str) -> str | None:
    """What follows the label at the beginning of ``said``; None when it does not begin with that label."""
    said = said.lstrip(_BRACKETS)
    if not label or not said.startswith(label):
        return None
    rest = said[len(label) :]
    if rest[:1].isalnum() and not re.match(f"[{SPACELESS}]", rest):
        return None
    return normalise(rest.lstrip(_AFTER_LABEL).removeprefix("- "))


def options_listed(text: str, choices: Sequence[Choice]) -> set[int] | set[str]:
    """The set of options that ``text`` lists, by position, or by letter when the options are not known; empty when any
    part of it is no option.
    """
    single = options_named(text, choices)
    if len(single) == 1:
        return single
    written = compatible(text)
    labels = {normalise(label): position for position, (label, _) in enumerate(choices)}
    letters = _letters(written, labels)
    if not choices:
        return set(letters)
    if letters:
        return {labels[letter] for letter in letters}
    for separator in _PIECES:
        pieces = [options_named(piece, choices) for piece in separator.split(text) if normalise(piece)]
        if pieces and all(len(piece) == 1 for piece in pieces):
            return set().union(*pieces)
    return set()


def _letters(written: str, labels: dict[str, int]) -> list[str]:
    """The letters of "A, C", "A and C" or, in capitals, "AC"; none when anything else is there."""
    while filler := _FILLER.match(written):
        written = written[filler.end() :]
    spelled = [token for token in _LETTER_SEPARATORS.split(f"{written} ") if token]
    if len(spelled) == 1 and len(spelled[0]) > 1 and spelled[0].isupper() and spelled[0].casefold() not in labels:
        spelled = list(spelled[0]) if len(set(spelled[0])) == len(spelled[0]) else []
    found = [token.casefold() for token in spelled]
    known = all(letter in labels for letter in found) if labels else all(len(t) == 1 and t.isalpha() for t in found)
    return found if known else []


def _bare(text: str) -> str:
    return normalise(text).strip(_BRACKETS)
