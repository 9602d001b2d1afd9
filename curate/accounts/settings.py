"""Which fields of two policies, or of the options of two exports, differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The fields with different values, as ``field`` (dotted), ``a`` and ``b``; null where a side lacks
    the field or leaves it open.

    Entries of a list that have a name (rules, parts of a mixture, benchmarks) are compared by it, wherever they stand:
    ``rules.short_text.when``. Other lists are compared as a whole.
    """
    left, right = ({name: value for name, value in _fields(side) if name} for side in (a, b))
    names = dict.fromkeys([*left, *right])
    return [
        {"field": name, "a": left.get(name), "b": right.get(name)}
        for name in names
        if left.get(name) != right.get(name)
    ]


def _fields(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, part in value.items():
            yield from _fields(part, f"{place}.{name}" if place else str(name))
    elif named := _by_name(value):
        for name, part in named.items():
            yield from _fields({key: field for key, field in part.items() if key != "name"} or True, f"{place}.{name}")
    else:
        yield place, value


def _by_name(value: Any) -> dict[str, Mapping[str, Any]]:
    """The entries of a list by name; empty unless all have one of their own."""
    if not isinstance(value, list) or not all(isinstance(part, Mapping) and "name" in part for part in value):
        return {}
    named = {str(part["name"]): part for part in value}
    return named if len(named) == len(value) else {}
