"""Columns of JSON rows whose values have several types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curate.schemas import type_name

_MAX_COLUMNS = 4096
"""More are not watched: names that differ from row to row are no columns."""


class ColumnTypes:
    """Finds columns that hold values of several types, which Arrow, and so every trainer, refuses."""

    def __init__(self, *, deep: bool) -> None:
        self._deep = deep
        self._first: dict[str, dict[str, int]] = {}
        """For each column the types it has had, with the first row of each."""

    def conflicts(self, row: int, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Columns that this row gives a type they have not had before, each with a sentence."""
        for place, value in self._columns("", fields):
            kind = type_name(value)
            if value is None or (place not in self._first and len(self._first) >= _MAX_COLUMNS):
                continue
            known = self._first.setdefault(place, {})
            if kind not in known:
                if known:
                    other, first = next(iter(known.items()))
                    yield place, f"it is {kind} here and {other} in row {first}"
                known[kind] = row

    def _columns(self, place: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict) and (self._deep or not place):
            if place:
                yield place, value
            for key, item in value.items():
                yield from self._columns(f"{place}.{key}" if place else key, item)
        elif isinstance(value, list) and self._deep:
            yield place, value
            for item in value:
                yield from self._columns(f"{place}.[]", item)
        else:
            yield place, value
