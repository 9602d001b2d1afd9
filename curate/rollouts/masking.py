"""The answer taken out of an explanation, to see whether the explanation leads to it (InfiMed2, arXiv 2609.34798)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from curate.corpus import Sample
from curate.rewards.answer import answer_content, extract_answer
from curate.rewards.choice import options_listed, options_named

MASK: Final = "[MASK]"

_BLOCK: Final = re.compile(r"<answer>.*?</answer>", re.DOTALL)
_TAGS: Final = re.compile(r"</?(?:think|answer)>")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_YES_NO: Final = (
    re.compile(r"(?:(?<=^)|(?<=[.!?:\n] )|(?<=[\n\"'*]))(?:yes|no)(?=\s?[,.;:!*\"']|\s?$)", re.IGNORECASE),
    re.compile(r"(?<=\bis )[\"'*]*(?:yes|no)[\"'*]*(?=\s?[.,;:!)]|\s?$)", re.IGNORECASE),
    re.compile(r"(?<=答案是)(?:是的?|否|有|没有|不是)|(?<=答案为)(?:是的?|否|有|没有|不是)"),
)
"""A yes or no that answers. Others stay: without them "no effusion" would mean nothing."""


def explanation_of(response: str) -> str | None:
    """What a response says beside its answer, tags left out; None when that holds no word."""
    parts = extract_answer(response)
    if answer_content(parts.rest) is None:
        return None
    texts = (parts.before, parts.think or "", _BLOCK.sub(" ", parts.rest))
    text = _TAGS.sub("", "\n".join(part.strip() for part in texts if part.strip())).strip()
    return text if re.search(r"\w", text) else None


def masked(explanation: str, response: str, sample: Sample) -> str:
    """The explanation with :data:`MASK` wherever the answer stands in it.

    That is: the references and the answer as the response gave it; for options their texts, and their letters where
    they are meant as such ("(B)", "option B", "B."); for numbers the digits; for yes and no only the words that answer.
    """
    said = answer_content(extract_answer(response).rest)
    texts = [*sample.answer, *([said] if said else [])]
    labels: list[str] = []
    if sample.choices:
        places: set[int] = set()
        for text in texts:
            named = options_named(text, sample.choices) or options_listed(text, sample.choices)
            places |= {place for place in named if isinstance(place, int)}
        labels = [sample.choices[place][0] for place in sorted(places)]
        texts = [*(text for text in texts if text not in labels), *(sample.choices[place][1] for place in places)]
    if sample.query_type == "numeric":
        texts += [number for text in texts for number in _NUMBER.findall(text)]
    patterns = [*_literal(texts), *(pattern for label in labels for pattern in _letter(label))]
    if sample.query_type == "yes_no":
        patterns = list(_YES_NO)
    for pattern in patterns:
        explanation = pattern.sub(lambda found: (found.groupdict().get("lead") or "") + MASK, explanation)
    return explanation


def _literal(texts: Iterable[str]) -> Iterator[re.Pattern[str]]:
    """The texts as they stand, the longest first; white space and case may differ."""
    for text in sorted({text.strip() for text in texts}, key=lambda text: (-len(text), text)):
        if not text or len(text) > 2_000:
            continue
        words = r"\s+".join(re.escape(word) for word in text.split())
        before = r"(?<![A-Za-z0-9])" if text[0].isascii() and text[0].isalnum() else ""
        after = r"(?![A-Za-z0-9]|[.,][0-9])" if text[-1].isascii() and text[-1].isalnum() else ""
        if text[0].isdigit():
            before = r"(?<![A-Za-z0-9])(?<![0-9][.,])"
        yield re.compile(before + words + after, re.IGNORECASE)


def _letter(label: str) -> Iterator[re.Pattern[str]]:
    """The letter of an option where it is meant as one, not as a word or a name ("a lesion", "hepatitis B")."""
    letter = re.escape(label)
    yield re.compile(rf"[(\[]\s?{letter}\s?[)\]]")
    yield re.compile(rf"(?<![\w]){letter}(?=[.):](?:\s|$))")
    yield re.compile(rf"(?<=[*_`\"']){letter}(?=[*_`\"'])")
    named = r"(?P<lead>(?i:\b(?:options?|choices?|answers?|letters?)\b[\s:=]{0,4}(?:(?:is|are|be)[\s:=]{0,4})?))"
    yield re.compile(rf"{named}{letter}(?![\w'])")
    yield re.compile(rf"(?<=\b(?:is|be|to) ){letter}(?=\s?[,;!?]|\s?$)", re.MULTILINE)
    yield re.compile(rf"(?P<lead>(?:选项?|答案)(?:是|为|：|:)?\s?){letter}(?![A-Za-z])")
