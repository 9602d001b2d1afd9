"""The fast way over JSON lines: no Python value is built for a line that is like lines before it."""

from __future__ import annotations

import re

from curate.schemas import FORMATS, ValidationError, WireRecord
from curate.sources.readers import Row, parse_line

_MAX_SHAPES = 4096
_SCALARS = frozenset({str, int, bool, type(None)})
_DOUBTFUL = -(2**40)
_KEY = re.compile(rb'"\s*:')


class QuickLines:
    """Validates lines as JSON in one step, if they have the format and shape of one that was looked at closely."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._validate = FORMATS[name].model_validate_json
        self._shapes: set[tuple[object, ...]] = set()

    def learn(self, record: WireRecord) -> None:
        """Take lines of this shape from now on."""
        # JSON strings pass for bytes in Pydantic's JSON mode, so verl's image cells would be judged wrongly.
        if self.name != "verl" and len(self._shapes) < _MAX_SHAPES:
            self._shapes.add(_shape(record))

    def record(self, number: int, line: bytes) -> WireRecord | None:
        """The record of a line, or None when it has to be looked at closely."""
        try:
            record = self._validate(line)
        except ValidationError:
            return None
        if _shape(record) not in self._shapes:
            return None
        # Each key shows up once as '":'; equal counts prove that none was given twice.
        if _plain_keys(record) == len(_KEY.findall(line)) or isinstance(parse_line(number, line), Row):
            return record
        return None


def _shape(record: WireRecord) -> tuple[object, ...]:
    """What decides about the format of a row and the types of its columns: equal for rows that need one look."""
    extra = record.model_extra or {}
    return (*map(type, record.__dict__.values()), *extra, *map(type, extra.values()))


def _plain_keys(record: WireRecord) -> int:
    """Number of keys in a record's JSON; negative when it has values that might hide NaN or keys of their own."""
    total = len(record.model_fields_set)
    for value in (record.model_extra or {}).values():
        if type(value) not in _SCALARS:
            return _DOUBTFUL
    for value in record.__dict__.values():
        if isinstance(value, list):
            for item in value:
                if isinstance(item, WireRecord):
                    total += _plain_keys(item)
                elif type(item) not in _SCALARS:
                    return _DOUBTFUL
        elif isinstance(value, dict):
            total += len(value)
            if not all(type(item) in _SCALARS for item in value.values()):
                return _DOUBTFUL
        elif isinstance(value, float):
            return _DOUBTFUL
    return total
