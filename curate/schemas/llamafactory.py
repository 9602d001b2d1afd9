"""LLaMA-Factory rows in the sharegpt layout with role/content tags: what our SFT and CPT exports contain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

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
        roles = [message.role for message in self.messages]
        check_messages(roles, [message.content for message in self.messages], len(self.images))
        return self


def check_messages(roles: Sequence[str], contents: Sequence[str], images: int) -> None:
    """Raise unless the roles alternate, the assistant says something and every image has its placeholder."""
    if list(roles) != ["user", "assistant"] * (len(roles) // 2):
        raise _role_order(roles)
    if not any(map(str.strip, contents[1::2])):
        raise record_error("empty", "the assistant says nothing")
    check_placeholders(contents, images)


def _role_order(roles: Sequence[str]) -> PydanticCustomError:
    for position, role in enumerate(roles):
        if role != ("assistant" if position % 2 else "user"):
            return record_error(
                "role_order",
                "message {position} is from {role}; user and assistant must alternate, user first",
                position=position,
                role=role,
            )
    return record_error("role_order", "the last message must be the assistant's")
