"""Under which licence an article may be used, in the short names of SPDX."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from curate.sources.jats.text import name_of

_URL = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)(?:/([\d.]+))?", re.IGNORECASE)
_HREF = "{http://www.w3.org/1999/xlink}href"
_WORDS = (
    (r"attribution[ -]+non-?commercial[ -]+no[ -]?deriv", "CC-BY-NC-ND"),
    (r"attribution[ -]+non-?commercial[ -]+share", "CC-BY-NC-SA"),
    (r"attribution[ -]+non-?commercial", "CC-BY-NC"),
    (r"attribution[ -]+no[ -]?deriv", "CC-BY-ND"),
    (r"attribution[ -]+share", "CC-BY-SA"),
    (r"creative commons (public domain dedication|zero|cc0)|\bcc0\b", "CC0"),
    (r"creative commons attribution|\bcc[ -]by\b", "CC-BY"),
    (r"public domain", "public-domain"),
)


def license_of(article: etree._Element) -> str | None:
    """``CC-BY-4.0``, ``CC0-1.0``, ``public-domain``, ...; None when the article names none that is known.

    An address counts before words. Without a version in it the name has none.
    """
    for place in _licences(article):
        for address in _addresses(place):
            if named := license_of_address(address):
                return named
        text = " ".join(" ".join(str(piece) for piece in place.itertext()).split())
        for pattern, name in _WORDS:
            if re.search(pattern, text, re.IGNORECASE):
                return name
    return None


def license_of_address(address: str) -> str | None:
    """The licence that an address of creativecommons.org stands for."""
    found = _URL.search(address)
    if not found:
        return None
    family, name, version = found[1].lower(), found[2].lower(), found[3]
    if family == "publicdomain":
        return f"CC0-{version or '1.0'}" if name == "zero" else "public-domain"
    return f"CC-{name.upper()}" + (f"-{version}" if version else "")


def license_family(name: str) -> str:
    """A licence without its version: CC-BY-4.0 is CC-BY."""
    return re.sub(r"-\d+(\.\d+)*$", "", name)


def _licences(article: etree._Element) -> Iterator[etree._Element]:
    """Where the article's own licence stands: not those of its parts."""
    for front in article:
        if name_of(front) in ("front", "front-stub"):
            yield from (element for element in front.iter() if name_of(element) == "license")
            yield from (element for element in front.iter() if name_of(element) == "copyright-statement")


def _addresses(place: etree._Element) -> Iterator[str]:
    for element in place.iter():
        if name_of(element):
            yield element.get(_HREF) or ""
            if name_of(element) == "license_ref":
                yield element.text or ""
