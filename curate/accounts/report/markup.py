"""HTML that is built, never pasted: whatever is not markup already is escaped and made harmless."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable
from typing import Final

Child = "str | Html | int | float | None | Iterable[Child]"

_VOID: Final = frozenset({"img", "meta", "wbr"})
_UNSEEN: Final = "\n\t\u00a0\u200c\u200d"
"""White space, and the joiners that Persian and Indic scripts are spelled with: they reorder nothing."""


class Html(str):
    """Markup: the only text that :func:`tag` does not escape."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """An element. Strings among ``children`` are escaped; None is left out; lists are flattened.

    Attributes are named as in HTML, with ``_`` for ``-`` and at the end of Python's keywords (``class_``). An attribute
    that is None or False is left out, one that is True stands without a value.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        written = key.rstrip("_").replace("_", "-")
        parts.append(f" {written}" if value is True else f' {written}="{html.escape(harmless(str(value)))}"')
    parts.append(">")
    if name not in _VOID:
        parts.extend((*map(escaped, children), f"</{name}>"))
    return Html("".join(parts))


def escaped(child: object) -> Html:
    """A child of an element as markup."""
    if child is None:
        return Html("")
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return Html(html.escape(harmless(child)))
    if isinstance(child, Iterable):
        return Html("".join(map(escaped, child)))
    return Html(html.escape(f"{child:,}" if isinstance(child, int) else str(child)))


def harmless(text: str) -> str:
    """``text`` with U+FFFD for control characters, turned writing directions and what else cannot be seen."""
    if text.isprintable():
        return text
    return "".join(map(_harmless, text))


def _harmless(char: str) -> str:
    if char.isprintable() or char in _UNSEEN:
        return char
    return " " if char.isspace() and char not in "\x1c\x1d\x1e\x1f\u2028\u2029" else "\ufffd"


def shortened(text: str, most: int) -> str:
    """At most ``most`` characters of a text, cut between words where it has any, with an ellipsis where it goes on."""
    text = text.strip()
    if len(text) <= most:
        return text
    start = text[: most - 1]
    words = start.rpartition(" ")[0].rstrip()
    return (words if len(words) > 0.8 * most else start.rstrip()) + "…"


def marked(text: str) -> list[Html | str]:
    """A text in which `names` stand between backticks, as in documentation, with these set as code."""
    return [tag("code", part) if number % 2 else part for number, part in enumerate(text.split("`"))]


def breakable(text: str) -> list[Html | str]:
    """A name that may go on in the next line after each underscore."""
    first, *others = text.split("_")
    return [first, *(part for name in others for part in ("_", tag("wbr"), name))]


def count(value: int | float) -> str:
    """A whole number with thousands parted."""
    return f"{round(value):,}"


def counted(value: int, name: str) -> str:
    """A number of things: ``1 sample``, ``1,200 samples``."""
    return f"{value:,} {name}" if value == 1 else f"{value:,} {name}s"


def percent(part: float, whole: float) -> str:
    """A share in words, like 12.3 %; a dash without a whole."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "< 0.1\u00a0%"
    return "> 99.9\u00a0%" if 99.9 < share < 100 else f"{share:.1f}\u00a0%"


def figure(value: float) -> str:
    """A measured value with about four digits."""
    if not math.isfinite(value):
        return "–"
    if value == round(value) and abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def moment(written: str) -> str:
    """An ISO 8601 time to the minute, that stays on one line."""
    return written[:16].replace("T", "\u00a0")
