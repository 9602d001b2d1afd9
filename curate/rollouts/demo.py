"""The demo model: a real OpenAI-compatible server on this machine that plays a model which is sometimes right.

It is there to try the whole flow without a model: it is told the answers, and how often it gives them follows from a
hash of the question. What it gets right says nothing about the data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from curate.judge.demo_server import serve
from curate.rollouts.options import DEMO_ROLLOUT_MODEL

_UNTAGGED: Final = 0.03
"""Share of answers without tags, as models forget them."""


class Demo:
    """A running demo model."""

    def __init__(self) -> None:
        self.url = ""
        self._answers: dict[str, tuple[str, str]] = {}

    def teach(self, messages: list[dict[str, Any]], right: str, wrong: str) -> None:
        """Tell the answers of a question that is about to be asked."""
        self._answers[_digest(messages)] = right, wrong

    def forget(self, messages: list[dict[str, Any]]) -> None:
        """The question is done with."""
        self._answers.pop(_digest(messages), None)

    def reply(self, request: dict[str, Any]) -> str:
        """The answer to a request; the same for the same question and seed."""
        question = _digest(request["messages"])
        right, wrong = self._answers.get(question, ("I cannot tell", "I cannot tell"))
        pictures = any(
            isinstance(message["content"], list) and any(part["type"] == "image_url" for part in message["content"])
            for message in request["messages"]
        )
        # Hard, middling and easy questions are equally many; without its pictures a question is harder.
        skill = _chance(question, "skill") ** (1.0 if pictures else 2.0)
        seed = str(request.get("seed", 0))
        said = right if _chance(question, seed) < skill else wrong
        thought = f"<think>Looking at the question step by step, what stands out points to {said}.</think>"
        if _chance(question, f"tags {seed}") < _UNTAGGED:
            return f"{thought}\nI would say {said}."
        return f"{thought}\n<answer>{said}</answer>"


@contextmanager
def demo_model() -> Iterator[Demo]:
    """Run the demo model on this machine for the time of the ``with`` block."""
    demo = Demo()
    with serve(DEMO_ROLLOUT_MODEL, demo.reply) as demo.url:
        yield demo


def _digest(messages: list[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()


def _chance(question: str, what: str) -> float:
    """A number from 0 to 1 that follows from both."""
    return int.from_bytes(hashlib.sha256(f"{question}:{what}".encode()).digest()[:6]) / (1 << 48)
