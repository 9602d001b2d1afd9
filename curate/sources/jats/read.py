"""From article files to rows in wire formats: the document first, then a row for each figure."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from lxml import etree

from curate.sources.article_files import ALLOWED_LICENSES
from curate.sources.jats.article import Article, Figure, read_article
from curate.sources.jats.license import license_family
from curate.sources.jats.text import name_of
from curate.sources.readers import BadRow, Row
from curate.sources.rejects import one_line

MAX_XML_BYTES = 64 * 2**20
MAX_PACKAGE_FILES = 2000
MAX_PICTURE_BYTES = 64 * 2**20
MAX_PACKAGE_BYTES = 512 * 2**20
"""Bounds on what is unpacked of one package."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif")
"""Files of a figure, the best first: PubMed Central adds small GIF previews to the JPEG files."""

_Find = Callable[[str], str | None]
"""Gives a reference that records may use for the picture that an article calls by a name; None when there is none."""


def article_rows(path: Path, licenses: Collection[str] = ALLOWED_LICENSES) -> Iterator[Row | BadRow]:
    """The rows of an article whose pictures lie beside it.

    ``licenses`` names families (``CC-BY``) that are read; ``any`` stands for all. What cannot be read is a BadRow.
    """
    try:
        if path.stat().st_size > MAX_XML_BYTES:
            yield BadRow(0, "too_large", f"the XML is larger than {MAX_XML_BYTES // 2**20} MiB")
            return
        data = path.read_bytes()
        names = {entry.name.lower(): entry.name for entry in path.parent.iterdir()}
    except OSError as error:
        yield BadRow(0, "unreadable_file", f"reading stopped: {error.strerror}")
        return

    def find(name: str) -> str | None:
        return next((names[form] for form in _forms(name) if form in names), None)

    yield from _rows(data, find, licenses)


def package_rows(path: Path, licenses: Collection[str] = ALLOWED_LICENSES) -> Iterator[Row | BadRow]:
    """The same for a package as PubMed Central gives them out: a gzipped tar file with one article and its pictures."""
    articles: list[bytes] = []
    pictures: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(path, "r:gz") as package:
            for number, member in enumerate(package):
                name = PurePosixPath(member.name).name.lower()
                if number >= MAX_PACKAGE_FILES:
                    yield BadRow(0, "too_large", f"the package has more than {MAX_PACKAGE_FILES:,} files")
                    return
                if not member.isfile() or not name.endswith((".nxml", ".xml", *_SUFFIXES)):
                    continue
                limit = MAX_XML_BYTES if name.endswith("xml") else MAX_PICTURE_BYTES
                total += member.size
                if member.size > limit or total > MAX_PACKAGE_BYTES:
                    yield BadRow(0, "too_large", f"{member.name[:80]!r} is too large, or all files together are")
                    return
                content = package.extractfile(member)
                data = content.read(limit + 1) if content is not None else b""
                if name.endswith("xml"):
                    articles.append(data)
                else:
                    pictures.setdefault(name, data)
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError) as error:
        yield BadRow(0, "unreadable_file", f"no readable package: {one_line(error)}")
        return

    def find(name: str) -> str | None:
        found = next((form for form in _forms(name) if form in pictures), None)
        return None if found is None else "data:;base64," + base64.b64encode(pictures[found]).decode()

    if not articles:
        yield BadRow(0, "no_article", "the package holds no .nxml file")
    for data in articles:
        yield from _rows(data, find, licenses)


def _forms(name: str) -> Iterator[str]:
    """The file names that a picture's name may stand for, in lower case."""
    lower = name.lower()
    if lower.endswith(_SUFFIXES):
        yield lower
        lower = lower.rpartition(".")[0]
    yield from (lower + suffix for suffix in _SUFFIXES)


def _rows(data: bytes, find: _Find, licenses: Collection[str]) -> Iterator[Row | BadRow]:
    try:
        # Nothing is fetched and no entity of the document's own is filled in; libxml2 bounds depth and size by itself.
        parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
        root = etree.parse(io.BytesIO(data), parser).getroot()
        if name_of(root) != "article":
            root = next((found for found in root.iter() if name_of(found) == "article"), root)
        if name_of(root) != "article":
            yield BadRow(0, "no_article", f"its outermost element is {name_of(root)!r}, not a JATS article")
            return
        article = read_article(root)
    except (etree.LxmlError, ValueError, RecursionError) as error:
        yield BadRow(0, "invalid_xml", f"it is not readable as XML: {one_line(error)}")
        return
    if "any" not in licenses and (article.license is None or license_family(article.license) not in licenses):
        found = f"its licence is {article.license}" if article.license else "it names no licence that is known"
        yield BadRow(0, "license_not_allowed", f"{found}; allowed are {', '.join(licenses)} (--allow-license)")
        return
    yield from _records(article, find)


def _records(article: Article, find: _Find) -> Iterator[Row | BadRow]:
    common = {**article.ids, **({"license": article.license} if article.license else {})}
    files = {figure: [found for name in figure.graphics if (found := find(name))] for figure in article.figures}
    document = _document(article, files)
    if document["texts"]:
        yield Row(1, {**document, **common, "title": article.title})
    else:
        yield BadRow(1, "empty_file", "the article has no text")
    for number, figure in enumerate(article.figures, start=2):
        if not figure.graphics:
            yield BadRow(number, "missing_image", f"{_name(figure)} names no picture file")
        elif not files[figure]:
            yield BadRow(number, "missing_image", f"{_name(figure)}: {figure.graphics[0]!r} is not beside the article")
        elif not figure.caption:
            yield BadRow(number, "empty", f"{_name(figure)} has no caption")
        else:
            yield Row(number, _caption_record(figure, files[figure]) | common | {"article_title": article.title})


def _document(article: Article, files: dict[Figure, list[str]]) -> dict[str, Any]:
    """The interleaved record: a figure is its pictures and then its label and caption."""
    texts: list[str | None] = []
    pictures: list[dict[str, str] | None] = []
    for block in article.blocks:
        if block.text:
            texts.append(block.text)
            pictures.append(None)
        for figure in block.figures:
            found = files[figure]
            texts += [None] * len(found)
            pictures += [_slot(reference) for reference in found]
            said = ". ".join(part for part in (figure.label, figure.caption) if part)
            if found and said:
                texts.append(said)
                pictures.append(None)
    return {"texts": texts, "image_info": pictures}


def _slot(reference: str) -> dict[str, str]:
    return {"image_base64" if reference.startswith("data:") else "image": reference}


def _caption_record(figure: Figure, files: list[str]) -> dict[str, Any]:
    record: dict[str, Any] = {"image": files if len(files) > 1 else files[0], "text": figure.caption}
    described = {"id": figure.id, "label": figure.label, "panels": figure.panels}
    record["figure"] = {key: value for key, value in described.items() if value}
    if figure.mentions:
        record["mentions"] = list(figure.mentions)
    return record


def _name(figure: Figure) -> str:
    return figure.label or f"the figure {figure.id!r}"
