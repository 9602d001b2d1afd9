"""The text of an element as it would be read: without reference marks, with superscripts that keep their meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

_REFERENCE = "\ue000"
"""Stands for a mark that is taken out (of the private use area), until the brackets around it are gone too."""

_MARKS = frozenset({"bibr", "fn", "table-fn", "aff", "corresp", "author-notes", "sec", "supplementary-material"})
"""Kinds of cross-references whose text says nothing without what they lead to; those to figures and tables stay."""

BLOCKS = frozenset({"fig", "fig-group", "table-wrap", "table-wrap-group", "boxed-text", "supplementary-material"})
"""Elements that may stand inside a paragraph and are blocks of their own."""

_SILENT = BLOCKS | {
    "fn",
    "index-term",
    "object-id",
    "inline-graphic",
    "graphic",
    "media",
    "named-content-type",
    "label",
}
_SPACED = frozenset({"p", "title", "list-item", "def", "break", "disp-formula", "td", "th", "tr", "disp-quote", "sec"})

_BRACKETED = re.compile(
    rf" ?[\[(] ?(?:refs?\.? ?|see (?:also )?|e\.g\.,? ?|reviewed in )?{_REFERENCE}"
    rf"(?:[ ,;–—\-]{{0,6}}(?:and |& ?)?{_REFERENCE})* ?[\])]"
)
_BARE = re.compile(rf" ?{_REFERENCE}(?:[ ,;–—\-]{{0,6}}{_REFERENCE})*")
_EXPONENT = re.compile(r"[+\-−–]?\d+(?:\.\d+)?|[+\-−–]")
_TEX = re.compile(r"\\begin\{document\}(.*?)\\end\{document\}", re.DOTALL)
_SPACE = re.compile(r"\s+")


def plain_text(element: etree._Element) -> str:
    """The text of an element in one line; blocks inside it (:data:`BLOCKS`) are left out."""
    text = _SPACE.sub(" ", "".join(_pieces(element)))  # first: the patterns below take a space for one character
    if _REFERENCE in text:
        text = _SPACE.sub(" ", _BARE.sub("", _BRACKETED.sub("", text)).replace("al..", "al."))
    return text.strip()


def name_of(element: etree._Element) -> str:
    """The name of an element without its namespace; empty for comments and processing instructions."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _pieces(element: etree._Element) -> Iterator[str]:
    if element.text:
        yield element.text
    for child in element:
        yield from _child(child)
        if child.tail:
            yield child.tail


def _child(child: etree._Element) -> Iterator[str]:
    name = name_of(child)
    if not name or name in _SILENT:
        return
    if name == "xref":
        kind = child.get("ref-type")
        yield from ((_REFERENCE,) if kind in _MARKS else _pieces(child))
    elif name in ("inline-formula", "disp-formula", "alternatives", "tex-math"):
        yield _formula(child)
    elif name == "sup":
        yield _raised("".join(_pieces(child)))
    elif name in _SPACED:
        yield " "
        yield from _pieces(child)
        yield " "
    else:
        yield from _pieces(child)


def _raised(text: str) -> str:
    """A superscript: ``10`` with ``5`` above is 10^5, not 105; reference numbers are taken out."""
    if _REFERENCE in text and not text.replace(_REFERENCE, "").strip(" ,;–—-"):
        return _REFERENCE
    return f"^{text.strip()}" if _EXPONENT.fullmatch(text.strip()) else text


def _formula(element: etree._Element) -> str:
    """TeX where the article has it, else the characters of the formula, else nothing: some are only pictures."""
    tex = element if name_of(element) == "tex-math" else next(_named(element, "tex-math"), None)
    if tex is not None:
        source = "".join(str(text) for text in tex.itertext())
        inner = _TEX.search(source)
        return f" {(inner[1] if inner else source).strip()} "
    math = next(_named(element, "math"), None)
    return "".join("".join(str(text).split()) for text in (element if math is None else math).itertext())


def _named(element: etree._Element, name: str) -> Iterator[etree._Element]:
    return (found for found in element.iter() if name_of(found) == name)


def table_text(element: etree._Element) -> str:
    """A table as text: its label and caption, then a line for each row, cells parted by bars, then its foot."""
    lines = [caption_text(element, with_label=True)]
    for row in _named(element, "tr"):
        cells = [plain_text(cell) for cell in row if name_of(cell) in ("td", "th")]
        if any(cells):
            lines.append(" | ".join(cells))
    return "\n".join(line for line in lines if line)


def caption_text(element: etree._Element, *, with_label: bool) -> str:
    """Label, title and caption of a figure or table, as sentences."""
    label = next((plain_text(child) for child in element if name_of(child) == "label"), "") if with_label else ""
    sentences = [label]
    for caption in (child for child in element if name_of(child) == "caption"):
        sentences += [plain_text(child) for child in caption if name_of(child) in ("title", "p")]
        sentences += [item for child in caption if name_of(child) == "list" for item in list_items(child)]
    return " ".join(_ended(sentence) for sentence in sentences if sentence)


def list_items(element: etree._Element) -> list[str]:
    """The entries of a list, each in one line."""
    items = [plain_text(child) for child in element if name_of(child) == "list-item"]
    return [item for item in items if item]


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?", ":", "。")) else f"{sentence}."
