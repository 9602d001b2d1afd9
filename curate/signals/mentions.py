"""Mentions of images that a sample does not have."""

from __future__ import annotations

import re

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_CARDINALS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = (
    {"both": 2, "两": 2}
    | {
        word: number
        for words in (_ORDINALS, _CARDINALS, "一二三四五六七八九十")
        for number, word in enumerate(words, 1)
    }
    | {letter: number for number, letter in enumerate("abcdefgh", 1)}
)

_PICTURE = r"(?:image|figure|picture|photo(?:graph)?|panel)"
_SCAN = r"(?:scan|radiograph|x-?ray|film|micrograph|slide|mri|ct)"
_LETTER_OR_NUMBER = r"(?:\d{1,3}(?!\d)[A-Ha-h]?\b|[A-H](?![\w.]*\w))"

# "Image 2", "Figures 1 and 3", "images A-D", "Fig. 2b", "panel b", 图3
_LABEL = re.compile(
    r"\b(?i:images?|figures?|figs?\.?|pictures?|photos?|photographs?|panels?)\s{0,3}(?i:no\.?\s{0,3})?"
    rf"(?P<items>{_LETTER_OR_NUMBER}"
    rf"(?:\s{{0,3}}(?:,\s?(?:and\s)?|&|-|–|—|\band\b|\bor\b|\bto\b|\bthrough\b)\s{{0,3}}{_LETTER_OR_NUMBER})*)"
    r"|\b(?i:panel)\s+(?P<small>[a-h])\b"
    r"|图\s*(?P<chinese>\d{1,3})"
)
_LABEL_ITEM = re.compile(r"\d+|\b[A-Ha-h]\b")
_OWN_LABEL = re.compile(r"^[ \t]*(?:figure|fig\.?|image|图)\s{0,3}(\d{1,3})\b", re.IGNORECASE | re.MULTILINE)

# "the second image", "3rd axial panel", "both images", "these two radiographs", 第二张图, 两张图片
_COUNTS = re.compile(
    rf"\b(?:({'|'.join(_ORDINALS)})|(\d{{1,2}})(?:st|nd|rd|th))\s+(?:[a-z]+\s+)?{_PICTURE}s?\b"
    rf"|\b(both|{'|'.join(_CARDINALS[1:])}|[2-9]|1\d)\s+(?:of\s+)?(?:the\s+|these\s+)?(?:[a-z]+\s+)?{_PICTURE}s\b"
    rf"|\b(?:the|these|all)\s+({'|'.join(_CARDINALS[1:])})\s+{_SCAN}s\b|\b(both)\s+{_SCAN}s\b"
    r"|第([一二三四五六七八九十]|\d{1,2})[张幅]"
    r"|([两二三四五六七八九十]|[2-9])[张幅](?:不同的)?(?:图|照片|片子|影像|X光片|CT)",
    re.IGNORECASE,
)

# One file that shows several pictures: "assembled from two adjacent images", "montage of four panels"
_COMPOSITE = re.compile(
    r"\b(?:assembled|composed|stitched|combined|tiled|arranged|composite|montage|mosaic|collage)\b"
    r"|\bside[ -]by[ -]side\b|拼",
    re.IGNORECASE,
)

_SUPPLEMENT = re.compile(r"\b(?:supplement(?:al|ary)\s+)?(?:figure|fig\.?)s?\s*S\d+", re.IGNORECASE)

# "compared to the prior study": findings that only a reader of two images can report (Ramesh et al. 2022, CXR-ReDonE)
_PRIOR = re.compile(
    r"\b(?:compar(?:ed|ison)(?: is)?(?: made)? (?:to|with)|since|(?:un)?changed? from|similar to)\s+(?:the\s+|a\s+)?"
    r"(?:most recent\s+)?(?:prior|previous|earlier|preceding)\s+(?:[a-z]+\s+){0,2}?"
    r"(?:stud(?:y|ies)|exam(?:ination)?s?|radiographs?|x-?rays?|films?|images?|scans?|ct|mri|mr|ultrasound)\b",
    re.IGNORECASE,
)

# "as shown in the image", "this chest X-ray", "the image shows", 如图
_POINTING = re.compile(
    r"\b(?:shown|seen|depicted|illustrated|displayed|visible|presented|provided|demonstrated|identified)\s+"
    rf"(?:in|on|by)\s+(?:the|this|these)\s+(?:[a-z]+\s+){{0,2}}?(?:{_PICTURE}|{_SCAN})s?\b"
    rf"|\b(?:in|on|from)\s+the\s+(?:[a-z]+\s+)?{_PICTURE}s?\b(?!\s+(?:itself|themselves))"
    rf"|\bthe\s+{_PICTURE}s?\s+(?:shows?|depicts?|demonstrates?|displays?|reveals?|above|below)\b"
    r"|\b(?:this|these|(?:the\s+)?(?:above|attached|following|given|provided|accompanying|uploaded))\s+"
    rf"(?:[a-z]+\s+){{0,2}}?(?:{_PICTURE}|{_SCAN})s?\b"
    r"|如图|图中|图示|见图|[这该此上下本](?:张|幅)?(?:图|照片|片子|影像|X光片)",
    re.IGNORECASE,
)

_WORTH_A_LOOK = re.compile(
    r"imag|fig|panel|picture|photo|scan|x-?ray|radiograph|film|slide|micrograph|prior|previous|earlier|preceding|\bct\b"
    r"|mri|[图张幅]|照片|片子|影像",
    re.IGNORECASE,
)


def missing_images(text: str, images: int) -> int:
    """How many mentions in ``text`` need an image that a sample with ``images`` images does not have.

    A label at the start of a line ("Figure 3. Axial CT...") names an image of the sample itself, whatever its number.
    """
    if not _WORTH_A_LOOK.search(text):
        return 0
    own = {int(number) for number in _OWN_LABEL.findall(text)[:images]}
    spans = [match.span() for match in _SUPPLEMENT.finditer(text)]
    spans += [match.span() for match in _LABEL.finditer(text) if _is_missing(match, images, own)]
    if not _COMPOSITE.search(text):
        spans += [match.span() for match in _COUNTS.finditer(text) if _number(match[match.lastindex or 0]) > images]
    if images < 2:
        spans += [match.span() for match in _PRIOR.finditer(text)]
    if images == 0:
        spans += [match.span() for match in _POINTING.finditer(text)]
    return _distinct(spans)


def _is_missing(label: re.Match[str], images: int, own: set[int]) -> bool:
    """Whether a label is beyond the number of images or, where the sample labels its images, another than theirs."""
    items = _LABEL_ITEM.findall(label["items"] or label["small"] or label["chinese"])
    numbers = [_number(item) for item in items]
    if own and all(item.isdigit() for item in items):
        return not own.issuperset(numbers)
    return max(numbers, default=0) > images


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word.casefold()]


def _distinct(spans: list[tuple[int, int]]) -> int:
    """Number of groups of overlapping spans: "shown in Figure 2" is one mention."""
    count = reached = 0
    for start, end in sorted(spans):
        count += start >= reached
        reached = max(reached, end)
    return count
