"""The fast way over JSON lines: no Python value is built for a line that is like lines before it."""

from __future__ import annotations

import math
from typing import Any

from pydantic import TypeAdapter

from curate.schemas import FORMATS, LlamaFactoryMessage, Message, ValidationError, WireRecord
from curate.sources.readers import BadRow, Row, parse_line

TOO_DEEP = "lists and objects are nested hundreds deep"
_MAX_SHAPES = 4096
_TWO_STRINGS = frozenset({Message, LlamaFactoryMessage})
"""Records of two required strings and nothing else, unless they have fields of their own."""
_UNKNOWN = -1
_NO_JSON = -(2**40)


def careful_line(number: int, line: bytes) -> Row | BadRow:
    """One line of JSON as a row; a broken row where its values lie deeper in each other than Python's stack reaches."""
    try:
        return parse_line(number, line)
    except RecursionError:
        return BadRow(number, "too_deep", TOO_DEEP)


class QuickLines:
    """Validates lines as JSON in one step, if they have the format and shape of one that was looked at closely.

    Pydantic takes the last of two equal keys, and NaN for a number. The first shows in the number of quotation marks:
    they are two for each key and each string of the record, and more only where one is escaped or a key came twice.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._validate = TypeAdapter(FORMATS[name]).validator.validate_json
        self._marks: dict[tuple[object, ...], int | None] = {}
        """For each shape the number of quotation marks, or None where they have to be counted in each record."""

    def learn(self, record: WireRecord) -> None:
        """Take lines of this shape from now on."""
        # JSON strings pass for bytes in Pydantic's JSON mode, so verl's image cells would be judged wrongly.
        if self.name != "verl" and len(self._marks) < _MAX_SHAPES:
            shape = _shape(record.__dict__, record.model_extra or {})
            same = all(kind not in (list, dict, int, float) for kind in shape)
            self._marks[shape] = _marks_of(record) if same else None

    def record(self, number: int, line: bytes) -> WireRecord | None:
        """The record of a line, or None when it has to be looked at closely."""
        try:
            record: WireRecord = self._validate(line)
        except ValidationError:
            return None
        expected = self._marks.get(_shape(record.__dict__, record.__pydantic_extra__ or {}), _UNKNOWN)
        if expected == _UNKNOWN:
            return None
        if expected is None:
            expected = _marks_of(record)
        if line.count(b'"') == expected or _unescaped_marks(line) == expected:
            return record
        return record if isinstance(careful_line(number, line), Row) else None


def _shape(fields: dict[str, Any], extra: dict[str, Any]) -> tuple[object, ...]:
    """What decides about the format of a row and the types of its columns: equal for rows that need one look."""
    return (*map(type, fields.values()), *extra, *map(type, extra.values()))


def _unescaped_marks(line: bytes) -> int:
    """Quotation marks that begin or end a string; more where an escaped backslash makes them hard to tell."""
    marks = line.count(b'"')
    return marks if b"\\\\" in line else marks - line.count(b'\\"')


def _marks_of(value: Any) -> int:
    """Quotation marks in the JSON of a value if none is escaped; negative for numbers that JSON can't hold."""
    if isinstance(value, str):
        return 2
    if isinstance(value, WireRecord):
        if value.__class__ in _TWO_STRINGS and not value.__pydantic_extra__:
            return 8
        given = value.model_fields_set
        marks = 2 * len(given) + sum(map(_marks_of, (value.model_extra or {}).values()))
        return marks + sum(_marks_of(item) for name, item in value.__dict__.items() if name in given)
    if isinstance(value, list):
        return sum(map(_marks_of, value))
    if isinstance(value, dict):
        return 2 * len(value) + sum(map(_marks_of, value.values()))
    if isinstance(value, float):
        return 0 if math.isfinite(value) else _NO_JSON
    # Larger integers are no numbers of 64 bits, and the largest not even floating-point numbers.
    return 0 if value is None or -(2**63) <= value < 2**63 else _NO_JSON
