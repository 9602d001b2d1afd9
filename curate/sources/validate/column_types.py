"""Columns of JSON rows whose values have several types."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from curate.schemas import type_name

_MAX_COLUMNS = 4096
"""More are not watched: names that differ from row to row are no columns."""


class ColumnTypes:
    """Finds columns that hold values of several types, which Arrow, and so every trainer, refuses."""

    def __init__(self, *, deep: bool, part: bool = False) -> None:
        """``deep``: what is nested is a column too. ``part``: of a part of a file all columns are watched."""
        self._deep, self._most = deep, sys.maxsize if part else _MAX_COLUMNS
        self._first: dict[str, dict[str, int]] = {}
        """For each column the types it has had, with the first row of each."""
        self.noted: list[tuple[int, str, str]] = []
        """Row, column and type, whenever a column had a type for the first time."""

    def conflicts(self, row: int, fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Columns that this row gives a type they have not had before, each with a sentence."""
        for place, value in self._columns("", fields):
            if value is not None and (sentence := self.conflict(row, place, type_name(value))):
                yield place, sentence

    def conflict(self, row: int, place: str, kind: str) -> str | None:
        """A sentence when the column has had values, but none of this type."""
        if place not in self._first and len(self._first) >= self._most:
            return None
        known = self._first.setdefault(place, {})
        if kind in known:
            return None
        other, first = next(iter(known.items()), ("", 0))
        known[kind] = row
        self.noted.append((row, place, kind))
        return f"it is {kind} here and {other} in row {first}" if other else None

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
