"""What verl and Parquet hand over, as plain Python values, without importing NumPy or Arrow to know their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Choice = tuple[str, str]
"""The letter of an option and its text."""

_DEEPEST = 4
"""Levels of nested lists that are looked into."""


def plain(value: Any) -> Any:
    """A NumPy string, scalar or array, or anything else with ``tolist``, as the Python value it stands for."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", errors="replace")
    convert = getattr(value, "tolist", None)
    return convert() if callable(convert) else value


def text_of(value: Any) -> str:
    """A response as a string; what is no text (None, a number, a list) is an empty response."""
    value = plain(value)
    return value if isinstance(value, str) else ""


def texts_of(value: Any, _level: int = 0) -> list[str]:
    """Reference answers as strings: one, a list, an array or a set of texts and numbers. None, NaN and "" give none."""
    value = plain(value)
    if isinstance(value, str):
        return [value] if value.strip() else []
    if isinstance(value, (int, float)):
        return [] if value != value else [str(value)]  # noqa: PLR0124 - NaN is what a missing number becomes in Arrow
    if isinstance(value, (list, tuple, set, frozenset)) and _level < _DEEPEST:
        return [text for item in value for text in texts_of(item, _level + 1)]
    return []


def choices_of(value: Any) -> tuple[Choice, ...]:
    """Options as (letter, text) from ``{label, text}`` structs, a list of texts, or letter to text.

    Texts in a list are lettered A, B, ... Z, AA, ... by their position. Arrow gives every row of a file the same keys
    and fills the missing ones with null: options without a text are left out.
    """
    value = plain(value)
    if isinstance(value, Mapping):
        return tuple((str(label), text) for label, given in value.items() for text in texts_of(given)[:1])
    if not isinstance(value, (list, tuple)):
        return ()
    found = []
    for position, item in enumerate(map(plain, value)):
        struct = isinstance(item, Mapping)
        label, text = (texts_of(item.get("label")), texts_of(item.get("text"))) if struct else ([], texts_of(item))
        if text and (label or not struct):
            found.append((label[0] if label else _letter(position), text[0]))
    return tuple(found)


def mapping_of(value: Any) -> Mapping[str, Any]:
    """``extra_info`` as a mapping; an empty one when it is none."""
    value = plain(value)
    return value if isinstance(value, Mapping) else {}


def _letter(position: int) -> str:
    letters = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
