"""What a model is told before it answers, so that the reward finds its answer; and what a question may not hold.

The export writes prompts and rollouts ask them: what both do to a question is here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

DEFAULT_SYSTEM_PROMPT: Final = (
    "First think about the question step by step inside <think> and </think>. Then give the final answer, and nothing "
    "else, inside <answer> and </answer>. When options are listed, the final answer is the letter of the right one, or "
    "the letters of all that are right, separated by commas."
)
"""System message of verl prompts whose sample has none; the reward looks for the answer between these tags."""

MARKERS: Final = r"<(image>|video>|audio>|\|\w+\|>)"
"""Placeholders of LLaMA-Factory and verl, and control tokens such as ``<|im_end|>`` or ``<|image_pad|>``: a tokenizer
reads those in a text as the token itself, which would end a turn or add an image that is not there."""

HARMLESS: Final = r"< \1"
"""What a marker is replaced by: it is no marker with a space in it."""
_MARKERS: Final = re.compile(MARKERS, re.ASCII)
_LABEL: Final = re.compile(r"\b(\w+)[.):]\s*")
"""What may be the label of an option in a question: ``A.``, ``A)``, ``A:`` or ``(A)``, and the space after it."""


def defused(text: str) -> str:
    """A text in which no trainer finds a marker of its own: ``<image>`` becomes ``< image>``."""
    return _MARKERS.sub(HARMLESS, text) if "<" in text else text


def lists_options(question: str, options: Iterable[tuple[str, str]]) -> bool:
    """Whether the question has every option, given as (letter, text), behind its label.

    The texts alone prove nothing: the words of an option, or its digit, may be part of what is asked.
    """
    said = question.casefold()
    labels = [(found[1], found.end()) for found in _LABEL.finditer(said)]
    return all(
        any(found == label.casefold() and _stands_at(start, text.casefold(), said) for found, start in labels)
        for label, text in options
    )


def _stands_at(start: int, text: str, said: str) -> bool:
    """Whether ``said`` has ``text`` at this place, and no word goes on behind it."""
    stop = start + len(text)
    return said.startswith(text, start) and not re.match(r"\w", said[stop : stop + 1])
