"""Options of a multiple-choice question as they stand in its text: "A. cyst B. abscess", one a line or in a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from curate.corpus import Part

Choices = Sequence[tuple[str, str]]

_OPENERS, _CLOSERS = r"(\[（【", r".):、．，：）】\]"
_LABEL = re.compile(rf"(?<!\w)([{_OPENERS}]?)([A-Z])([{_CLOSERS}])(?=[^\S\n]*\S)")
_ANY_LABEL = re.compile(rf"(?<!\w)[{_OPENERS}]?(\w+)[{_CLOSERS}]\s*")
_SEPARATORS = ",;，；|/"
_ANNOUNCED = re.compile(
    r"(?:\b(?:the\s+)?(?:answer\s+)?(?:options|choices|candidates)(?:\s+are)?|选项)\s*[:：]\s*\Z", re.IGNORECASE
)
_ANSWER_CUE = re.compile(r"(?:the\s+)?(?:answer|答案)\s*[:：]?", re.IGNORECASE)
_MOST_OPTIONS = 26
_MOST_LABELS = 400
"""That are looked at, the last ones: of a text made of nothing but labels every pair would be."""
LONGEST_OPTION = 2_000
"""Characters; what is longer is no option but the rest of a document."""


class OptionList(NamedTuple):
    """Where the options of a question stand in a text."""

    start: int
    """Where the first label begins."""
    labels: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    """Begin and end of each option's text."""

    def choices(self, text: str) -> tuple[tuple[str, str], ...]:
        """The options as (letter, text)."""
        return tuple((label, text[begin:end]) for label, (begin, end) in zip(self.labels, self.spans, strict=True))

    def replaced(self, text: str, options: Sequence[str]) -> str:
        """``text`` with other option texts in the places of its own."""
        pieces, place = [], 0
        for (begin, end), option in zip(self.spans, options, strict=True):
            pieces += [text[place:begin], option]
            place = end
        return "".join([*pieces, text[place:]])

    def cut(self, text: str) -> tuple[str, str]:
        """What stands before the list, without its announcement ("Options:"), and what stands after it."""
        head = text[: self.start].rstrip()
        tail = text[self.spans[-1][1] :].strip(f"{_SEPARATORS}. \t\n)")
        return _ANNOUNCED.sub("", head).rstrip(), _ANSWER_CUE.sub("", tail).strip() if tail else ""


class _Mark(NamedTuple):
    """What may be the label of an option."""

    opener: str
    label: str
    closer: str
    start: int
    end: int


def parse_options(text: str) -> OptionList | None:
    """The last list of options in a text: at least two labels A, B, ... in order, all with the same punctuation.

    An option reaches to the next label, and the last one to the end of its line. Labels that begin lines come before
    others: "B. cepacia" is then no option.
    """
    labels = [_Mark(found[1], found[2], found[3], found.start(), found.end()) for found in _LABEL.finditer(text)]
    marks = labels[-_MOST_LABELS:]
    at_lines = [mark for mark in marks if not text[text.rfind("\n", 0, mark.start) + 1 : mark.start].strip()]
    for candidates in (at_lines, marks):
        for first in range(len(candidates) - 1, -1, -1):
            if candidates[first].label == "A" and (run := _run(text, candidates, first)) is not None:
                return run
    return None


def _run(text: str, marks: Sequence[_Mark], first: int) -> OptionList | None:
    style = marks[first].opener, marks[first].closer
    run = [marks[first]]
    for mark in marks[first + 1 :]:
        wanted = chr(ord("A") + len(run))
        if len(run) < _MOST_OPTIONS and (mark.opener, mark.closer) == style and mark.label == wanted:
            run.append(mark)
    if len(run) < 2:
        return None
    line_end = text.find("\n", run[-1].end)
    ends = [mark.start for mark in run[1:]] + [len(text) if line_end < 0 else line_end]
    spans = []
    for mark, end in zip(run, ends, strict=True):
        begin = mark.end
        raw = text[begin:end]
        option = raw.strip().rstrip(_SEPARATORS).rstrip()
        if not option or len(option) > LONGEST_OPTION:
            return None
        begin += len(raw) - len(raw.lstrip())
        spans.append((begin, begin + len(option)))
    return OptionList(run[0].start, tuple(mark.label for mark in run), tuple(spans))


def locate_options(text: str, choices: Choices) -> OptionList | None:
    """Where a text has every one of these options behind its label, in their order; None when one is missing."""
    spans, start = [], -1
    labels = iter(_ANY_LABEL.finditer(text))
    for label, option in choices:
        found = next((mark for mark in labels if _stands_behind(text, mark, label, option)), None)
        if found is None:
            return None
        start = found.start() if start < 0 else start
        spans.append((found.end(), found.end() + len(option)))
        labels = iter(_ANY_LABEL.finditer(text, spans[-1][1]))
    return OptionList(start, tuple(label for label, _ in choices), tuple(spans)) if spans else None


def lists_some(text: str, choices: Choices) -> bool:
    """Whether a text has any of these options behind its label, or a list of other options."""
    return parse_options(text) is not None or any(
        _stands_behind(text, mark, label, option) for mark in _ANY_LABEL.finditer(text) for label, option in choices
    )


def _stands_behind(text: str, mark: re.Match[str], label: str, option: str) -> bool:
    """Whether a label in ``text`` is this one, with the option behind it and no word going on there."""
    if mark[1].casefold() != label.casefold():
        return False
    stop = mark.end() + len(option)
    if text[mark.end() : stop].casefold() != option.casefold():
        return False
    return not (option[-1:].isalnum() and text[stop : stop + 1].isalnum())


def bare_options(choices: Choices) -> tuple[tuple[str, str], ...]:
    """Options whose texts all repeat their own letter ("A:uterine wall", as PMC-VQA has them), without it; others as
    they are."""
    found = [_ANY_LABEL.match(text) for _, text in choices]
    repeated = all(
        mark is not None and mark[1].casefold() == label.casefold() and mark.end() < len(text)
        for mark, (label, text) in zip(found, choices, strict=True)
    )
    if not repeated:
        return tuple(choices)
    return tuple((label, text[mark.end() :]) for mark, (label, text) in zip(found, choices, strict=True) if mark)


def find_list(
    parts: Sequence[Part], find: Callable[[str], OptionList | None]
) -> tuple[int, OptionList] | tuple[None, None]:
    """The last of the parts that has a list of options, and the list."""
    for position in range(len(parts) - 1, -1, -1):
        part = parts[position]
        if isinstance(part, str) and (found := find(part)) is not None:
            return position, found
    return None, None


def without_formats(text: str, formats: Iterable[str]) -> str:
    """A text without what it says, at its end, about the form of the answer."""
    known = sorted(formats, key=len, reverse=True)
    shorter = text.rstrip()
    while ending := next((sentence for sentence in known if shorter.endswith(sentence)), None):
        shorter = shorter.removesuffix(ending).rstrip()
    return shorter if len(shorter) < len(text.rstrip()) else text
