"""The fast way over JSON lines: no Python value is built for a line that is like lines before it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter

from curate.schemas import (
    FORMATS,
    LlamaFactoryMessage,
    LlamaFactoryRow,
    Message,
    ValidationError,
    VerlMessage,
    VerlRow,
    WireRecord,
)
from curate.sources.readers import LONG_INTEGER, Row, parse_line

_MAX_SHAPES = 4096
_TWO_STRINGS = frozenset({Message, LlamaFactoryMessage, VerlMessage})
"""Records of two required strings and nothing else, unless they have fields of their own."""
_NO_JSON = -(2**40)
_LONG, _DIGITS_AS_ZERO = b"0" * 19, bytes.maketrans(b"123456789", b"000000000")
"""Finds lines worth a search for long integers, many times as fast as the search."""


class QuickLines:
    """Validates lines as JSON in one step, if they have the format and shape of one that was looked at closely.

    Pydantic takes the last of two equal keys, and NaN for a number. The first shows in the number of quotation marks:
    they are two for each key and each string of the record, and more only where one is escaped or a key came twice.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._validate = TypeAdapter(FORMATS[name]).validator.validate_json
        self._known: dict[tuple[object, ...], _Expected] = {}

    def learn(self, record: WireRecord) -> None:
        """Take lines of this shape from now on."""
        if len(self._known) < _MAX_SHAPES:
            shape = _shape(record)
            nested = list in shape or dict in shape
            self._known[shape] = _Expected(None if nested else _marks_of(record), int in shape or float in shape)

    def record(self, number: int, line: bytes) -> WireRecord | None:
        """The record of a line, or None when it has to be looked at closely."""
        try:
            record: WireRecord = self._validate(line)
        except ValidationError:
            return None
        expected = self._known.get(_shape(record))
        if expected is None:
            return None
        marks, numbers = expected
        if numbers and _LONG in line.translate(_DIGITS_AS_ZERO) and LONG_INTEGER.search(line):
            return None
        if marks is None:
            if isinstance(record, VerlRow) and _has_bytes(record):
                return None
            marks = _marks_of(record)
        if line.count(b'"') == marks or _unescaped_marks(line) == marks:
            if not numbers or _is_json(line):
                return record
        elif isinstance(parse_line(number, line), Row):
            return record
        return None


class _Expected(NamedTuple):
    """What lines of one shape have in common."""

    marks: int | None
    """Quotation marks, or None where they have to be counted in each record."""
    numbers: bool
    """Whether a number among the fields may be none of JSON's."""


def _has_bytes(row: VerlRow) -> bool:
    """Whether an image cell has bytes: in Pydantic's JSON mode strings pass for them."""
    return any(not isinstance(cell, str) and cell.bytes is not None for cell in row.images or ())


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _shape(record: WireRecord) -> tuple[object, ...]:
    """What decides about the format of a row and the types of its columns: equal for rows that need one look."""
    types, extra = map(type, record.__dict__.values()), record.__pydantic_extra__
    if isinstance(record, (VerlRow, LlamaFactoryRow)):
        return (*types, *_types_below(record))
    return (*types, *extra, *map(type, extra.values())) if extra else tuple(types)


def _types_below(record: VerlRow | LlamaFactoryRow) -> list[object]:
    """Types of what is nested in a trainer's row, where every level is a column too."""
    extra = record.__pydantic_extra__
    found: list[object] = [_kinds(extra)] if extra else []
    inner: Sequence[object]
    if isinstance(record, VerlRow):
        images, reward_model = record.images or [], record.reward_model
        found += (_kinds(record.extra_info), _kinds(reward_model.ground_truth), frozenset(map(type, images)))
        inner = (*record.prompt, reward_model, *images)
    else:
        inner = record.messages
    for row in inner:
        if isinstance(row, WireRecord) and row.__pydantic_extra__:
            found.append(_kinds(row.__pydantic_extra__))
    return found


def _kinds(value: Any) -> object:
    """The type of a JSON value, with the keys and types inside of it."""
    if value.__class__ is dict:
        kinds: Collection[object] = tuple(map(type, value.values()))
        if list in kinds or dict in kinds:
            kinds = tuple(map(_kinds, value.values()))
        return (*value, *kinds)
    if value.__class__ is list:
        kinds = frozenset(map(type, value))
        return frozenset(map(_kinds, value)) if list in kinds or dict in kinds else kinds
    return value.__class__


def _unescaped_marks(line: bytes) -> int:
    """Quotation marks that begin or end a string; more where an escaped backslash makes them hard to tell."""
    marks = line.count(b'"')
    return marks if b"\\\\" in line else marks - line.count(b'\\"')


def _marks_of(value: Any) -> int:
    """Quotation marks in the JSON of a value if none is escaped; negative for nested numbers that JSON can't hold."""
    kind = value.__class__
    inside: Collection[Any]
    if kind is dict:
        marks, inside = 2 * len(value), value.values()
    elif kind is list:
        marks, inside = 0, value
    elif isinstance(value, WireRecord):
        extra = value.__pydantic_extra__
        if kind in _TWO_STRINGS and not extra:
            return 8
        given, fields = value.__pydantic_fields_set__, value.__dict__
        marks = 2 * len(given)
        inside = [item for name, item in fields.items() if name in given]
        if extra:
            inside += extra.values()
    else:
        return 2 if kind is str else 0 if _is_harmless(value) else _NO_JSON
    for item in inside:
        if item.__class__ is str:
            marks += 2
        elif item is not None:
            marks += _marks_of(item)
    return marks


def _is_harmless(value: float | None) -> bool:
    """Whether a number is one that JSON can hold in 64 bits; larger integers are not, and NaN is not."""
    return value is None or (math.isfinite(value) if isinstance(value, float) else -(2**63) <= value < 2**63)
