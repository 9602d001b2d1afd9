"""Where the answer is in a response, and whether the response has the required format (the recipe's Algorithm 1).

Only ``str.find`` and ``str.count``: one pass over the text whatever a policy writes, where a backtracking regular
expression could hang a training step on an output with 100,000 opening tags.
"""

from __future__ import annotations

from typing import NamedTuple

_THINK, _THINK_END = "<think>", "</think>"
_ANSWER, _ANSWER_END = "<answer>", "</answer>"


class Parts(NamedTuple):
    """A response taken apart."""

    think: str | None
    """What is inside ``<think>...</think>``; None without such a block."""
    before: str
    """What stands before the block."""
    rest: str
    """The answer part: what follows ``</think>``, or the whole response without a block."""


def extract_answer(response: str, *, think_opened: bool = False) -> Parts:
    """Algorithm 1's ExtractAnswer: the block reaches from the first ``<think>`` to the next ``</think>``.

    ``think_opened``: the chat template has written ``<think>`` at the end of the prompt, as those of reasoning models
    do, so the response begins inside the block.
    """
    start = response.find(_THINK)
    if think_opened and (start < 0 or response[:start].strip()):
        start, body = 0, 0
    elif start < 0:
        return Parts(None, "", response)
    else:
        body = start + len(_THINK)
    end = response.find(_THINK_END, body)
    if end < 0:
        return Parts(None, "", response)
    return Parts(response[body:end], response[:start], response[end + len(_THINK_END) :])


def answer_content(rest: str) -> str | None:
    """What is inside the one ``<answer>...</answer>`` of the answer part, without white space around it.

    None unless there is exactly one opening and one closing tag, in this order, with something between them:
    Algorithm 1's FormatReward is 1 exactly when this is a string. Tags are matched as written, in lower case.
    """
    if rest.count(_ANSWER) != 1 or rest.count(_ANSWER_END) != 1:
        return None
    return rest[rest.find(_ANSWER) + len(_ANSWER) : rest.find(_ANSWER_END)].strip() or None


def thinks_first(parts: Parts) -> bool:
    """Whether the response begins with a ``<think>`` block that is not empty."""
    return parts.think is not None and bool(parts.think.strip()) and not parts.before.strip()
