"""Whether a text stops before it is finished.

Most captions and answers have no full stop ("Axial CT of the head", "Pneumothorax"), so its absence alone says nothing:
something in the last characters must announce a continuation, or full sentences must have gone before.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TAIL = 600
"""Characters from the end that are looked at."""

_WRAPPING = "*_`~\"'”’»』 \t\r\n"
_STOPS = frozenset(".!?。！？．｡;；)]}）】》」>|")
_ANNOUNCING = (*",、，([{（【《「“‘«&", "...", "…")
_COLONS = (":", "：")
_DASHES = frozenset("-‐–—")

_ABBREVIATION = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|vs|cf|Figs?|figs?|Dr|Drs|Prof|approx|incl)\.$")

_ALWAYS = _words("the a an and or nor")
_UNFINISHED = _ALWAYS | _words(
    "but of with from for by into onto at to in on between among through during toward towards via per than as because"
    " although while whereas which whose is are was were be been has had may might its their such shows showing"
    " demonstrates demonstrating reveals revealing indicates indicating suggests suggesting includes including"
    " involving containing measuring"
)
_CAPITALS = _words("the of and with to is are was were from for by")
"""Those that are looked for in texts all in capitals, where OR and IN may be abbreviations."""
_ASKING = _words(
    "what which where when who whose whom why how is are was were do does did can could should would has have in on at"
    " from to for"
)
"""First words of questions, which may well end on a preposition: "which side is it on"."""
_BEFORE_LETTER_A = _words(
    "hepatitis vitamin type group grade class stage influenza protein hemophilia haemophilia option answer choice panel"
    " figure fig image"
)

_CHINESE_WORD = re.compile(
    r"(?:以及|或者|并且|而且|但是|因为|由于|例如|比如|包括|伴有|位于|(?<![存所潜内外现实正])在|(?<![参给赋授干])与"
    r"|(?<![涉普以波累遍])及|(?<![间即抑甚])或|(?<![缓温饱共总柔中平调谐])和)$"
)
"""Words that announce another; the characters before are those with which they mean something else."""

_LIST_ITEM = re.compile(r"\s*(?:[-*•·#>|]|\d{1,2}[.)、]|\(?[a-zA-Z0-9][.)])\s*\S")
_SENTENCE_END = re.compile(
    r"(?<!\b[A-Z])(?<!\b[DM]r)(?<!\bMrs)(?<!\bProf)(?<!\bFig)(?<!\bvs)(?<!\bNo)[.!?][\"'”’)\]]*\s+(?=[A-Z\"“(])"
    r"|[。！？][”’」）]*"
)
_SENTENCE_WORDS = 4
"""Words that make a full stop the end of a sentence, not of "Figure 2." or "Dr."."""
_FRAGMENT_WORDS = {1: 6, 2: 4}
"""Words that a last fragment without a full stop must have to count as broken off, by sentences before it; else 3."""
_IDEOGRAPH = re.compile("[\u3400-\u9fff]")


def cut_off(text: str, *, before_image: bool = False) -> bool:
    """Whether ``text`` ends unfinished. ``before_image``: an image follows it, so a colon is a proper ending.

    English and Chinese; other languages are judged by their punctuation only.
    """
    if any(text.rfind(f"<{tag}>") > text.rfind(f"</{tag}>") for tag in ("think", "answer")):
        return True
    tail = text.rstrip(_WRAPPING)[-_TAIL:]
    if tail.endswith(_COLONS):
        return not before_image
    if tail.endswith(_ANNOUNCING) or _ABBREVIATION.search(tail):
        return True
    if not tail or tail[-1] in _STOPS:
        return False
    line = tail.rsplit("\n", 1)[-1]
    return (
        _ends_on_dash(tail)
        or any(tail.rfind(left) > tail.rfind(right) for left, right in ("()", "（）"))
        or _ends_on_announcing_word(line)
        or _CHINESE_WORD.search(line) is not None
        or _breaks_off(line)
    )


def _ends_on_dash(tail: str) -> bool:
    """ "follow-" is half a word; "ER-" and "CD20-" are findings."""
    return tail[-1] in _DASHES and (tail[-2:-1].isspace() or tail[-2:-1].islower())


def _ends_on_announcing_word(line: str) -> bool:
    words = [word.strip("(\"'“‘") for word in line.split()]
    if len(words) < 2:
        return False
    before, last = words[-2], words[-1]
    if line.isupper():
        return len(words) > 3 and last.lower() in _CAPITALS
    if (last == "in" and before[-1:].isdigit()) or (last == "a" and before.lower() in _BEFORE_LETTER_A):
        return False  # inches; hepatitis a
    return last in (_ALWAYS if words[0].lower() in _ASKING else _UNFINISHED)


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
    return len(_IDEOGRAPH.sub(" ", text).split()) + len(_IDEOGRAPH.findall(text)) // 2
