"""The judge's reply, checked strictly: what does not fit is never guessed at."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from curate.judge.prompt import Prompt
from curate.judge.rubric import Score

LONGEST_REPLY = 32_768
"""Characters of a reply that are looked at; what the schema allows is far shorter."""


class InvalidReplyError(Exception):
    """A reply that can't be used; the message says why in words that may be sent back to the judge."""


class Reply(BaseModel):
    """What the judge said, in the order it is asked to say it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    rationale: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8_000)]
    medical_correctness: Score
    fluency: Score
    relevance: Score | None = None
    """None for samples without images."""
    completeness: Score
    practicality: Score
    defects: Annotated[list[str], Field(max_length=64)]
    sample: str


def parse_reply(content: str, prompt: Prompt, code: str) -> Reply:
    """The reply in ``content``, which may stand in a code fence or among other words.

    Raises InvalidReplyError when no JSON object fits the schema exactly, or when it is for another sample.
    """
    if len(content) > LONGEST_REPLY:
        raise InvalidReplyError("it was far too long")
    fields = _json_object(content)
    fields.setdefault("relevance", None)
    try:
        reply = Reply.model_validate(fields)
    except ValidationError as error:
        raise InvalidReplyError(_describe(error)) from None
    if (reply.relevance is not None) != prompt.with_images:
        raise InvalidReplyError(
            "relevance was missing" if prompt.with_images else "relevance was scored for a sample without images"
        )
    unknown = set(reply.defects) - {defect.id for defect in prompt.rubric.defects}
    if unknown:
        raise InvalidReplyError("defects held an id that is not in the list")
    if reply.sample != code:
        raise InvalidReplyError("sample was not the code in the marker lines")
    return reply


def _json_object(content: str) -> dict[str, Any]:
    """The last JSON object that stands on its own in the text: reasoning, if any, comes before the answer."""
    text = content.rpartition("</think>")[2].strip()
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        objects = list(_objects(text))
        if not objects:
            raise InvalidReplyError("it was no JSON object") from None
        value = objects[-1]
    if not isinstance(value, dict):
        raise InvalidReplyError("it was no JSON object")
    return value


def _objects(text: str) -> Iterator[dict[str, Any]]:
    position = text.find("{")
    for _ in range(256):
        if position < 0:
            return
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            end = position + 1
        else:
            yield value
        position = text.find("{", end)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise ValueError("a field is given twice")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def _describe(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    field = str(first["loc"][0]) if first["loc"] else "the reply"
    if first["type"] == "missing":
        return f"{field} was missing"
    if first["type"] == "extra_forbidden":
        return "it had fields that were not asked for"
    expected = {"rationale": "a text", "sample": "a text", "defects": "a list of ids"}.get(
        field, "an integer from 0 to 5"
    )
    return f"{field} was not {expected}"
