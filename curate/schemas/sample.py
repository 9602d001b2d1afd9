"""Whole samples as JSON: the lossless form that ``curate export --format jsonl`` writes and ingest reads back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from curate.schemas.base import FilledText, WireRecord, record_error

ID_PATTERN = "[0-9a-f]{64}"
Role = Literal["document", "system", "user", "assistant"]
Kind = Literal["image_caption", "interleaved", "conversation", "query"]
Privacy = Literal["unknown", "identified", "deidentified"]


class SamplePart(WireRecord):
    """A text, or the position of an image in ``images``; exactly one of the two."""

    text: str | None = None
    image: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        check_part(self.text, self.image)
        return self


class SampleTurn(WireRecord):
    """What one speaker says and shows."""

    role: Role
    parts: list[SamplePart] = Field(min_length=1)


class SampleChoice(WireRecord):
    """One option of a multiple-choice question."""

    label: FilledText
    text: FilledText


class SampleRecord(WireRecord):
    """A sample with nothing lost: parts instead of placeholders."""

    id: str | None = Field(default=None, pattern=rf"^{ID_PATTERN}$")
    """SHA-256 of the content; computed again when read, so it may be left out."""

    kind: Kind
    source: str | None = None
    license: str | None = None
    images: list[str] = []
    """Paths, data URIs or base64."""

    turns: list[SampleTurn] = Field(min_length=1)
    answer: list[FilledText] = []
    query_type: str | None = None
    choices: list[SampleChoice] = []
    privacy: Privacy = "unknown"
    """``identified`` samples are never sent to a judge."""

    meta: dict[str, Any] = {}

    @model_validator(mode="after")
    def _every_image_placed_once(self) -> Self:
        placed = [part.image for turn in self.turns for part in turn.parts if part.image is not None]
        check_images_placed(placed, len(self.images))
        if self.kind == "query" and not (self.answer and self.query_type):
            raise record_error("empty", "a query needs an answer and a query_type")
        return self


def check_part(text: str | None, image: int | None) -> None:
    """Raise unless a part is either a text or an image."""
    if (text is None) == (image is None):
        raise record_error("part_content", "a part holds either a text or the position of an image")


def check_images_placed(placed: Sequence[int], images: int) -> None:
    """Raise unless every image of a sample stands at one place in its turns."""
    if sorted(placed) != list(range(images)):
        raise record_error(
            "image_parts",
            "the parts refer to images {placed}, expected each of {images} image(s) exactly once",
            placed=sorted(placed),
            images=images,
        )
