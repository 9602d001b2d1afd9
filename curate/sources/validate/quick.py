"""The fast way over JSON lines: no Python value is built for a line that is like lines before it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import orjson
from pydantic import TypeAdapter

from curate.schemas import FORMATS, LlamaFactoryMessage, Message, ValidationError, WireRecord
from curate.sources.readers import LONG_INTEGER, Row, parse_line

_MAX_SHAPES = 4096
_TWO_STRINGS = frozenset({Message, LlamaFactoryMessage})
"""Records of two required strings and nothing else, unless they have fields of their own."""
_NO_JSON = -(2**40)


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
        # JSON strings pass for bytes in Pydantic's JSON mode, so verl's image cells would be judged wrongly.
        if self.name != "verl" and len(self._known) < _MAX_SHAPES:
            shape = _shape(record.__dict__, record.model_extra or {})
            nested = list in shape or dict in shape
            self._known[shape] = _Expected(None if nested else _marks_of(record), int in shape or float in shape)

    def record(self, number: int, line: bytes) -> WireRecord | None:
        """The record of a line, or None when it has to be looked at closely."""
        try:
            record: WireRecord = self._validate(line)
        except ValidationError:
            return None
        expected = self._known.get(_shape(record.__dict__, record.__pydantic_extra__ or {}))
        if expected is None:
            return None
        marks, numbers = expected
        if (marks is None or numbers) and LONG_INTEGER.search(line):
            return None
        if marks is None:
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


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


def _shape(fields: dict[str, Any], extra: dict[str, Any]) -> tuple[object, ...]:
    """What decides about the format of a row and the types of its columns: equal for rows that need one look."""
    return (*map(type, fields.values()), *extra, *map(type, extra.values()))


def _unescaped_marks(line: bytes) -> int:
    """Quotation marks that begin or end a string; more where an escaped backslash makes them hard to tell."""
    marks = line.count(b'"')
    return marks if b"\\\\" in line else marks - line.count(b'\\"')


def _marks_of(value: Any) -> int:
    """Quotation marks in the JSON of a value if none is escaped; negative for nested numbers that JSON can't hold."""
    if isinstance(value, WireRecord):
        if value.__class__ in _TWO_STRINGS and not value.__pydantic_extra__:
            return 8
        given = value.model_fields_set
        inside = [item for name, item in value.__dict__.items() if name in given]
        marks = 2 * len(given) + sum(map(_marks_of, (value.model_extra or {}).values()))
    elif isinstance(value, (list, dict)):
        inside = list(value.values()) if isinstance(value, dict) else value
        marks = 2 * len(value) if isinstance(value, dict) else 0
    else:
        return 2 if isinstance(value, str) else 0 if _is_harmless(value) else _NO_JSON
    for item in inside:
        marks += 2 if item.__class__ is str else _marks_of(item)
    return marks


def _is_harmless(value: float | None) -> bool:
    """Whether a number is one that JSON can hold in 64 bits; larger integers are not, and NaN is not."""
    return value is None or (math.isfinite(value) if isinstance(value, float) else -(2**63) <= value < 2**63)
