"""The fast way over JSON lines: no Python value is built for a line that is like lines before it."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from curate.schemas import FORMATS, LlamaFactoryMessage, Message, ValidationError, WireRecord
from curate.sources.readers import BadRow, Row, parse_line

TOO_DEEP = "lists and objects are nested hundreds deep"
_MAX_SHAPES = 4096
_TWO_STRINGS = frozenset({Message, LlamaFactoryMessage})
"""Records of two required strings and nothing else, unless they have fields of their own."""
_EACH = -1
_DOUBTFUL = -(2**40)


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
        self._marks: dict[tuple[object, ...], int] = {}
        """For each shape the number of quotation marks, or that they have to be counted in each record."""

    def learn(self, record: WireRecord) -> None:
        """Take lines of this shape from now on."""
        # JSON strings pass for bytes in Pydantic's JSON mode, so verl's image cells would be judged wrongly.
        if self.name != "verl" and len(self._marks) < _MAX_SHAPES:
            shape = _shape(record.__dict__, record.model_extra or {})
            plain = all(kind not in (list, dict, int) for kind in shape)
            self._marks[shape] = _quotation_marks(record) if plain else _EACH

    def record(self, number: int, line: bytes) -> WireRecord | None:
        """The record of a line, or None when it has to be looked at closely."""
        try:
            record: WireRecord = self._validate(line)
        except ValidationError:
            return None
        expected = self._marks.get(_shape(record.__dict__, record.__pydantic_extra__ or {}))
        if expected is None:
            return None
        if expected == _EACH:
            expected = _quotation_marks(record)
        if line.count(b'"') == expected or isinstance(careful_line(number, line), Row):
            return record
        return None


def _shape(fields: dict[str, Any], extra: dict[str, Any]) -> tuple[object, ...]:
    """What decides about the format of a row and the types of its columns: equal for rows that need one look."""
    return (*map(type, fields.values()), *extra, *map(type, extra.values()))


def _quotation_marks(record: WireRecord) -> int:
    """Those that a record's JSON has if none is escaped; negative when a value has to be looked at closely."""
    given = record.model_fields_set
    marks = 2 * len(given) + sum(map(_marks_of, (record.model_extra or {}).values()))
    for name, value in record.__dict__.items():
        if isinstance(value, list):
            for item in value:
                if item.__class__ in _TWO_STRINGS and not item.__pydantic_extra__:
                    marks += 8
                else:
                    marks += _quotation_marks(item) if isinstance(item, WireRecord) else _marks_of(item)
        elif isinstance(value, dict):
            marks += 2 * len(value) + sum(map(_marks_of, value.values()))
        elif name in given:
            marks += _marks_of(value)
    return marks


def _marks_of(value: Any) -> int:
    if isinstance(value, str):
        return 2
    # A float may be NaN, an integer larger than any float, and a list or object may hold either, or a key twice.
    return 0 if value is None or (isinstance(value, int) and -(2**63) <= value < 2**63) else _DOUBTFUL
