"""What a section of the page is, and how accounts of other versions or hands are read without trust."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from curate.accounts.report.markup import Html, tag


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading."""

    anchor: str
    title: str
    body: Html

    @property
    def html(self) -> Html:
        """The section as markup."""
        return tag("section", tag("h2", self.title, id=self.anchor), self.body, aria_labelledby=self.anchor)


def section(anchor: str, title: str, *parts: object) -> Section:
    """A section of these parts; strings become paragraphs."""
    body = [tag("p", part) if isinstance(part, str) and not isinstance(part, Html) else part for part in parts]
    return Section(anchor, title, Html("".join(str(tag("div", part)) if part is not None else "" for part in body)))


def absent(anchor: str, title: str, why: str) -> Section:
    """A section without content, and why it has none."""
    return Section(anchor, title, tag("p", why, class_="absent"))


def rows_of(stage: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    """The objects in the first list of these names that a stage's account has."""
    for name in names:
        value = stage.get(name)
        if isinstance(value, list):
            return [row for row in value if isinstance(row, dict)]
    return []


def number_of(row: dict[str, Any], *names: str) -> float | None:
    """The first of these fields that is a finite number."""
    for name in names:
        value = row.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None


def text_of(row: dict[str, Any], *names: str) -> str:
    """The first of these fields that is a text; empty when none is."""
    return next((value for name in names if isinstance(value := row.get(name), str)), "")
