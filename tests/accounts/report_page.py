"""A report as a reader or a screen reader takes it in: elements in order, and what must hold for any page."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"img", "meta", "wbr"}


@dataclass
class Element:
    """An element with its attributes, the elements that it is in, and the text in it."""

    name: str
    attributes: dict[str, str | None]
    inside: tuple[str, ...]
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(self.pieces)

    def __getitem__(self, name: str) -> str:
        return self.attributes.get(name) or ""


@dataclass
class Page(HTMLParser):
    """Every element of a page; fails on one that is not closed where it should be."""

    source: str
    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.source)
        self.close()
        assert not self._open, [element.name for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs), tuple(outer.name for outer in self._open))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, tag
        assert self._open[-1].name == tag, (tag, [element.name for element in self._open])
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.pieces.append(data)

    def all(self, name: str) -> list[Element]:
        """The elements of one name."""
        return [element for element in self.elements if element.name == name]

    def section(self, anchor: str) -> str:
        """The text of a section, its elements parted by spaces."""
        found = [element for element in self.all("section") if element["aria-labelledby"] == anchor]
        assert len(found) == 1, anchor
        return " ".join(" ".join(found[0].pieces).split())

    def check(self) -> None:
        """Fail on what no report may be: active, dependent on anything, or closed to who does not see it."""
        assert self.source.isascii() or self.source.encode()
        assert not [char for char in self.source if not char.isprintable() and char not in "\n\t\u00a0\u200c\u200d"]
        assert not any(self.all(name) for name in ("script", "link", "iframe", "object", "embed", "base", "form"))
        for element in self.elements:
            assert not [name for name in element.attributes if name.startswith("on")], element
            assert element["src"][:16] in ("", "data:image/webp;"), element["src"][:80]
            assert element["href"][:1] in ("", "#"), element["href"]
            assert "url(" not in element["style"]
        assert "url(" not in self.all("style")[0].text
        assert "@import" not in self.all("style")[0].text
        assert self.all("html")[0]["lang"] == "en"
        assert any("default-src 'none'" in element["content"] for element in self.all("meta"))
        assert any(element["name"] == "viewport" for element in self.all("meta"))
        ids = [element["id"] for element in self.elements if element["id"]]
        assert len(ids) == len(set(ids))
        targets = [element["href"][1:] for element in self.all("a")]
        assert set(targets) <= set(ids)
        assert len(self.all("h1")) == 1
        assert all(element["alt"] for element in self.all("img"))
        assert all(element["aria-label"] for element in self.all("svg"))
        assert all(element["scope"] in ("row", "col") for element in self.all("th"))
        assert {element["aria-labelledby"] for element in self.all("section")} <= set(ids)
