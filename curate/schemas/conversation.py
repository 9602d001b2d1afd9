"""SFT conversations: instructions, images and expected answers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from curate.schemas.base import FilledText, WireRecord, check_placeholders, record_error


class Message(WireRecord):
    """One turn of a conversation."""

    from_: Literal["system", "human", "gpt"] = Field(alias="from")
    """Who speaks."""

    value: FilledText
    """What is said, with one ``<image>`` for each image shown at that point."""


class Conversation(WireRecord):
    """Instructions and expected answers in turns, with or without images; text-only when ``image`` is absent.

    An optional system message comes first; then human and gpt alternate, human first, gpt last: LLaMA-Factory drops any
    other order with only a warning.
    """

    conversations: list[Message] = Field(min_length=2)
    """The turns, in order."""

    image: FilledText | Annotated[list[FilledText], Field(min_length=1)] | None = None
    """A path, data URI or base64, or a list of these in the order of their placeholders."""

    @model_validator(mode="after")
    def _well_formed(self) -> Self:
        turns = self.conversations[1:] if self.conversations[0].from_ == "system" else self.conversations
        for position, message in enumerate(turns):
            expected = "gpt" if position % 2 else "human"
            if message.from_ != expected:
                raise record_error(
                    "role_order",
                    "turn {turn} is from {found}, expected {expected}: after an optional system message, "
                    "human and gpt alternate",
                    turn=position + len(self.conversations) - len(turns),
                    found=message.from_,
                    expected=expected,
                )
        if len(turns) < 2 or len(turns) % 2:
            raise record_error("role_order", "the last turn must be the gpt answer")
        images = [] if self.image is None else [self.image] if isinstance(self.image, str) else self.image
        check_placeholders((message.value for message in self.conversations), len(images))
        return self
