"""Text about pictures that are not there, and text that is nothing but page furniture."""

from __future__ import annotations

import re

import polars as pl

_CHINESE_NUMBERS = {character: number for number, character in enumerate("一二三四五六七八九十", start=1)} | {"两": 2}
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
_CARDINALS = "one two three four five six seven eight nine ten".split()

_PICTURE = r"(?:image|figure|picture|photo(?:graph)?|panel)"
_SCAN = r"(?:scan|radiograph|x-?ray|film|micrograph|slide|mri|ct)"
_ITEM = r"(?:\d{1,3}(?!\d)|[A-H](?![\w.]*\w))"

_LABEL = re.compile(
    rf"\b(?i:images?|figures?|figs?\.?|pictures?|photos?|photographs?|panels?)\s*(?i:no\.?\s*)?"
    rf"(?P<items>{_ITEM}[a-h]?(?:\s*(?:,\s*(?:and\s)?|&|-|–|—|\band\b|\bor\b|\bto\b|\bthrough\b)\s*{_ITEM}[a-h]?\b)*)"
    rf"|\b(?i:panels?)\s+(?P<small>[a-h])\b"
    rf"|图\s*(?P<chinese>\d{{1,3}})"
)
_ORDINAL = re.compile(
    rf"\b(?P<word>{'|'.join(_ORDINALS)}|(?P<number>\d{{1,2}})(?:st|nd|rd|th))\s+(?:[a-z]+\s+)?{_PICTURE}s?\b"
    r"|第(?P<chinese>[一二三四五六七八九十]|\d{1,2})[张幅]",
    re.IGNORECASE,
)
_CARDINAL = re.compile(
    rf"\b(?P<word>both|{'|'.join(_CARDINALS[1:])}|[2-9]|1\d)\s+(?:of\s+)?(?:the\s+|these\s+)?(?:[a-z]+\s+)?{_PICTURE}s\b"
    rf"|\b(?:both|the|these|all)\s+(?P<scans>{'|'.join(_CARDINALS[1:])}|(?<=both\s))\s*{_SCAN}s\b"
    r"|(?P<chinese>[两二三四五六七八九十]|[2-9])[张幅](?:不同的)?(?:图|照片|片子|影像|X光片|CT)",
    re.IGNORECASE,
)
_SUPPLEMENT = re.compile(r"\b(?:supplement(?:al|ary)\s+)?(?:figure|fig\.?)s?\s*S\d+", re.IGNORECASE)
_PRIOR = re.compile(
    r"\b(?:compar(?:ed|ison)(?: is)?(?: made)? (?:to|with)|since|unchanged from|changed? from|similar to)\s+(?:the\s+|a\s+)?"
    r"(?:most recent\s+)?(?:prior|previous|earlier|preceding)\s+(?:[a-z]+\s+){0,2}?"
    r"(?:stud(?:y|ies)|exam(?:ination)?s?|radiographs?|x-?rays?|films?|images?|scans?|ct|mri|mr|ultrasound)\b",
    re.IGNORECASE,
)
_POINTING = re.compile(
    rf"\b(?:shown|seen|depicted|illustrated|displayed|visible|presented|provided|demonstrated|identified)\s+(?:in|on|by)\s+"
    rf"(?:the|this|these)\s+(?:[a-z]+\s+){{0,2}}?(?:{_PICTURE}|{_SCAN})s?\b"
    rf"|\b(?:in|on|from)\s+the\s+(?:[a-z]+\s+)?{_PICTURE}s?\b"
    rf"|\bthe\s+{_PICTURE}s?\s+(?:shows?|depicts?|demonstrates?|displays?|reveals?|above|below)\b"
    rf"|\b(?:this|these|(?:the\s+)?(?:above|attached|following|given|provided|accompanying|uploaded))\s+"
    rf"(?:[a-z]+\s+){{0,2}}?(?:{_PICTURE}|{_SCAN})s?\b"
    r"|如图|图中|图示|见图|[这该此上下本](?:张|幅)?(?:图|照片|片子|影像|X光片)",
    re.IGNORECASE,
)
_OWN_LABEL = re.compile(r"^\s*(?:figure|fig\.?|image|图)\s*(\d{1,3})\b", re.IGNORECASE | re.MULTILINE)
_WORTH_A_LOOK = re.compile(
    r"imag|fig|panel|picture|photo|scan|x-?ray|radiograph|film|slide|micrograph|prior|previous|earlier|preceding|\bct\b|mri"
    r"|[图张幅]|照片|片子|影像",
    re.IGNORECASE,
)


def missing_images(text: str, images: int) -> int:
    """How many mentions in ``text`` need an image that a sample with ``images`` images does not have.

    A label at the start of a line ("Figure 3. Axial CT...") names an image of the sample itself, whatever its number.
    """
    if not _WORTH_A_LOOK.search(text):
        return 0
    own = [int(number) for number in _OWN_LABEL.findall(text)][:images]
    spans = [match.span() for match in _SUPPLEMENT.finditer(text)]
    spans += [match.span() for match in _LABEL.finditer(text) if _labels_missing(match, images, own)]
    for pattern in (_ORDINAL, _CARDINAL):
        spans += [match.span() for match in pattern.finditer(text) if _needed(match) > images]
    if images < 2:
        spans += [match.span() for match in _PRIOR.finditer(text)]
    if images == 0:
        spans += [match.span() for match in _POINTING.finditer(text)]
    return _distinct(spans)


def _labels_missing(match: re.Match[str], images: int, own: list[int]) -> bool:
    """Whether a label ("images A-D", "Fig. 2") is beyond the sample's images, or differs from the labels they have."""
    items = re.findall(r"\d+|[A-H]", match["items"] or "") or [(match["small"] or match["chinese"]).upper()]
    if own and all(item.isdigit() for item in items):
        return any(int(item) not in own for item in items)
    return any((int(item) if item.isdigit() else ord(item) - ord("A") + 1) > images for item in items)


def _needed(match: re.Match[str]) -> int:
    """How many images an ordinal ("second image") or a number ("both images") needs."""
    groups = match.groupdict()
    word = (groups.get("number") or groups.get("chinese") or groups.get("word") or groups.get("scans") or "two").lower()
    if word.isdigit():
        return int(word)
    if word == "both":
        return 2
    if word in _CHINESE_NUMBERS:
        return _CHINESE_NUMBERS[word]
    return (_ORDINALS.index(word) if word in _ORDINALS else _CARDINALS.index(word)) + 1


def _distinct(spans: list[tuple[int, int]]) -> int:
    """Number of groups of overlapping spans: "shown in Figure 2" is one mention."""
    count, reached = 0, -1
    for start, end in sorted(spans):
        count += start >= reached
        reached = max(reached, end)
    return count


_LABELS = (
    r"(?:supplement(?:al|ary)\s+)?\b(?:figure|fig\b\.?|image|plate)s?\s*\.?\s*(?:no\.?\s*)?S?\d+[a-h]?"
    r"(?:\s*[-–,&]\s*\d*[a-h]\b)*(?:\s*(?:of|/)\s*\d+)?\s*[.:]?"
    r"|图\s*\d+\s*[.:：。]?"
)
"""Numbers of figures: furniture in a caption, but "Image 2" may well be an answer."""
_FURNITURE = "|".join(
    (
        r"https?://\S+|\bwww\.\S+|\bdoi:\s*\S+",
        r"\b(?:please\s+)?(?:see|refer to|read)\s+(?:the\s+)?(?:main\s+|full\s+|accompanying\s+)?"
        r"(?:text|legend|caption|article|body|manuscript|table)\b(?:\s+for\s+[^.\n]{0,60})?",
        r"\bfor\s+(?:further\s+|more\s+)?(?:details|explanation|information),?\s+(?:please\s+)?see[^.\n]{0,60}",
        r"\bclick\s+(?:here|on\s+(?:the\s+|this\s+)?(?:image|picture|thumbnail)|image)?\s*(?:to|for)\s+[^.\n]{0,40}",
        r"\b(?:open|view|show|download)\s+(?:in\s+(?:a\s+)?new\s+(?:tab|window)|(?:the\s+)?(?:full[- ]size|large[r]?)\s*"
        r"(?:image|version|figure)?|figure|image|powerpoint|ppt|slide)\b",
        r"\b(?:image|photo|picture|figure|case|video|slide)s?\s*(?:courtesy|credits?|source)\b[^\n]{0,100}"
        r"|\bcourtesy of[^\n]{0,100}",
        r"(?:©|\(c\)|\bcopyright\b)[^\n]{0,160}|\ball rights reserved\b",
        r"\b(?:reproduced|reprinted|used|adapted)\s+(?:with\s+permission|from)\b[^\n]{0,160}",
        r"\b(?:licen[sc]ed|available)\s+under[^\n]{0,100}|\bcreative commons[^\n]{0,80}|\bcc[- ]by(?:[- ]\w\w)*(?:\s*\d\.\d)?",
        r"\b(?:shutterstock|getty images|istock(?:photo)?|stock photo|wikimedia commons)\b",
        r"\b(?:no|caption|description|image)\s+(?:caption|description|not)?\s*(?:is\s+)?(?:un)?available\b",
        r"\b[\w-]+\.(?:png|jpe?g|gif|tiff?|bmp|dcm|svg)\b",
        r"\b(?:untitled|n/a|null|placeholder|thumbnail|lorem ipsum[^\n]*)\b",
        r"点击(?:此处|图片)?(?:查看|放大)[^。\n]{0,20}|见(?:正文|原文)|图片来源[^\n]{0,60}|版权所有[^\n]{0,40}|未经许可[^\n]{0,40}",
    )
)
_CJK = "[\u3400-\u4dbf\u4e00-\u9fff\u3040-\u30ff]"
_FEW_LETTERS, _SMALL_SHARE = 6, 0.15


def boilerplate(text: pl.Expr, caption: pl.Expr) -> pl.Expr:
    """Whether hardly anything is left of a text without its page furniture; false for an empty text.

    Hardly anything: fewer than 6 letters, or 15 % of those it had (a Chinese character counts 3). Numbers of figures are
    furniture only where ``caption`` is true.
    """
    return pl.when(caption).then(_hardly_more(text, f"{_FURNITURE}|{_LABELS}")).otherwise(_hardly_more(text, _FURNITURE))


def _hardly_more(text: pl.Expr, furniture: str) -> pl.Expr:
    rest = text.str.replace_all(f"(?i){furniture}", " ")
    before, after = _letters(text), _letters(rest)
    return (rest != text) & ((after < _FEW_LETTERS) | (after < _SMALL_SHARE * before))


def _letters(text: pl.Expr) -> pl.Expr:
    return text.str.count_matches(r"\p{L}") + 2 * text.str.count_matches(_CJK)
