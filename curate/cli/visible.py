"""Text from outside as it may be printed: nothing in it acts on a terminal, and no key is in it."""

from __future__ import annotations

import os
import re

_ACTING = re.compile(
    "[\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Beyond ASCII's control characters, which JSON escapes: a terminal obeys U+009B like Escape-[, and U+202E turns the
rest of a line around."""

_KEYS = ("OPENAI_API_KEY", "CURATE_REBUILD_API_KEY", "CURATE_STRONGER_API_KEY")
"""Environment variables that hold keys."""


def visible(text: str) -> str:
    """``text`` with U+FFFD for whatever is not printable; line ends and tabs stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text)


def visible_json(text: str) -> str:
    """The same JSON value with the characters escaped that a terminal would obey."""
    return _ACTING.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def without_key(text: str) -> str:
    """``text`` without the keys of endpoints, which an error of a library may quote."""
    for name in _KEYS:
        if key := os.environ.get(name, "").strip():
            text = text.replace(key, "[key]")
    return text
