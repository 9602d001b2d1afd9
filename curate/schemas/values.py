"""What each schema asks of the values in a record whose keys and types are known to be right.

Much faster than making the record: for readers of millions of rows, most of which have the shape of rows before them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, get_args

from curate.schemas.base import record_error
from curate.schemas.conversation import check_conversation
from curate.schemas.llamafactory import check_messages
from curate.schemas.query import answer_list, check_answer, check_question, choice_table
from curate.schemas.sample import ID_PATTERN, Kind, Privacy, Role, check_images_placed, check_part
from curate.schemas.verl import VerlRole, check_prompt, check_truth

_KINDS, _ROLES, _PRIVACY = frozenset(get_args(Kind)), frozenset(get_args(Role)), frozenset(get_args(Privacy))
_VERL_ROLES = frozenset(get_args(VerlRole))
_ID = re.compile(ID_PATTERN)


def check_values(name: str, fields: dict[str, Any]) -> None:
    """Check the fields of a record in the format ``name``; another with fields of the same types has passed.

    Raises ValueError when the model of the format would refuse them; what is wrong, only the model says for certain.
    """
    _CHECKS[name](fields)


def _filled(texts: Iterable[str]) -> None:
    if not all(map(str.strip, texts)):
        raise record_error("empty", "it is empty")


def _one_of(values: Iterable[object], allowed: frozenset[object]) -> None:
    if not allowed.issuperset(values):
        raise record_error("wrong_value", "a value is none of those that are allowed")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _image_caption(fields: dict[str, Any]) -> None:
    image = fields["image"]
    if not (fields["text"].strip() and (image.strip() if image.__class__ is str else all(map(str.strip, image)))):
        raise record_error("empty", "it is empty")


def _interleaved(fields: dict[str, Any]) -> None:
    texts, images = fields["texts"], fields["image_info"]
    if len(texts) != len(images):
        raise record_error("slot_count", "the lists are not equally long")
    for text, image in zip(texts, images, strict=True):
        if (text is None) == (image is None):
            raise record_error("slot_content", "a slot has neither or both")
        if image is None:
            given = text
        else:
            given, path = image.get("image_base64"), image.get("image")
            if (given is None) == (path is None):
                raise record_error("slot_image", "give exactly one of image_base64 and image")
            given = path if given is None else given
        if not given.strip():
            raise record_error("empty", "it is empty")


def _conversation(fields: dict[str, Any]) -> None:
    turns, image = fields["conversations"], fields.get("image")
    said = [turn["value"] for turn in turns]
    _filled(said)
    _filled(_as_list(image))
    _at_least(2, turns)
    check_conversation([turn["from"] for turn in turns], said, image)


def _query(fields: dict[str, Any]) -> None:
    query, system, choices = fields["query"], fields.get("system"), fields.get("choices")
    query_type, images, answer = fields["query_type"], fields.get("images"), fields["answer"]
    _filled((query, query_type))
    _filled(_as_list(system))
    _filled(_as_list(images))
    _filled([text for text in _as_list(answer) if text.__class__ is str])
    if choices:
        _filled(choices.values() if choices.__class__ is dict else choices)
    check_question(query, system, images)
    check_answer(query_type, answer_list(answer), choice_table(choices))


def _verl(fields: dict[str, Any]) -> None:
    prompt, reward_model = fields["prompt"], fields["reward_model"]
    truth = reward_model["ground_truth"]
    roles = [message["role"] for message in prompt]
    _one_of(roles, _VERL_ROLES)
    _filled((fields["data_source"], reward_model.get("style", "rule")))
    _filled([text for text in _as_list(truth) if text.__class__ is str])
    check_prompt(roles, [message["content"] for message in prompt], len(fields.get("images") or ()))
    check_truth(truth, fields["extra_info"])


def _llamafactory(fields: dict[str, Any]) -> None:
    messages = fields["messages"]
    _at_least(2, messages)
    contents = [message["content"] for message in messages]
    check_messages([message["role"] for message in messages], contents, len(fields["images"]))


def _sample(fields: dict[str, Any]) -> None:
    kind, turns, choices = fields["kind"], fields["turns"], fields.get("choices")
    _one_of((kind,), _KINDS)
    _one_of([turn["role"] for turn in turns], _ROLES)
    _one_of((fields.get("privacy", "unknown"),), _PRIVACY)
    if (sample_id := fields.get("id")) is not None and not _ID.fullmatch(sample_id):
        raise record_error("wrong_value", "it is no id")
    placed = []
    for turn in turns:
        for part in turn["parts"]:
            image = part.get("image")
            check_part(part.get("text"), image)
            if image is not None:
                placed.append(image)
    check_images_placed(placed, len(fields.get("images", ())))
    answer = fields.get("answer", ())
    _filled(answer)
    if choices:
        _filled(choice[part] for choice in choices for part in ("label", "text"))
    if kind == "query" and not (answer and fields.get("query_type")):
        raise record_error("empty", "a query needs an answer and a query_type")


def _at_least(number: int, entries: list[Any]) -> None:
    if len(entries) < number:
        raise record_error("too_short", "it has too few entries")


_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "image-caption": _image_caption,
    "interleaved": _interleaved,
    "conversation": _conversation,
    "query": _query,
    "verl": _verl,
    "sample": _sample,
    "llamafactory": _llamafactory,
}
