"""Benchmarks as records in curate's own wire formats: a team's held-out set, or an export of it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

from curate.schemas import FORMATS, ValidationError, expected_fields, problems, recognise

_DATA_URI = re.compile(r"^data:[\w.+-]+/[\w.+-]+(;[\w=.+-]+)*;base64,", re.IGNORECASE)
_MARKS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")
_ASKING = ("user", "human", "document")


def generic_problem(record: dict[str, Any]) -> str | None:
    """What is wrong with a record, in a sentence; None when nothing is."""
    name = recognise(record)
    if name is None:
        there = ", ".join(list(record)[:12])
        return f"its fields ({there}) are those of none of curate's formats ({expected_fields()})"
    try:
        FORMATS[name].model_validate(record)
    except ValidationError as error:
        first = problems(error)[0]
        return f"as {name} it is not valid: {f'{first.field}: ' if first.field else ''}{first.message}"
    except RecursionError:
        return "it is nested too deep"
    return None


def generic_questions(record: dict[str, Any]) -> list[str]:
    """What a record asks or tells: the query, each turn that is not an answer, each text of a document."""
    match recognise(record):
        case "query":
            texts = [record["query"]]
        case "conversation":
            texts = [turn["value"] for turn in record["conversations"] if turn["from"] in _ASKING]
        case "verl":
            texts = [message["content"] for message in record["prompt"] if message["role"] in _ASKING]
        case "llamafactory":
            texts = [message["content"] for message in record["messages"] if message["role"] in _ASKING]
        case "image-caption":
            texts = [record["text"]]
        case "interleaved":
            texts = [text for text in record["texts"] if text]
        case "sample":
            turns = [turn for turn in record["turns"] if turn["role"] in _ASKING]
            texts = [" ".join(part["text"] for part in turn["parts"] if part.get("text")) for turn in turns]
        case _:
            texts = []
    return [text for text in texts if isinstance(text, str) and text.strip()]


def generic_pictures(record: dict[str, Any]) -> Iterator[tuple[str, str | bytes]]:
    """The pictures of a record, each with the name of its field."""
    if recognise(record) == "interleaved":
        for number, slot in enumerate(record["image_info"], 1):
            if slot is not None:
                yield from _pictures(f"image_info[{number}]", slot.get("image_base64") or slot.get("image"))
        return
    for name in ("image", "images"):
        yield from _pictures(name, record.get(name))


def _pictures(name: str, value: Any) -> Iterator[tuple[str, str | bytes]]:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("image") or value.get("path")
    if isinstance(value, list):
        for number, one in enumerate(value, 1):
            yield from _pictures(f"{name}[{number}]", one)
    elif isinstance(value, bytes) and value:
        yield name, value
    elif isinstance(value, str) and value:
        yield name, _decoded(value)


def _decoded(reference: str) -> str | bytes:
    """The bytes of a picture that is written inline as base64, else the reference itself."""
    uri = _DATA_URI.match(reference)
    data = reference[uri.end() :] if uri else reference
    if not uri and len(reference) < 64:
        return reference
    try:
        if not uri and not base64.b64decode(data[:48], validate=True).startswith(_MARKS):
            return reference
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return b"" if uri else reference
