"""A query as a model is asked: the messages that ``curate export --format verl`` writes, sample by sample.

The export renders columns and lives in a room above this one; here it is done for one query at a time. A test holds
the two to the same text, so that a rollout measures what training will see.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from curate.corpus import Image, Sample
from curate.rewards.prompt import defused, lists_options
from curate.schemas import IMAGE_PLACEHOLDER

Choices = tuple[tuple[str, str], ...]
"""Options as (letter, text)."""

_WORD: Final = re.compile(r"[^\t\n\f\r ]")


@dataclass(frozen=True, slots=True)
class Message:
    """One message, with ``<image>`` where a picture stands; a literal one in someone's text is ``< image>``."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent for one answer, and what that answer is compared with."""

    messages: tuple[Message, ...]
    images: tuple[Image, ...]
    """In the order of their placeholders."""
    choices: Choices
    """The options as they are shown."""
    answer: tuple[str, ...]
    """The reference by the options as they are shown."""


def render(sample: Sample, system_prompt: str, *, text_only: bool = False) -> Question:
    """The question of a query.

    A sample without a system message gets ``system_prompt`` unless it is empty; options that the question does not
    list are added to it. ``text_only`` leaves the pictures out.
    """
    messages = [] if sample.turns[0].role == "system" or not system_prompt else [Message("system", system_prompt)]
    messages += [Message(turn.role, content_of(turn.parts)) for turn in sample.turns]
    asked = messages[-1].content
    if sample.choices and not lists_options(asked, sample.choices):
        asked += defused("".join(f"\n{label}. {text}" for label, text in sample.choices))
        messages[-1] = Message(messages[-1].role, asked)
    images = tuple(sample.images[part] for turn in sample.turns for part in turn.parts if isinstance(part, int))
    if text_only:
        messages = [Message(m.role, m.content.replace(IMAGE_PLACEHOLDER, "").strip()) for m in messages]
        images = ()
    return Question(tuple(messages), images, sample.choices, sample.answer)


def untrainable(sample: Sample) -> str | None:
    """Why the verl export leaves a query out, in its words; None when it does not."""
    roles = [turn.role for turn in sample.turns]
    after_system = roles[1:] if roles[:1] == ["system"] else roles
    wanted = ["assistant" if place % 2 else "user" for place in range(len(after_system))]
    if after_system != wanted or not wanted or wanted[-1] != "user":
        return "turns out of order"
    if not any(_WORD.search(text) for text in sample.texts("user")):
        return "no question"
    if any(isinstance(part, int) for turn in sample.turns if turn.role == "system" for part in turn.parts):
        return "picture in the system message, which trainers leave out"
    return None if sample.answer else "no answer"


def chat(question: Question, image_urls: Sequence[str]) -> list[dict[str, Any]]:
    """The messages of a chat completion. A message of a question with pictures is a list of parts, as in verl."""
    urls = iter(image_urls)
    messages: list[dict[str, Any]] = []
    for message in question.messages:
        content: Any = message.content
        if question.images and message.role != "system":
            content = []
            for number, text in enumerate(message.content.split(IMAGE_PLACEHOLDER)):
                if number:
                    content.append({"type": "image_url", "image_url": {"url": next(urls)}})
                if text:
                    content.append({"type": "text", "text": text})
        messages.append({"role": message.role, "content": content})
    return messages


def content_of(parts: Sequence[str | int]) -> str:
    """The text of a message, with a placeholder for each picture."""
    return "".join(defused(part) if isinstance(part, str) else IMAGE_PLACEHOLDER for part in parts)
