"""Markdown as document converters write it (MinerU, docling): texts and pictures in turn, one document a file.

PDF files are not read: telling columns, captions and reading order apart is what those converters are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.sources.readers import BadRow, Row

MAX_BYTES = 64 * 2**20
"""Longest file that is read: pictures may be inside, in base64."""

_LONGEST_ALT = 300
_TARGET = re.compile(
    r"\s{0,9}(?:<(?P<angled>[^<>\n]{1,4000})>|(?P<plain>[^()\s]{0,4000}(?:\([^()\s]{0,1000}\)[^()\s]{0,1000}){0,9}))"
    r"(?:\s{1,9}[\"'][^\"'\n]{0,1000}[\"'])?\s{0,9}\)"
)
"""What follows ``![...](``: an address, in angles if it has spaces, and perhaps a title."""
_SOURCE = re.compile(r"\ssrc\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)
_OPENING = re.compile(r"!\[|<img\s", re.IGNORECASE)
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_REFERENCES = re.compile(r"(\d+[.)]?\s*)?(references|bibliography|literature cited|参考文献)\W*", re.IGNORECASE)


def markdown_rows(path: Path) -> Iterator[Row | BadRow]:
    """The document in a Markdown file as an interleaved record; a file without any picture is a BadRow."""
    try:
        if path.stat().st_size > MAX_BYTES:
            yield BadRow(0, "too_large", f"the file is larger than {MAX_BYTES // 2**20} MiB")
            return
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        yield BadRow(0, "not_utf8", f"byte {error.start + 1} is not UTF-8")
        return
    except OSError as error:
        yield BadRow(0, "unreadable_file", f"reading stopped: {error.strerror}")
        return
    record = _document(_without_references(_without_comments(text)))
    if any(record["image_info"]):
        yield Row(1, record)
    else:
        yield BadRow(0, "text_without_image", "the document shows no picture")


def _without_comments(text: str) -> str:
    pieces, start = [], 0
    while (opened := text.find("<!--", start)) >= 0 and (closed := text.find("-->", opened)) >= 0:
        pieces.append(text[start:opened])
        start = closed + 3
    return "".join([*pieces, text[start:]])


def _pictures(text: str) -> Iterator[tuple[int, int, str]]:
    """Start, end and address of every picture. Each step looks a bounded way ahead, or never again."""
    position, tags_end = 0, text.rfind(">")
    while opening := _OPENING.search(text, position):
        start = opening.start()
        position = opening.end()
        if opening.group() != "![":
            end = text.find(">", start) if start < tags_end else -1
            source = _SOURCE.search(text, start, end) if end >= 0 else None
            if source is not None:
                position = end + 1
                yield start, position, source[1] or source[2] or ""
            continue
        target = text.find("](", start, start + _LONGEST_ALT)
        if target < 0:
            continue
        if text.startswith("data:", target + 2):
            end = text.find(")", target)
            found = (end + 1, text[target + 2 : end]) if end >= 0 else None
        else:
            address = _TARGET.match(text, target + 2)
            found = (address.end(), address["angled"] or address["plain"]) if address is not None else None
        if found is not None:
            position = found[0]
            yield start, *found


def _without_references(text: str) -> str:
    """The text without its list of references: from that heading to the next one that is not below it."""
    kept: list[str] = []
    level = 0
    for line in text.splitlines():
        heading = _HEADING.match(line)
        if heading and (not level or len(heading[1]) <= level):
            level = len(heading[1]) if _REFERENCES.fullmatch(heading[2]) else 0
        if not level:
            kept.append(line)
    return "\n".join(kept)


def _document(text: str) -> dict[str, Any]:
    texts: list[str | None] = []
    pictures: list[dict[str, str] | None] = []

    def say(piece: str) -> None:
        if piece.strip():
            texts.append(piece.strip())
            pictures.append(None)

    start = 0
    for begins, ends, reference in _pictures(text):
        if not reference.strip():
            continue
        say(text[start:begins])
        start = ends
        texts.append(None)
        pictures.append({"image_base64" if reference.startswith("data:") else "image": reference.strip()})
    say(text[start:])
    return {"texts": texts, "image_info": pictures}
