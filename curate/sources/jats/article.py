"""An article as blocks in reading order, its figures, and which paragraphs speak of which figure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from lxml import etree

from curate.sources.jats.license import license_of
from curate.sources.jats.text import BLOCKS, caption_text, list_items, name_of, plain_text, table_text

_HREF = "{http://www.w3.org/1999/xlink}href"
_RANGE = re.compile(r"\s*[-‐-―−]\s*|\s+(?:to|through)\s+")
_LEFT_OUT = re.compile(
    r"(acknowledge?ments?|(conflicts?|competing|declarations?) of? ?interests?|competing (financial )?interests?|"
    r"authors?['’]? contributions?|funding( sources?)?|pre-publication history|"
    r"supplementary (material|data|information)|supporting information|abbreviations|references|ethics( approval.*)?|"
    r"consent( for publication)?|"
    r"availability of data.*|data availability.*|disclosures?|footnotes?|publisher['’]s note)\W*",
    re.IGNORECASE,
)
"""Titles of sections that are no part of what the article has to say."""
_LONGEST_RANGE = 100
"""Figures that 'Figures 1-100' may stand for; more is an article made to be expensive."""
_LEFT_OUT_TYPES = frozenset({"supplementary-material", "COI-statement", "data-availability", "funding", "ack"})
_PANEL = re.compile(r"\(\s*([A-Za-z])\s*\)|(?:^|(?<=[.;:]\s))([A-Z])\s*[,.:)](?=\s)")


@dataclass(frozen=True)
class Figure:
    """A figure and what is said about it."""

    id: str
    label: str
    """As printed: ``Figure 2``."""
    caption: str
    """Title and legend, without the label."""
    graphics: tuple[str, ...]
    """Names of the picture files as the article gives them, mostly without a suffix."""
    mentions: tuple[str, ...] = ()
    """The paragraphs that refer to it, in reading order."""

    @property
    def panels(self) -> list[dict[str, str]]:
        """The parts of the legend that begin with (A), (B), ... in order; empty unless there are two at least."""
        marks = list(_PANEL.finditer(self.caption))
        panels: list[dict[str, str]] = []
        starts: list[re.Match[str]] = []
        for mark in marks:
            if (mark[1] or mark[2]).upper() == chr(ord("A") + len(starts)):
                starts.append(mark)
        for number, mark in enumerate(starts):
            end = starts[number + 1].start() if number + 1 < len(starts) else len(self.caption)
            text = self.caption[mark.end() : end].strip(" ,;:")
            panels.append({"label": (mark[1] or mark[2]).upper(), "text": text})
        return panels if len(panels) > 1 else []


@dataclass(frozen=True)
class Block:
    """A stretch of text (a heading, paragraph, list or table), or figures that stand together."""

    text: str = ""
    figures: tuple[Figure, ...] = ()


@dataclass
class Article:
    """What an article says, in reading order."""

    title: str
    ids: dict[str, str]
    """pmcid, pmid, doi, where given."""
    license: str | None
    blocks: list[Block] = field(default_factory=list)
    """Each figure stands after the first paragraph that speaks of it, beside the others of that paragraph; one that
    nothing speaks of stands where the article has it."""

    @property
    def figures(self) -> list[Figure]:
        """All figures, as they stand in the blocks."""
        return [figure for block in self.blocks for figure in block.figures]


@dataclass(frozen=True)
class _Piece:
    """A block as it was found, before figures are moved to where they are spoken of."""

    text: str = ""
    cites: tuple[str, ...] = ()
    figure: Figure | None = None


def read_article(root: etree._Element) -> Article:
    """The content of an ``article`` element."""
    meta = next(root.iter("{*}article-meta"), root)
    title = next((plain_text(element) for element in meta.iter("{*}article-title")), "")
    ids = {
        {"pmc": "pmcid", "pmcid": "pmcid", "pmid": "pmid", "doi": "doi"}[kind]: (element.text or "").strip()
        for element in meta.iterchildren("{*}article-id")
        if (kind := element.get("pub-id-type", "")) in ("pmc", "pmcid", "pmid", "doi")
    }
    figures = (element.get("id", "") for element in root.iter() if name_of(element) == "fig")
    order = {identity: number for number, identity in enumerate(dict.fromkeys(figures))}
    pieces = list(_content(root, meta, order))
    return Article(title, ids, license_of(root), _arranged(title, pieces))


def _content(root: etree._Element, meta: etree._Element, order: Mapping[str, int]) -> Iterator[_Piece]:
    """Abstract, body, appendices, and figures that are kept apart from the text."""
    for abstract in meta.iterchildren("{*}abstract"):
        if abstract.get("abstract-type") in (None, "summary"):
            yield from _blocks(abstract, order)
    for part in root:
        if name_of(part) == "body":
            yield from _blocks(part, order)
    for part in root:
        if name_of(part) == "back":
            for appendix in part.iter("{*}app", "{*}app-group"):
                if name_of(appendix) == "app":
                    yield from _blocks(appendix, order)
        elif name_of(part) == "floats-group":
            yield from _blocks(part, order)


def _blocks(element: etree._Element, order: Mapping[str, int]) -> Iterator[_Piece]:
    for child in element:
        yield from _block(child, order)


def _block(element: etree._Element, order: Mapping[str, int]) -> Iterator[_Piece]:
    name = name_of(element)
    if name == "sec":
        if not _is_left_out(element):
            yield from _blocks(element, order)
    elif name in ("title", "p", "disp-quote", "verse-group", "speech", "statement"):
        if text := plain_text(element):
            yield _Piece(text, _cited(element, order))
        yield from _inner_blocks(element, order)
    elif name in ("list", "def-list"):
        items = [f"- {item}" for item in list_items(element)] or [plain_text(element)]
        yield _Piece("\n".join(items), _cited(element, order))
        yield from _inner_blocks(element, order)
    elif name == "fig":
        yield _Piece(figure=_figure(element))
    elif name == "table-wrap":
        yield _Piece(table_text(element), _cited(element, order))
    elif name in ("fig-group", "table-wrap-group", "boxed-text", "app"):
        yield from _blocks(element, order)


def _inner_blocks(element: etree._Element, order: Mapping[str, int]) -> Iterator[_Piece]:
    """Figures, tables and boxes inside a paragraph or list."""
    for child in element:
        yield from _block(child, order) if name_of(child) in BLOCKS else _inner_blocks(child, order)


def _is_left_out(section: etree._Element) -> bool:
    title = next((plain_text(child) for child in section if name_of(child) == "title"), "")
    return section.get("sec-type") in _LEFT_OUT_TYPES or _LEFT_OUT.fullmatch(title) is not None


def _cited(element: etree._Element, order: Mapping[str, int]) -> tuple[str, ...]:
    """Ids of the figures that a paragraph refers to, in that order; a range (Figures 2-4) includes what is between."""
    cited: dict[str, None] = {}
    last = ""
    before: etree._Element | None = None
    for xref in element.iter():
        if name_of(xref) != "xref" or xref.get("ref-type") not in ("fig", "figure"):
            continue
        ids = (xref.get("rid") or "").split()
        joined = before is not None and before.tail is not None and _RANGE.fullmatch(before.tail) is not None
        if joined and before is not None and before.getnext() is xref and ids:
            first, until = order.get(last), order.get(ids[0])
            if first is not None and until is not None and until - first <= _LONGEST_RANGE:
                cited |= dict.fromkeys(islice(order, first + 1, until))
        cited |= dict.fromkeys(ids)
        last = ids[-1] if ids else ""
        before = xref
    return tuple(cited)


def _figure(element: etree._Element) -> Figure:
    label = next((plain_text(child) for child in element if name_of(child) == "label"), "").rstrip(" .:")
    graphics = [
        name.rpartition("/")[2]
        for graphic in element.iter()
        if name_of(graphic) == "graphic" and _is_first_choice(graphic) and (name := graphic.get(_HREF))
    ]
    caption = caption_text(element, with_label=False)
    return Figure(element.get("id", ""), label, caption, tuple(dict.fromkeys(graphics)))


def _is_first_choice(graphic: etree._Element) -> bool:
    """False for other forms of a picture that is given in several."""
    above = graphic.getparent()
    if above is None or name_of(above) != "alternatives":
        return True
    return next((child for child in above if name_of(child) == "graphic"), None) is graphic


def _arranged(title: str, pieces: list[_Piece]) -> list[Block]:
    """Pieces as blocks, each figure once, after the first paragraph that speaks of it."""
    mentions: dict[str, list[str]] = {}
    for piece in pieces:
        for cited in piece.cites:
            mentions.setdefault(cited, []).append(piece.text)
    figures: dict[str, Figure] = {}
    for number, piece in enumerate(pieces):
        found = piece.figure
        if found is not None:
            key = found.id or f"#{number}"
            said = tuple(mentions.get(found.id, ()))
            figures.setdefault(key, Figure(found.id, found.label, found.caption, found.graphics, said))
    blocks = [Block(title)] if title else []
    placed: set[str] = set()
    for number, piece in enumerate(pieces):
        if piece.figure is not None:
            key = piece.figure.id or f"#{number}"
            if key not in placed and key not in mentions:
                placed.add(key)
                blocks.append(Block(figures=(figures[key],)))
            continue
        if piece.text:
            blocks.append(Block(piece.text))
        new = [cited for cited in piece.cites if cited in figures and cited not in placed]
        if new:
            placed.update(new)
            blocks.append(Block(figures=tuple(figures[cited] for cited in new)))
    return blocks
