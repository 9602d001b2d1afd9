"""Markdown as document converters write it (MinerU, docling): texts and pictures in turn, one document a file.

PDF files are not read: telling columns, captions and reading order apart is what those converters are for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.sources.readers import BadRow, Row

MAX_BYTES = 256 * 2**20
"""Longest file that is read: pictures may be inside, in base64."""

_IMAGE = re.compile(
    r"!\[(?P<alt>[^\]]*)\]\(\s*(?P<path><[^>]+>|[^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?:\s+[\"'][^\"']*[\"'])?\s*\)"
    r"|<img\s[^>]*?src\s*=\s*[\"'](?P<src>[^\"']+)[\"'][^>]*>",
    re.IGNORECASE,
)
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_REFERENCES = re.compile(r"(\d+[.)]?\s*)?(references|bibliography|literature cited|参考文献)\W*", re.IGNORECASE)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


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
    record = _document(_without_references(_COMMENT.sub("", text)))
    if any(record["image_info"]):
        yield Row(1, record)
    else:
        yield BadRow(0, "text_without_image", "the document shows no picture")


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
    for image in _IMAGE.finditer(text):
        reference = (image["path"] or image["src"] or "").strip("<>")
        if not reference:
            continue
        say(text[start : image.start()])
        start = image.end()
        texts.append(None)
        pictures.append({"image_base64" if reference.startswith("data:") else "image": reference})
    say(text[start:])
    return {"texts": texts, "image_info": pictures}
