"""Interleaved records: a document whose segments are texts and images in reading order (OBELICS' layout)."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from curate.schemas.base import FilledText, WireRecord, record_error


class ImageInfo(WireRecord):
    """The image of one slot: its bytes as base64, or a path."""

    image_base64: FilledText | None = None
    """Base64 of a PNG or JPEG file, or a data URI."""

    image: FilledText | None = None
    """A path relative to the record's file or the input's root; an alternative to ``image_base64``."""

    @model_validator(mode="after")
    def _one_picture(self) -> Self:
        if (self.image_base64 is None) == (self.image is None):
            raise record_error("slot_image", "give exactly one of image_base64 and image")
        return self


class Interleaved(WireRecord):
    """A document in reading order: ``texts`` and ``image_info`` of equal length, exactly one non-null in each slot."""

    texts: list[FilledText | None] = Field(min_length=1)
    """Text of each slot, null where the slot is an image."""

    image_info: list[ImageInfo | None]
    """Image of each slot, null where the slot is a text."""

    @model_validator(mode="after")
    def _aligned(self) -> Self:
        if len(self.texts) != len(self.image_info):
            raise record_error(
                "slot_count",
                "texts has {texts} slot(s) and image_info has {images}; they must be equally long",
                texts=len(self.texts),
                images=len(self.image_info),
            )
        for slot, (text, image) in enumerate(zip(self.texts, self.image_info, strict=True)):
            if (text is None) == (image is None):
                state = "neither a text nor an image" if text is None else "both a text and an image"
                raise record_error("slot_content", "slot {slot} has {state}", slot=slot, state=state)
        return self
