"""The fast way over JSON lines: a row of the same shape as rows before it needs only its values checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import orjson

from curate.schemas import check_values
from curate.sources.readers import LONG_INTEGER

Adapt = Callable[[dict[str, Any]], dict[str, Any]]
"""Gives a row the field names of its format."""

_MAX_SHAPES = 4096
_CHECKED = frozenset(
    {"image", "images", "conversations", "answer", "choices", "texts", "image_info", "turns"}
    | {"messages", "prompt", "reward_model"}
)
"""Fields in which schemas look at what is nested; in others everything is allowed."""
_STRINGS = {str}
_QUOTE, _BACKSLASH, _ESCAPED_QUOTE = b'"', b"\\", b"\\u0022"
_LONG, _DIGITS_AS_ZERO = b"0" * 19, bytes.maketrans(b"123456789", b"000000000")
"""Finds lines worth a search for long integers, many times as fast as the search."""


class QuickRows:
    """Parses and checks rows whose keys and types are those of a row that was found sound by a closer look.

    So the types fit the format, and no column has a type that is new. What is left: values; keys given twice, of which
    the parser takes the last; and integers beyond 64 bits, of which it makes floats.
    """

    def __init__(self, *, deep: bool, adapt: Adapt | None) -> None:
        self._deep, self._adapt = deep, adapt
        self._layouts: dict[tuple[object, ...], _Layout] = {}
        self._shapes = 0

    def learn(self, name: str, row: dict[str, Any]) -> None:
        """Take rows of this shape, of the format ``name``, from now on."""
        if self._shapes >= _MAX_SHAPES:
            return
        self._shapes += 1
        try:
            top = (*row, *map(type, row.values()))
            layout = self._layouts.setdefault(top, _layout(row, deep=self._deep))
            inside = layout.inside(row)
            shape = inside if self._adapt is None else (inside, _shape(self._adapt(row)))
            layout.known[shape] = name, layout.unseen or _mentions((top, inside), float)
        except RecursionError:
            return

    def sound(self, line: bytes) -> tuple[str, dict[str, Any]] | None:
        """Format and adapted fields of the row that a line holds, or None when it has to be looked at closely."""
        try:
            row = orjson.loads(line)
            if row.__class__ is not dict:
                return None
            layout = self._layouts.get((*row, *map(type, row.values())))
            if layout is None:
                return None
            shape: object = layout.inside(row) if layout.nested else ()
            fields = row
            if self._adapt is not None:
                fields = self._adapt(row)
                shape = shape, _shape(fields)
            found = layout.known.get(shape)
            if found is None:
                return None
            name, floats = found
            if floats and _LONG in line.translate(_DIGITS_AS_ZERO) and LONG_INTEGER.search(line):
                return None
            quotes = line.count(_QUOTE)
            if quotes != layout.quotes and not _each_key_once(line, quotes, row):
                return None
            check_values(name, fields)
        except (ValueError, RecursionError, orjson.JSONEncodeError):
            return None
        return name, fields


@dataclass(frozen=True, slots=True)
class _Layout:
    """The keys and types of a row's columns, and what was found inside of columns that hold lists and objects."""

    nested: tuple[str, ...]
    """Columns that are looked into."""
    unseen: bool
    """Whether there are lists or objects in others."""
    quotes: int
    """Quotation marks in the line of a row without lists and objects, if none is escaped; else -1."""
    known: dict[object, tuple[str, bool]] = field(default_factory=dict)
    """For the shapes inside of sound rows their format, and whether a float, so a long integer, may be in them."""

    def inside(self, row: dict[str, Any]) -> tuple[object, ...]:
        """The shapes of what is looked into."""
        return tuple([_shape(row[place]) for place in self.nested])


def _layout(row: dict[str, Any], *, deep: bool) -> _Layout:
    containers = [place for place, value in row.items() if isinstance(value, (list, dict))]
    nested = tuple(place for place in containers if deep or place in _CHECKED)
    strings = sum(isinstance(value, str) for value in row.values())
    return _Layout(nested, len(nested) < len(containers), -1 if containers else 2 * (len(row) + strings))


def _each_key_once(line: bytes, quotes: int, row: dict[str, Any]) -> bool:
    r"""Whether no key was given twice: then the row, written again, has as many quotation marks as the line.

    A key that the parser dropped took at least two with it; only ``\u0022``, which is written ``\"``, adds any.
    """
    return quotes == orjson.dumps(row).count(_QUOTE) and (_BACKSLASH not in line or _ESCAPED_QUOTE not in line)


def _shape(value: Any) -> object:
    """Keys and types in a value; of a list, whatever its length, those that its entries have."""
    if value.__class__ is dict:
        types = tuple(map(type, value.values()))
        if list in types or dict in types:
            return (*value, *types, *_shapes_inside(value.values()))
        return (*value, *types)
    if value.__class__ is not list:
        return value.__class__
    kinds = frozenset(map(type, value))
    if list not in kinds:
        if dict not in kinds:
            return kinds
        # The common case, objects whose values are all strings, without a call for each of them.
        objects = value if len(kinds) == 1 else [entry for entry in value if entry.__class__ is dict]
        if set(map(type, chain.from_iterable(map(dict.values, objects)))) == _STRINGS:
            return kinds, frozenset(map(tuple, objects)), str
    return frozenset((*kinds, *_shapes_inside(value)))


def _shapes_inside(values: Iterable[Any]) -> list[object]:
    return [_shape(value) for value in values if value.__class__ is dict or value.__class__ is list]


def _mentions(shape: object, kind: type) -> bool:
    if isinstance(shape, (tuple, frozenset)):
        return any(_mentions(part, kind) for part in shape)
    return shape is kind
