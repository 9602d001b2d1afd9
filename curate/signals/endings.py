"""Whether a text stops before it is finished.

Most captions and answers have no full stop ("Axial CT of the head", "Pneumothorax"), so its absence alone says nothing:
something in the last characters must announce a continuation, or full sentences must have gone before.
"""

from __future__ import annotations

import re

_TAIL = 600
"""Characters from the end that are looked at."""

_WRAPPING = "*_`~\"'”’»』 \t\r\n"
_STOPS = frozenset(".!?。！？．｡)]}）】》」>|")
_ANNOUNCING = frozenset(",、，([{（【《「“‘«&")
_DASHES = frozenset("-‐–—")

_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|vs|cf|Figs?|figs?|Dr|Drs|Prof|approx|incl)\.$")

_ALWAYS = frozenset("the a an and or nor".split())
_WORDS = _ALWAYS | frozenset(
    "but of with from for by into onto at to in on between among through during toward towards via per than as because "
    "although while whereas which whose is are was were be been has had may might its their such "
    "shows showing demonstrates demonstrating reveals revealing indicates indicating suggests suggesting includes "
    "including involving containing measuring".split()
)
_CAPITALS = frozenset("the of and with to is are was were from for by".split())
"""The words that are looked for in texts all in capitals, where OR and IN may be abbreviations."""
_ASKING = frozenset(
    "what which where when who whose whom why how is are was were do does did can could should would has have in on at "
    "from to for".split()
)
"""First words of questions, which may well end on a preposition: "which side is it on"."""
_BEFORE_LETTER_A = frozenset(
    "hepatitis vitamin type group grade class stage influenza protein hemophilia haemophilia option answer choice panel "
    "figure fig image".split()
)

_CHINESE_WORD = re.compile(
    r"(?:以及|或者|并且|而且|但是|因为|由于|例如|比如|包括|伴有|位于|(?<![存所潜内外现实正])在|(?<![参给赋授干])与"
    r"|(?<![涉普以波累遍])及|(?<![间即抑甚])或|(?<![缓温饱共总柔中平调谐])和)$"
)

_LIST_ITEM = re.compile(r"\s*(?:[-*•·#>|]|\d{1,2}[.)、]|\(?[a-zA-Z0-9][.)])\s*\S")
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*\s+(?=[A-Z\"“(])|[。！？][”’」）]*")
_SENTENCE_WORDS = 4
"""Words that make a full stop the end of a sentence, not of "Figure 2." or "Dr."."""
_FRAGMENT_WORDS = {1: 6, 2: 4}
"""Words that a last fragment without a full stop must have to count as broken off, by sentences before it; else 3."""
_CJK = re.compile("[\u3400-\u9fff]")


def cut_off(text: str, *, before_image: bool = False) -> bool:
    """Whether ``text`` ends unfinished. ``before_image``: an image follows it, so a colon is a proper ending.

    English and Chinese; other languages are judged by their punctuation only.
    """
    if any(text.rfind(f"<{tag}>") > text.rfind(f"</{tag}>") for tag in ("think", "answer")):
        return True
    tail = text.rstrip(_WRAPPING)[-_TAIL:]
    if not tail:
        return False
    last = tail[-1]
    if tail.endswith(("...", "…")) or last in _ANNOUNCING:
        return True
    if last in ":：":
        return not before_image
    if last in _DASHES:  # "ER-" and "CD20-" are findings, "follow-" is half a word
        return tail[-2:-1].isspace() or tail[-2:-1].islower()
    if last in _STOPS:
        return bool(_ABBREVIATION.search(tail))
    if any(tail.rfind(left) > tail.rfind(right) for left, right in ("()", "（）")):
        return True
    line = tail.rsplit("\n", 1)[-1]
    return _ends_on_announcing_word(line) or bool(_CHINESE_WORD.search(line)) or _breaks_off(line)


def _ends_on_announcing_word(line: str) -> bool:
    words = line.split()
    if len(words) < 2:
        return False
    before, word = words[-2].strip("(\"'“‘"), words[-1].strip("(\"'“‘")
    if line.isupper():
        return len(words) > 3 and word.lower() in _CAPITALS
    if word == "in" and before[-1:].isdigit():  # inches
        return False
    if word == "a" and before.lower() in _BEFORE_LETTER_A:
        return False
    return word in (_ALWAYS if words[0].lower() in _ASKING else _WORDS)


def _breaks_off(line: str) -> bool:
    """A long last fragment without a full stop after sentences that had theirs."""
    if _LIST_ITEM.match(line):
        return False
    ends = [match.end() for match in _SENTENCE_END.finditer(line)]
    if not ends:
        return False
    starts = [0, *ends[:-1]]
    sentences = sum(_length(line[start:end]) >= _SENTENCE_WORDS for start, end in zip(starts, ends, strict=True))
    return sentences >= 1 and _length(line[ends[-1] :]) >= _FRAGMENT_WORDS.get(sentences, 3)


def _length(text: str) -> int:
    """Words; two Chinese characters make about one."""
    return len(_CJK.sub("", text).split()) + len(_CJK.findall(text)) // 2
