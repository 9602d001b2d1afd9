"""What a model is told before it answers, so that the reward finds its answer."""

from __future__ import annotations

from typing import Final

DEFAULT_SYSTEM_PROMPT: Final = (
    "First think about the question step by step inside <think> and </think>. Then give the final answer, and nothing "
    "else, inside <answer> and </answer>. When options are listed, the final answer is the letter of the right one, or "
    "the letters of all that are right, separated by commas."
)
"""System message of verl prompts whose sample has none; the reward looks for the answer between these tags."""
