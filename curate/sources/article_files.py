"""What the readers know of articles without reading one: their files' names, and the licences that are allowed."""

from __future__ import annotations

ALLOWED_LICENSES = ("CC0", "public-domain", "CC-BY", "CC-BY-SA", "CC-BY-NC", "CC-BY-NC-SA")
"""Families of licences under which an article is read unless the user says otherwise: not those that forbid derived
works, which a training set may be."""

PACKAGES = (".tar.gz", ".tgz")


def is_article_file(name: str) -> bool:
    """Whether a file name says that it may hold an article in XML, or a package of one."""
    return name.lower().endswith((".nxml", ".xml", *PACKAGES))


def is_markdown(name: str) -> bool:
    """Whether a file name says that it holds Markdown: a document if it shows pictures, else somebody's notes."""
    return name.lower().endswith((".md", ".markdown"))
