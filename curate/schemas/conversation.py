"""SFT conversations: instructions, images and expected answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

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
        speakers = [message.from_ for message in self.conversations]
        check_conversation(speakers, [message.value for message in self.conversations], self.image)
        return self


def check_conversation(speakers: Sequence[str], said: Sequence[str], image: str | Sequence[str] | None) -> None:
    """Raise unless the speakers alternate as they must and every image has its placeholder."""
    begin = 1 if speakers[0] == "system" else 0
    pairs = (len(speakers) - begin) // 2
    if not pairs or list(speakers[begin:]) != ["human", "gpt"] * pairs:
        raise _role_order(speakers, begin)
    check_placeholders(said, 0 if image is None else 1 if isinstance(image, str) else len(image))


def _role_order(speakers: Sequence[str], begin: int) -> PydanticCustomError:
    for turn, found in enumerate(speakers[begin:], start=begin):
        expected = "gpt" if (turn - begin) % 2 else "human"
        if found != expected:
            return record_error(
                "role_order",
                "turn {turn} is from {found}, expected {expected}: after an optional system message, "
                "human and gpt alternate",
                turn=turn,
                found=found,
                expected=expected,
            )
    return record_error("role_order", "the last turn must be the gpt answer")
