"""From a Sample to a wire record; ``curate.sources.convert`` is the way in and says what ``Sample.wire`` holds."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from curate.corpus import Image, Part, Sample
from curate.schemas import IMAGE_PLACEHOLDER

PlaceImage = Callable[[Image], str]
"""Gives the reference to a picture: a path, or a ``data:`` URI with its bytes."""

Record = dict[str, Any]

_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt"}


def to_record(sample: Sample, format_name: str, place_image: PlaceImage, *, restore: bool = False) -> Record:
    """The sample as a record of a wire format (see ``curate.schemas.FORMATS``; all but ``llamafactory``).

    With ``restore`` a record that was read in the same format is spelled as it was read: its own image references, a
    bare string for a list of one, unknown fields inside messages. Inline pictures are then taken from the ``data:`` URI
    that ``place_image`` must give for them. Without it records have one form, and ``<image>`` in someone's text, where
    the format has placeholders, is defused.

    Raises ValueError when the format cannot hold a sample of this kind.
    """
    writer, kinds = _FORMATS[format_name]
    if sample.kind not in kinds:
        raise ValueError(f"a sample of kind {sample.kind} cannot be written as {format_name}")
    wire = sample.wire if restore and sample.wire.get("format") == format_name else {}
    record = writer(sample, wire, _References(sample, wire, place_image))
    return {**_extra(sample, wire, format_name), **record}


class _References:
    """How a record refers to the sample's pictures, one reference after the other."""

    def __init__(self, sample: Sample, wire: Record, place: PlaceImage) -> None:
        self._sample = sample
        self._place = place
        self._restored = bool(wire)
        frames = wire.get("frames") or [1] * len(sample.images)
        spelled = wire.get("spelled") or [None] * len(frames)
        self._first: dict[int, str | None] = {}
        """For each image that stands for a reference, the text before its base64 data; a multi-frame file's further
        images have no reference of their own."""
        position = 0
        for count, prefix in zip(frames, spelled, strict=True):
            self._first[position] = prefix
            position += count

    def all(self) -> list[str]:
        """Every reference, in the order of the images."""
        return [self.of(position) for position in self._first]

    def placed(self) -> list[int]:
        """The images that are referred to, in the order in which the turns show them."""
        return [part for part in _parts(self._sample) if isinstance(part, int) and part in self._first]

    def of(self, position: int) -> str:
        """The reference of one image."""
        image, prefix = self._sample.images[position], self._first[position]
        if not self._restored:
            return self._place(image)
        if prefix is None:
            return image.name or image.path or self._place(image)
        return prefix + self._place(image).partition(",")[2]

    def text(self, parts: Iterable[Part]) -> str:
        """What a turn says, with a placeholder for each picture it shows."""
        pieces = []
        for part in parts:
            if isinstance(part, str):
                pieces.append(part if self._restored else part.replace(IMAGE_PLACEHOLDER, "< image>"))
            elif part in self._first:
                pieces.append(IMAGE_PLACEHOLDER)
        return "".join(pieces)


def _extra(sample: Sample, wire: Record, format_name: str) -> Record:
    """Fields beside those of the format: what the record had, or where the sample comes from."""
    derived = set(wire.get("derived", ()))
    if format_name == "sample":
        return {key: sample.meta[key] for key in wire.get("extra", ()) if key in sample.meta}
    known = derived | ({"extra_info", "ability"} if format_name == "verl" else set())
    meta = {key: value for key, value in sample.meta.items() if key not in known}
    if wire:
        return meta | {key: getattr(sample, key) for key in wire.get("fields", ()) if key in ("source", "license")}
    return meta


def _caption(sample: Sample, wire: Record, references: _References) -> Record:
    shown = references.all()
    scalar = wire.get("image", "scalar" if len(shown) == 1 else "list") == "scalar"
    return {"image": shown[0] if scalar else shown, "text": "\n\n".join(sample.texts())}


def _interleaved(sample: Sample, wire: Record, references: _References) -> Record:
    texts: list[str | None] = []
    slots: list[Record | None] = []
    spelled, positions = iter(wire.get("slots", ())), references.placed()
    for part in _parts(sample):
        if isinstance(part, str):
            if part:
                texts.append(part)
                slots.append(None)
        elif part in positions:
            texts.append(None)
            slots.append(_slot(references.of(part), next(spelled, None)))
    return {"texts": texts, "image_info": _with_nested(slots, "image_info", wire)}


def _slot(reference: str, spelled: str | None) -> Record:
    if spelled is not None:
        return {"image_base64" if spelled == "base64" else "image": reference}
    if reference.startswith("data:"):
        return {"image_base64": reference.partition(",")[2]}
    return {"image": reference}


def _conversation(sample: Sample, wire: Record, references: _References) -> Record:
    messages = [{"from": _SPEAKERS[turn.role], "value": references.text(turn.parts)} for turn in sample.turns]
    record: Record = {"conversations": _with_nested(messages, "conversations", wire)}
    return record | _image_field("image", sample, wire, references)


def _query(sample: Sample, wire: Record, references: _References) -> Record:
    first = wire.get("placeholders") is False
    record: Record = {}
    for turn in sample.turns:
        if turn.role not in ("system", "user"):
            raise ValueError("a query record holds one question; this sample has earlier answers")
        name = "query" if turn.role == "user" else "system"
        if name in record:
            raise ValueError("a query record holds one question; this sample has several")
        record[name] = references.text(part for part in turn.parts if not first or isinstance(part, str))
    record |= _image_field("images", sample, wire, references)
    record |= {"answer": _answer(sample, wire), "query_type": sample.query_type}
    if sample.choices:
        table = dict(sample.choices)
        record["choices"] = list(table.values()) if wire.get("choices") == "list" else table
    return record


def _verl(sample: Sample, wire: Record, references: _References) -> Record:
    prompt = [{"role": turn.role, "content": references.text(turn.parts)} for turn in sample.turns]
    record: Record = {"data_source": sample.source, "prompt": _with_nested(prompt, "prompt", wire)}
    answer = _answer(sample, wire)
    if wire:
        if "cells" in wire:
            shown = zip(wire["cells"], references.placed(), strict=True)
            record["images"] = [_cell(cell, position, references) for cell, position in shown]
        if "ability" in wire.get("fields", ()):
            record["ability"] = sample.meta["ability"]
        record["reward_model"] = wire.get("reward_model", {}) | {"ground_truth": answer}
        record["extra_info"] = sample.meta["extra_info"]
        return record
    extra: Record = {"id": sample.id, "query_type": sample.query_type, "answers": list(sample.answer)}
    if sample.choices:
        extra["choices"] = [{"label": label, "text": text} for label, text in sample.choices]
    return record | {
        "images": [references.of(position) for position in references.placed()],
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": extra,
    }


def _cell(cell: str | Record, position: int, references: _References) -> str | Record:
    """A verl image cell as it was, its bytes put back."""
    if isinstance(cell, str):
        return cell
    if not cell.get("bytes"):
        return dict(cell)
    return cell | {"bytes": base64.b64decode(references.of(position))}


def _sample(sample: Sample, wire: Record, references: _References) -> Record:
    extra = set(wire.get("extra", ())) | set(wire.get("derived", ()))
    meta = {key: value for key, value in sample.meta.items() if key not in extra}
    record: Record = {
        "id": sample.id,
        "kind": sample.kind,
        "source": sample.source,
        "license": sample.license,
        "images": references.all(),
        "turns": [
            {"role": turn.role, "parts": [{"text": p} if isinstance(p, str) else {"image": p} for p in turn.parts]}
            for turn in sample.turns
        ],
        "answer": list(sample.answer),
        "query_type": sample.query_type,
        "choices": [{"label": label, "text": text} for label, text in sample.choices],
        "meta": meta,
    }
    if sample.privacy != "unknown":
        record["privacy"] = sample.privacy
    return record


def _parts(sample: Sample) -> Iterator[Part]:
    for turn in sample.turns:
        yield from turn.parts


def _image_field(name: str, sample: Sample, wire: Record, references: _References) -> Record:
    """The field of a conversation or query that lists its pictures; left out when there are none."""
    if not sample.images and "image" not in wire:
        return {}
    shown = [references.of(position) for position in references.placed()]
    return {name: shown[0] if wire.get("image") == "scalar" else shown}


def _answer(sample: Sample, wire: Record) -> Any:
    """The answer as it was written, else a string for one reference and a list for several."""
    if "answer" in wire:
        return wire["answer"]
    if wire or len(sample.answer) != 1:
        return list(sample.answer)
    return sample.answer[0]


def _with_nested(rows: list[Any], field: str, wire: Record) -> list[Any]:
    """``rows`` with the unknown fields that each had."""
    nested = wire.get("nested", {})
    return [row if row is None else row | nested.get(f"{field}/{position}", {}) for position, row in enumerate(rows)]


_FORMATS: dict[str, tuple[Callable[[Sample, Record, _References], Record], tuple[str, ...]]] = {
    "image-caption": (_caption, ("image_caption",)),
    "interleaved": (_interleaved, ("interleaved", "image_caption")),
    "conversation": (_conversation, ("conversation",)),
    "query": (_query, ("query",)),
    "verl": (_verl, ("query",)),
    "sample": (_sample, ("image_caption", "interleaved", "conversation", "query")),
}
