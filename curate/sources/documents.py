"""Which reader an article or a document is for. Imported only when there is one: the XML parser takes its time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from curate.sources.article_files import PACKAGES, is_markdown
from curate.sources.jats import article_rows, package_rows
from curate.sources.markdown import markdown_rows
from curate.sources.readers import BadRow, Row


def document_rows(path: Path, licenses: Collection[str]) -> Iterator[Row | BadRow]:
    """The rows of an article in XML, a package of one, or a Markdown file; ``licenses`` are those that are allowed."""
    if is_markdown(path.name):
        return markdown_rows(path)
    return (package_rows if path.name.lower().endswith(PACKAGES) else article_rows)(path, licenses)
