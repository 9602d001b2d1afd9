"""How sure a model was of its answer, from the probabilities of its tokens."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

Measure = Literal["entropy", "surprisal"]


class Uncertainty(NamedTuple):
    """Mean over the tokens of an answer, in nats."""

    measure: Measure
    """``entropy`` of the distribution at each token; ``surprisal`` of the token alone where no others are told."""
    value: float


def answer_uncertainty(logprobs: list[Any] | None) -> Uncertainty | None:
    """The mean over the tokens between ``<answer>`` and ``</answer>``, or over all without such tags.

    ``logprobs`` is ``choices[0].logprobs.content`` of a chat completion. An endpoint tells only the likeliest tokens;
    the rest counts as one more outcome, so that the entropy is a lower bound. None when the entries cannot be read.
    """
    entries = [entry for entry in map(_entry, logprobs or []) if entry is not None]
    if not entries or len(entries) != len(logprobs or []):
        return None
    answer = _inside_tags(entries) or entries
    if all(entry.others for entry in answer):
        return Uncertainty("entropy", math.fsum(map(_entropy, answer)) / len(answer))
    return Uncertainty("surprisal", math.fsum(-entry.logprob for entry in answer) / len(answer))


class _Entry(NamedTuple):
    token: str
    logprob: float
    others: dict[str, float]
    """Log-probabilities by token, this one among them; empty when the endpoint gave none but this."""


def _entry(given: Any) -> _Entry | None:
    if not isinstance(given, dict) or not isinstance(given.get("token"), str):
        return None
    logprob = _logprob(given.get("logprob"))
    if logprob is None:
        return None
    top = given.get("top_logprobs")
    others: dict[str, float] = {}
    for other in top if isinstance(top, list) else []:
        if isinstance(other, dict) and isinstance(other.get("token"), str):
            value = _logprob(other.get("logprob"))
            if value is not None:
                others[other["token"]] = value
    if len(others) > 1:
        others.setdefault(given["token"], logprob)
        return _Entry(given["token"], logprob, others)
    return _Entry(given["token"], logprob, {})


def _logprob(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or value > 1e-6:
        return None
    return min(0.0, max(float(value), -1e4))  # vLLM and OpenAI write -9999 for "next to nothing"; -inf occurs as well.


def _entropy(entry: _Entry) -> float:
    shares = [math.exp(value) for value in entry.others.values()]
    rest = 1.0 - math.fsum(shares)
    return math.fsum(-share * math.log(share) for share in [*shares, rest] if share > 0)


def _inside_tags(entries: list[_Entry]) -> list[_Entry]:
    """The tokens that hold a part of the answer; none without tags."""
    text = "".join(entry.token for entry in entries)
    start = text.rfind("<answer>")
    stop = text.find("</answer>", start)
    if start < 0 or stop < 0:
        return []
    start += len("<answer>")
    inside = []
    position = 0
    for entry in entries:
        end = position + len(entry.token)
        if position < stop and end > start and text[max(position, start) : min(end, stop)].strip():
            inside.append(entry)
        position = end
    return inside
