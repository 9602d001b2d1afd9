"""Text that came with the page, not with the picture: figure numbers, links, credits, hints where to click."""

from __future__ import annotations

import polars as pl

_LABEL = (
    r"(?:supplement(?:al|ary)\s+)?\b(?:figure|fig\b\.?|image|plate)s?\s*\.?\s*(?:no\.?\s*)?S?\d+[a-h]?"
    r"(?:\s*[-–,&]\s*\d*[a-h]\b)*(?:\s*(?:of|/)\s*\d+)?\s*[.:]?"
    r"|图\s*\d+\s*[.:：。]?"
)
_LINK = r"https?://\S+|\bwww\.\S+|\bdoi:\s*\S+|\b[\w-]+\.(?:png|jpe?g|gif|tiff?|bmp|dcm|svg)\b"
_SEE = (
    r"\b(?:please\s+)?(?:see|refer to|read)\s+(?:the\s+)?(?:main\s+|full\s+|accompanying\s+)?"
    r"(?:text|legend|caption|article|body|manuscript|table)\b(?:\s+for\s+[^.\n]{0,60})?"
    r"|\bfor\s+(?:further\s+|more\s+)?(?:details|explanation|information),?\s+(?:please\s+)?see[^.\n]{0,60}"
    r"|见(?:正文|原文)"
)
_CLICK = (
    r"\bclick\s+(?:here|on\s+(?:the\s+|this\s+)?(?:image|picture|thumbnail)|image)?\s*(?:to|for)\s+[^.\n]{0,40}"
    r"|\b(?:open|view|show|download)\s+(?:in\s+(?:a\s+)?new\s+(?:tab|window)|figure|image|powerpoint|ppt|slide"
    r"|(?:the\s+)?(?:full[- ]size|larger?)\s*(?:image|version|figure)?)\b"
    r"|点击(?:此处|图片)?(?:查看|放大)[^。\n]{0,20}"
)
_CREDIT = (
    r"\b(?:image|photo|picture|figure|case|video|slide)s?\s*(?:courtesy|credits?|source)\b[^\n]{0,100}"
    r"|\bcourtesy of[^\n]{0,100}"
    r"|\b(?:shutterstock|getty images|istock(?:photo)?|stock photo|wikimedia commons)\b"
    r"|图片来源[^\n]{0,60}"
)
_RIGHTS = (
    r"(?:©|\(c\)|\bcopyright\W*(?:©|\(c\)|\d{4}|by\b))[^\n]{0,160}|\ball rights reserved\b"
    r"|\b(?:reproduced|reprinted|used|adapted)\s+(?:with\s+permission|from)\b[^\n]{0,160}"
    r"|\b(?:licen[sc]ed|available)\s+under[^\n]{0,100}"
    r"|\bcreative commons[^\n]{0,80}|\bcc[- ]by(?:[- ]\w\w)*(?:\s*\d\.\d)?"
    r"|版权所有[^\n]{0,40}|未经许可[^\n]{0,40}"
)
_EMPTY = (
    r"\bno\s+(?:caption|description|image)(?:\s+(?:is\s+)?available)?\b"
    r"|\b(?:caption|description|image)\s+(?:is\s+)?(?:not\s+|un)available\b"
    r"|\b(?:untitled|n/a|null|placeholder|thumbnail|lorem ipsum[^\n]*)\b"
)
_FURNITURE = "|".join((_LINK, _SEE, _CLICK, _CREDIT, _RIGHTS, _EMPTY))

_IDEOGRAPH = "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
_FEW_LETTERS, _SMALL_SHARE = 6, 0.15


def boilerplate(text: pl.Expr, *, caption: pl.Expr) -> pl.Expr:
    """Whether hardly anything is left of a text without its page furniture; false for an empty text.

    Hardly anything: fewer than 6 letters, or 15 % of those it had (a Chinese character counts 3). Numbers of figures
    are furniture only where ``caption`` is true: "Image 2" may well be an answer.
    """
    rest = text.str.replace_all(_pattern(_FURNITURE), " ")
    rest = pl.when(caption).then(rest.str.replace_all(_pattern(_LABEL), " ")).otherwise(rest)
    before, after = _letters(text), _letters(rest)
    return (rest != text) & ((after < _FEW_LETTERS) | (after < _SMALL_SHARE * before))


def _pattern(furniture: str) -> str:
    """Any case; and borders of ASCII words, because those of Unicode keep the regex engine from its fast path."""
    return f"(?i){furniture}".replace(r"\b", r"(?-u:\b)")


def _letters(text: pl.Expr) -> pl.Expr:
    return text.str.count_matches(r"\p{L}") + 2 * text.str.count_matches(_IDEOGRAPH)
