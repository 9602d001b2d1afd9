"""Wire records: what the files outside look like. This room imports nothing else of curate.

``FORMATS`` names every record format; :func:`recognise` tells which one a row is in; :func:`problems` turns a
validation error into field and sentence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from curate.schemas.base import IMAGE_PLACEHOLDER, WireRecord
from curate.schemas.conversation import Conversation, Message
from curate.schemas.image_caption import ImageCaption
from curate.schemas.interleaved import ImageInfo, Interleaved
from curate.schemas.llamafactory import LlamaFactoryMessage, LlamaFactoryRow
from curate.schemas.query import Query, answer_list, check_answer, choice_table
from curate.schemas.sample import SampleRecord
from curate.schemas.values import check_values
from curate.schemas.verl import RewardModel, VerlImage, VerlMessage, VerlRow, verl_answers, verl_choices

FORMATS: dict[str, type[WireRecord]] = {
    "image-caption": ImageCaption,
    "interleaved": Interleaved,
    "conversation": Conversation,
    "query": Query,
    "verl": VerlRow,
    "sample": SampleRecord,
    "llamafactory": LlamaFactoryRow,
}
"""Record formats by the name used on the command line. All but ``llamafactory`` can be ingested."""

_MARKS: tuple[tuple[str, frozenset[str]], ...] = (
    ("sample", frozenset({"kind", "turns"})),
    ("interleaved", frozenset({"texts", "image_info"})),
    ("conversation", frozenset({"conversations"})),
    ("verl", frozenset({"prompt", "reward_model"})),
    ("llamafactory", frozenset({"messages"})),
    ("query", frozenset({"query", "answer"})),
    ("image-caption", frozenset({"image", "text"})),
)


def recognise(record: Mapping[str, Any]) -> str | None:
    """The format whose characteristic fields ``record`` has, or None."""
    return next((name for name, fields in _MARKS if fields <= record.keys()), None)


def expected_fields() -> str:
    """The characteristic fields of every format, for a message to the user."""
    return "; ".join(f"{name}: {', '.join(sorted(fields))}" for name, fields in _MARKS)


class Problem(NamedTuple):
    """One thing wrong with a record."""

    code: str
    """Stable snake_case name of the kind of problem."""
    field: str
    """Dotted path of the field, empty for the record as a whole."""
    message: str
    """A plain sentence."""


_TYPES = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bytes_type": "bytes",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}
"""Pydantic's errors about the type of a value, and the type that each asks for."""

_BRANCH = re.compile(r"str|int|float|VerlImage|(list|dict|function-\w+)\[.+\]", re.DOTALL)
"""A step of an error's location that names the branch of a union and not a field."""


def problems(error: ValidationError) -> list[Problem]:
    """The distinct problems in ``error``, each a sentence about one field of the record as it was written.

    Pydantic tells for every branch of a union why it does not fit. Here a value of a wrong type is one problem that
    names all types it may have; and a value that fits one branch in its type is judged by that branch alone.
    """
    by_place: dict[tuple[str, ...], list[ErrorDetails]] = {}
    for entry in error.errors(include_url=False):
        place = tuple(str(step) for step in entry["loc"] if not _BRANCH.fullmatch(str(step)))
        by_place.setdefault(place, []).append(entry)
    outer = {place[:depth] for place in by_place for depth in range(len(place))}
    found: dict[Problem, None] = {}
    for place, entries in by_place.items():
        others = [entry for entry in entries if entry["type"] not in _TYPES]
        if others:
            found.update((_problem(place, entry), None) for entry in others)
        elif place not in outer:
            found[Problem("wrong_type", ".".join(place), _wrong_type(entries))] = None
    return list(found)


_CODES = {
    "finite_number": "not_a_number",
    "greater_than_equal": "wrong_value",
    "literal_error": "wrong_value",
    "string_pattern_mismatch": "wrong_value",
}
"""Our names for problems that Pydantic names after its own types."""


def _problem(place: tuple[str, ...], entry: ErrorDetails) -> Problem:
    if place and place[-1] == "[key]":
        return Problem(entry["type"], ".".join(place[:-2]), f"the key {shown(entry['input'])}: {_sentence(entry)}")
    return Problem(_CODES.get(entry["type"], entry["type"]), ".".join(place), _sentence(entry))


def _sentence(entry: ErrorDetails) -> str:
    context = entry.get("ctx", {})
    match entry["type"]:
        case "missing":
            return "it is missing"
        case "literal_error":
            return f"it must be {context['expected']}, this is {shown(entry['input'])}"
        case "too_short":
            return f"it must have at least {context['min_length']} entries, this has {context['actual_length']}"
        case "string_pattern_mismatch":
            return f"it must match the pattern {context['pattern']}, this is {shown(entry['input'])}"
        case "finite_number":
            return "it is NaN or infinite"
        case "greater_than_equal":
            return f"it must be at least {context['ge']}, this is {shown(entry['input'])}"
    message = entry["msg"]
    return message[:1].lower() + message[1:]


def _wrong_type(entries: list[ErrorDetails]) -> str:
    wanted = dict.fromkeys(map(_wanted, entries))
    if "a number" in wanted:
        wanted.pop("a whole number", None)
    *most, last = wanted
    names = f"{', '.join(most)} or {last}" if most else last
    return f"it must be {names}, this is {type_name(entries[0]['input'])}"


def _wanted(entry: ErrorDetails) -> str:
    of_strings = entry["type"] == "list_type" and str(entry["loc"][-1]).endswith(("[str]", ", str]]"))
    return "a list of strings" if of_strings else _TYPES[entry["type"]]


def type_name(value: Any) -> str:
    """What a JSON value is, for a sentence: a string, a number, null, ..."""
    names = {str: "a string", bool: "true or false", int: "a number", float: "a number", bytes: "bytes"}
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, (list, tuple)) else names.get(type(value), "null")


def shown(value: Any) -> str:
    """A value in a sentence: a short string or number as it is, of anything else only what it is."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else f"{value[:40]}…")
    return str(value) if type(value) in (int, float) else type_name(value)


__all__ = [
    "FORMATS",
    "IMAGE_PLACEHOLDER",
    "Conversation",
    "ImageCaption",
    "ImageInfo",
    "Interleaved",
    "LlamaFactoryMessage",
    "LlamaFactoryRow",
    "Message",
    "Problem",
    "Query",
    "RewardModel",
    "SampleRecord",
    "ValidationError",
    "VerlImage",
    "VerlMessage",
    "VerlRow",
    "WireRecord",
    "answer_list",
    "check_answer",
    "check_values",
    "choice_table",
    "expected_fields",
    "problems",
    "recognise",
    "shown",
    "type_name",
    "verl_answers",
    "verl_choices",
]
