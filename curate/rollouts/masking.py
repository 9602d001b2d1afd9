"""The answer taken out of an explanation, to see whether the explanation leads to it (InfiMed2, arXiv 2609.34798)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from curate.corpus import Sample
from curate.rewards.answer import answer_content, extract_answer
from curate.rewards.normalise import normalise
from curate.rollouts.scoring import referenced
from curate.sources.derive.option_lists import bare_options

MASK: Final = "[MASK]"
_LONGEST_NORMALISED: Final = 20_000

_BLOCK: Final = re.compile(r"<answer>.*?</answer>", re.DOTALL)
_TAGS: Final = re.compile(r"</?(?:think|answer)>")
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_NO_NOUN: Final = r"(?:there|here|it|this|that|these|those|because|since|as|and|but|the|we|i|is|are|so|for|given)\b"
_SPACE: Final = r"[*_\"']{0,3}(?:[ \t]+|[ \t]*\n(?=(?-i:[a-z])))"
_YES_NO: Final = (
    re.compile(r"(?<![\w-])yes(?![\w-])", re.IGNORECASE),
    re.compile(rf"(?<![\w-])no(?![\w-]|{_SPACE}(?!{_NO_NOUN})[*_\"']{{0,3}}\w)", re.IGNORECASE),
    re.compile(r"(?P<lead>(?:答案|答|结论|判断)[是为：:]{1,2}\s?)(?:是的?|否|有|没有|无|不是|对|不对|正确|错误)"),
    re.compile(r"是的|不是的"),
)
"""A yes, and a no that no noun follows. Others stay: without them "no effusion" would mean nothing."""
_IS_LETTER: Final = re.compile(
    r"[*_\"')\]]{0,3}\s+(?:is|was|are|be|has|seems?|appears?|looks?|fits?|match(?:es)?|would|should|must|can|could|will"
    r"|because|since|as|and|or|but|best|here)\b"
)
"""What goes on after the letter A, and never after the article."""
_BEGINS: Final = re.compile(r"(?:^|[.!?:;。！？：；\n])[\s*_\"'#>(\[-]*\Z")
"""Where a sentence, or a point of a list, begins."""


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

    That is: the references and the answer as the response gave it; for options their texts, and their letters wherever
    they stand alone; for numbers the digits; for yes and no every yes, and a no that no noun follows. Rather too much
    is masked than too little: an explanation is only as good as what is left of it, and a letter that is left over
    would pass for one.
    """
    texts, labels = _named(response, sample)
    patterns = [*_literal(texts), *(pattern for label in labels for pattern in _letter(label))]
    if sample.query_type == "yes_no":
        patterns = [*_YES_NO, *_literal(texts)]
    for pattern in patterns:
        explanation = pattern.sub(lambda found: (found.groupdict().get("lead") or "") + MASK, explanation)
    for label in labels:
        if _CAPITAL.fullmatch(label):
            explanation = _without_letter(explanation, label)
    return explanation


def still_named(left: str, response: str, sample: Sample) -> bool:
    """Whether a masked explanation still names the answer, in a spelling that :func:`masked` does not know."""
    texts, labels = _named(response, sample)
    if sample.query_type == "yes_no":
        return _YES_NO_NAMED.search(left) is not None
    left = left.replace(MASK, " | ")
    words = f" {_words(left)} "
    if any(re.search(r"[^\W\d_]", said := _words(text)) and f" {said} " in words for text in texts):
        return True
    letters = "|".join(re.escape(label) for label in labels)
    return bool(letters) and re.search(_LETTER_NAMED.format(letters), left, re.IGNORECASE) is not None


_CAPITAL: Final = re.compile(r"[A-Z]")
_LETTER_NAMED: Final = (
    r"\b(?:options?|choices?|answers?|letters?)\b[\W_]{{0,5}}(?:(?:is|be)\b[\W_]{{0,5}})?(?:{})(?![\w'-]|\s+[a-z])"
)
_YES_NO_NAMED: Final = re.compile(
    r"\b(?:answer|conclusion|verdict|response)\b[\W_]{0,5}(?:(?:is|be|would be|must be)\b[\W_]{0,5})?"
    r"(?:yes|no|true|false|affirmative|negative|positive)\b",
    re.IGNORECASE,
)


def _named(response: str, sample: Sample) -> tuple[list[str], list[str]]:
    """Texts that give the answer of a response, or the reference, and the letters of those that are options."""
    said = answer_content(extract_answer(response).rest)
    texts = [*sample.answer, *([said] if said else [])]
    labels: list[str] = []
    if sample.choices:
        places = referenced(texts, sample.choices)
        labels = [sample.choices[place][0] for place in sorted(places)]
        texts = [text for text in texts if text not in labels]
        texts += [options[place][1] for options in (sample.choices, bare_options(sample.choices)) for place in places]
    if sample.query_type == "numeric":
        texts += [number for text in texts for number in _NUMBER.findall(text)]
    if sample.query_type == "yes_no":
        # A Chinese word for yes or no is also the word of the finding: 没有积液.
        texts = [text for text in texts if text.isascii() and normalise(text) not in ("yes", "no", "y", "n")]
    return texts, labels


def _words(text: str) -> str:
    """The words and numbers of a text, however it is punctuated and emphasised."""
    # Unicode's normal forms take quadratic time on combining marks.
    plain = normalise(text) if len(text) <= _LONGEST_NORMALISED else text.casefold()
    return " ".join(re.findall(r"\d+(?:[.,]\d+)*|[^\W\d_]+", plain))


def _without_letter(text: str, letter: str) -> str:
    """The text without a letter that stands alone. A and I that are words stay: "A lesion", "I see"."""

    def mask(found: re.Match[str]) -> str:
        rest = text[found.end() : found.end() + 60]
        if letter == "I" and re.match(r"\s+[a-z]|'", rest):
            return letter
        article = letter == "A" and re.match(r"[*_]{0,3}\s+[a-z]", rest) and not _IS_LETTER.match(rest)
        return letter if article and _BEGINS.search(text[max(0, found.start() - 40) : found.start()]) else MASK

    return re.sub(rf"(?<![A-Za-z0-9_])(?<![A-Za-z0-9]-){letter}(?![A-Za-z0-9_]|-[A-Za-z0-9])", mask, text)


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
            if text[-1].isdigit():
                after = r"(?![0-9]|[.,][0-9])"  # "3.5cm" too
        yield re.compile(before + words + after, re.IGNORECASE)


def _letter(label: str) -> Iterator[re.Pattern[str]]:
    """The label of an option where it is meant as one: "(B)", "option b", "2."."""
    letter = re.escape(label)
    yield re.compile(rf"[(\[]\s?(?i:{letter})\s?[)\]]")
    yield re.compile(rf"(?<![\w]){letter}(?=[.):](?:\s|$))")
    yield re.compile(rf"(?<=[*_`\"']){letter}(?=[*_`\"'])")
    named = r"(?P<lead>(?i:\b(?:options?|choices?|answers?|letters?)\b[\s:=]{0,4}(?:(?:is|are|be)[\s:=]{0,4})?))"
    yield re.compile(rf"{named}(?i:{letter})(?![\w'-])")
    yield re.compile(rf"(?<=\b(?:is|be|to) ){letter}(?=\s?[,;!?]|\s?$)", re.MULTILINE)
    yield re.compile(rf"(?P<lead>(?:选项?|答案)(?:是|为|：|:)?\s?){letter}(?![A-Za-z])")
