"""LLaMA-Factory rows in the sharegpt layout with role/content tags: what our SFT and CPT exports contain."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from curate.schemas.base import WireRecord, check_placeholders, record_error


class LlamaFactoryMessage(WireRecord):
    """One turn; in a CPT row the user shows images and the assistant is the document's text."""

    role: Literal["user", "assistant"]
    content: str


class LlamaFactoryRow(WireRecord):
    """One row: messages that alternate, user first, an even number of them."""

    messages: list[LlamaFactoryMessage] = Field(min_length=2)
    system: str | None = None
    images: list[str]
    """Paths relative to ``media_dir``."""

    @model_validator(mode="after")
    def _well_formed(self) -> Self:
        for position, message in enumerate(self.messages):
            if message.role != ("assistant" if position % 2 else "user"):
                raise record_error(
                    "role_order",
                    "message {position} is from {role}; user and assistant must alternate, user first",
                    position=position,
                    role=message.role,
                )
        if len(self.messages) % 2:
            raise record_error("role_order", "the last message must be the assistant's")
        if not any(message.content.strip() for message in self.messages if message.role == "assistant"):
            raise record_error("empty", "the assistant says nothing")
        check_placeholders((message.content for message in self.messages), len(self.images))
        return self
