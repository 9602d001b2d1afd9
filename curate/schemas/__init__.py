"""Wire records: what the files outside look like. This room imports nothing else of curate.

``FORMATS`` names every record format; :func:`recognise` tells which one a row is in; :func:`problems` turns a
validation error into field and sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from curate.schemas.base import IMAGE_PLACEHOLDER, WireRecord
from curate.schemas.conversation import Conversation, Message
from curate.schemas.image_caption import ImageCaption
from curate.schemas.interleaved import ImageInfo, Interleaved
from curate.schemas.llamafactory import LlamaFactoryMessage, LlamaFactoryRow
from curate.schemas.query import Query, answer_list, check_answer, choice_table
from curate.schemas.sample import SampleRecord
from curate.schemas.verl import RewardModel, VerlImage, VerlMessage, VerlRow, verl_choices

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


_PYDANTIC_WORDS = {"string_type": "wrong_type", "list_type": "wrong_type", "dict_type": "wrong_type"}
_UNION_TAGS = ("str", "int", "float", "list[", "dict[", "constrained-", "function-", "VerlImage", "SampleRecord")


def problems(error: ValidationError) -> list[Problem]:
    """The distinct problems in ``error``, with the branches of unions left out of the field paths."""
    found: dict[tuple[str, str], Problem] = {}
    for entry in error.errors(include_url=False, include_input=False):
        place = [str(step) for step in entry["loc"] if not str(step).startswith(_UNION_TAGS)]
        field, code = ".".join(place), _PYDANTIC_WORDS.get(entry["type"], entry["type"])
        message = entry["msg"]
        if code == "missing":
            message = "it is missing"
        found.setdefault((field, code), Problem(code, field, message[:1].lower() + message[1:]))
    return list(found.values())


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
    "choice_table",
    "expected_fields",
    "problems",
    "recognise",
    "verl_choices",
]
