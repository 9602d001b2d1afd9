"""From a validated wire record to a Sample; ``curate.exports.records`` is the way back.

What the Sample normalises is noted in ``Sample.wire``, so that wire -> Sample -> wire is the identity:

``format``        name of the wire format
``image``         "scalar" or "list": how an image-caption, conversation or query record wrote its images; absent: none
``spelled``       for each reference null (a path) or the text before its base64 data; absent when all are paths
``frames``        for each reference its number of pictures; absent when each is one (no multi-frame file)
``placeholders``  false when a query had images but no ``<image>`` in its text
``answer``        the raw answer, unless it was a list of strings
``choices``       "list" or "dict"
``cells``         verl: each cell of ``images`` without its bytes, a bare string for a path
``fields``        names of the record's extra fields that became Sample fields (source, license)
``nested``        unknown fields inside messages and slots, by JSON pointer
``derived``       keys of ``meta`` that curate added (dicom)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson

from curate.corpus import Image, Origin, Part, Privacy, Sample, Turn
from curate.schemas import (
    IMAGE_PLACEHOLDER,
    Conversation,
    ImageCaption,
    Interleaved,
    Query,
    SampleRecord,
    VerlImage,
    VerlRow,
    WireRecord,
    answer_list,
    choice_table,
    verl_answers,
    verl_choices,
)
from curate.sources.images import Intake
from curate.sources.rejects import RejectError

_ROLES = {"system": "system", "human": "user", "gpt": "assistant"}


class _Pictures:
    """Takes in a record's pictures one by one and remembers how each was written."""

    __slots__ = ("_intakes", "_read", "images", "plain")

    def __init__(self, read: Callable[[str | bytes], Intake]) -> None:
        self._read = read
        self._intakes: list[Intake] = []
        self.images: list[Image] = []
        self.plain = True
        """Whether each was the path of an ordinary image file, of which nothing has to be noted."""

    def positions(self, reference: str | bytes) -> tuple[int, ...]:
        """Take in one reference; the positions of its pictures (several for a multi-frame DICOM file)."""
        intake = self._read(reference)
        self._intakes.append(intake)
        start = len(self.images)
        self.images += intake.images
        if intake.spelling is None and len(intake.images) == 1:
            self.plain = self.plain and intake.dicom is None and intake.privacy == "unknown"
            return (start,)
        self.plain = False
        return tuple(range(start, len(self.images)))

    def wire(self) -> dict[str, Any]:
        spelled = [intake.spelling for intake in self._intakes]
        frames = [len(intake.images) for intake in self._intakes]
        wire: dict[str, Any] = {}
        if any(spelling is not None for spelling in spelled):
            wire["spelled"] = spelled
        if any(count != 1 for count in frames):
            wire["frames"] = frames
        return wire

    def dicom(self) -> dict[str, Any] | None:
        return next((intake.dicom for intake in self._intakes if intake.dicom is not None), None)

    def privacy(self, stated: Privacy = "unknown") -> Privacy:
        """The strictest of what the files say and what the record states."""
        if self.plain:
            return stated
        states = {stated, *(intake.privacy for intake in self._intakes)}
        return "identified" if "identified" in states else "deidentified" if "deidentified" in states else "unknown"


def to_sample(
    format_name: str,
    record: WireRecord,
    *,
    read: Callable[[str | bytes], Intake],
    folder: str,
    origin: Origin,
) -> Sample:
    """The Sample for a validated record.

    ``read`` takes in a picture by its reference (a path, inline base64) or by its bytes. ``folder`` is the source when
    the record names none. Raises RejectError when a picture can't be taken in or a value can't be kept as JSON.
    """
    pictures = _Pictures(read)
    wire: dict[str, Any] = {"format": format_name}
    fields: dict[str, Any] = {"source": folder, "license": None}
    extra = record.__pydantic_extra__
    meta: dict[str, Any] = dict(extra) if extra else {}
    for key in ("source", "license") if meta else ():
        if isinstance(meta.get(key), str) and meta[key]:
            fields[key] = meta.pop(key)
            wire.setdefault("fields", []).append(key)
    fields |= _CONVERTERS[format_name](record, pictures, wire, meta)
    if not pictures.plain:
        wire |= pictures.wire()
        if (dicom := pictures.dicom()) is not None and "dicom" not in meta:
            meta["dicom"] = dicom
            wire["derived"] = ["dicom"]
    try:
        orjson.dumps((meta, wire))
    except (TypeError, RecursionError) as error:
        raise RejectError("not_json", f"an extra field can't be kept as JSON: {error}") from None
    if "privacy" not in fields:
        fields["privacy"] = pictures.privacy()
    if fields["privacy"] == "identified":
        # What may be sent is declared by source: a record must not choose the one that suits it.
        fields["source"] = folder
    return Sample(images=tuple(pictures.images), origin=origin, meta=meta, wire=wire, **fields)


def _references(value: str | list[str] | None, wire: dict[str, Any]) -> list[str]:
    if value is None:
        return []
    wire["image"] = "scalar" if isinstance(value, str) else "list"
    return [value] if isinstance(value, str) else value


def _caption(record: ImageCaption, pictures: _Pictures, wire: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    parts: list[Part] = []
    for name in _references(record.image, wire):
        parts += pictures.positions(name)
    parts.append(record.text)
    return {"kind": "image_caption", "turns": (Turn("document", tuple(parts)),)}


def _interleaved(record: Interleaved, pictures: _Pictures, wire: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    parts: list[Part] = []
    slots: list[str] = []
    for text, image in zip(record.texts, record.image_info, strict=True):
        if image is None:
            parts.append(text or "")
        else:
            slots.append("path" if image.image is not None else "base64")
            parts.extend(pictures.positions(image.image or image.image_base64 or ""))
    wire["slots"] = slots
    _keep_nested(wire, "image_info", record.image_info)
    return {"kind": "interleaved", "turns": (Turn("document", tuple(parts)),)}


def _conversation(record: Conversation, pictures: _Pictures, wire: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    waiting = iter(_references(record.image, wire))
    turns = [
        Turn(_ROLES[message.from_], _place(message.value, waiting, pictures))  # type: ignore[arg-type]
        for message in record.conversations
    ]
    _keep_nested(wire, "conversations", record.conversations)
    return {"kind": "conversation", "turns": tuple(turns)}


def _query(record: Query, pictures: _Pictures, wire: dict[str, Any], _: dict[str, Any]) -> dict[str, Any]:
    references = _references(record.images, wire)
    texts = [("system", record.system)] if record.system is not None else []
    texts.append(("user", record.query))
    waiting = iter(references)
    turns = [Turn(role, _place(text or "", waiting, pictures)) for role, text in texts]  # type: ignore[arg-type]
    first: list[Part] = []
    for name in waiting:
        first += pictures.positions(name)
    if first:
        wire["placeholders"] = False
        turns[-1] = Turn("user", (*first, *turns[-1].parts))
    if record.choices is not None:
        wire["choices"] = "dict" if isinstance(record.choices, dict) else "list"
    return {
        "kind": "query",
        "turns": tuple(turns),
        "answer": _answers(record.answer, wire),
        "query_type": record.query_type,
        "choices": tuple(choice_table(record.choices)),
    }


def _verl(record: VerlRow, pictures: _Pictures, wire: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    cells = record.images or []
    waiting = iter([_cell_reference(cell) for cell in cells])
    turns = tuple([Turn(message.role, _place(message.content, waiting, pictures)) for message in record.prompt])
    if record.images is not None:
        wire["cells"] = [cell if isinstance(cell, str) else _without_bytes(cell) for cell in cells]
    _keep_nested(wire, "prompt", record.prompt)
    wire["answer"] = record.reward_model.ground_truth
    reward = record.reward_model
    style = {"style": reward.style} if "style" in reward.model_fields_set else {}
    wire["reward_model"] = style | (reward.model_extra or {})
    wire["fields"] = [*wire.get("fields", []), *(["ability"] if record.ability is not None else [])]
    meta |= {"extra_info": record.extra_info} | ({"ability": record.ability} if record.ability is not None else {})
    query_type = record.extra_info.get("query_type")
    return {
        "kind": "query",
        "source": record.data_source,
        "turns": turns,
        "answer": tuple(verl_answers(record.reward_model.ground_truth, record.extra_info)),
        "query_type": str(query_type) if query_type else "exact",
        "choices": tuple(verl_choices(record.extra_info)),
    }


def _sample(record: SampleRecord, pictures: _Pictures, wire: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any]:
    shown = [pictures.positions(reference) for reference in record.images]
    turns = tuple(
        Turn(
            turn.role,
            tuple(
                piece
                for part in turn.parts
                for piece in ((part.text,) if part.image is None else shown[part.image])
                if piece is not None
            ),
        )
        for turn in record.turns
    )
    if meta:
        wire["extra"] = sorted(meta)
    meta |= record.meta
    named = {key: value for key in ("source", "license") if (value := getattr(record, key)) is not None}
    return {
        "kind": record.kind,
        "turns": turns,
        "answer": tuple(record.answer),
        "query_type": record.query_type,
        "choices": tuple((choice.label, choice.text) for choice in record.choices),
        "privacy": pictures.privacy(record.privacy),
        **named,
    }


_CONVERTERS: dict[str, Callable[[Any, _Pictures, dict[str, Any], dict[str, Any]], dict[str, Any]]] = {
    "image-caption": _caption,
    "interleaved": _interleaved,
    "conversation": _conversation,
    "query": _query,
    "verl": _verl,
    "sample": _sample,
}


def _place(text: str, waiting: Iterator[str | bytes], pictures: _Pictures) -> tuple[Part, ...]:
    """The parts of a text whose placeholders stand for the next of the waiting pictures."""
    if IMAGE_PLACEHOLDER not in text:
        return (text,)
    first, *others = text.split(IMAGE_PLACEHOLDER)
    parts: list[Part] = [first] if first else []
    for piece in others:
        if (reference := next(waiting, None)) is not None:
            parts += pictures.positions(reference)
        if piece:
            parts.append(piece)
    return tuple(parts) or ("",)


def _answers(raw: Any, wire: dict[str, Any]) -> tuple[str, ...]:
    if not (isinstance(raw, list) and all(isinstance(value, str) for value in raw)):
        wire["answer"] = raw
    return tuple(answer_list(raw))


def _cell_reference(cell: str | VerlImage) -> str | bytes:
    if isinstance(cell, str):
        return cell
    reference = cell.bytes or cell.path or cell.image
    if reference is None:
        raise RejectError("missing_image", "an image cell has neither bytes nor a path")
    return reference


def _without_bytes(cell: VerlImage) -> dict[str, Any]:
    return cell.model_dump(exclude_unset=True) | ({"bytes": True} if cell.bytes is not None else {})


def _keep_nested(wire: dict[str, Any], field: str, rows: Sequence[WireRecord | None]) -> None:
    nested = {}
    for position, row in enumerate(rows):
        if row is not None and row.__pydantic_extra__:
            nested[f"{field}/{position}"] = row.__pydantic_extra__
    if nested:
        wire["nested"] = nested
