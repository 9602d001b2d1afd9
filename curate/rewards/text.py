"""Accuracies that compare texts: ``exact``, ``jaccard``, ``yes_no``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from curate.rewards.normalise import normalise, tokens
from curate.rewards.registry import Context, register

_YES = frozenset({"yes", "y", "true", "是", "是的", "有", "对", "对的", "正确", "存在"})
_NO = frozenset({"no", "n", "false", "否", "不", "不是", "没有", "无", "不对", "错误", "不存在"})
_LEAD = re.compile(r"\w+(?=\s*[,.;:!。、])")


@register("exact")
def exact(answer: str, references: Sequence[str], context: Context) -> float | None:
    """1 when the normalised answer equals a normalised reference (AccuracyReward of the recipe's Algorithm 1)."""
    said = normalise(answer)
    return float(any(normalise(reference) == said for reference in references)) if said else None


@register("jaccard")
def jaccard(answer: str, references: Sequence[str], context: Context) -> float | None:
    """Shared tokens over all tokens, |A ∩ B| / |A ∪ B|, with the reference that fits best."""
    said = tokens(answer)
    if not said:
        return None
    wanted = map(tokens, references)
    return max(len(said & reference) / len(said | reference) for reference in wanted)


@register("yes_no")
def yes_no(answer: str, references: Sequence[str], context: Context) -> float | None:
    """1 when answer and reference are both a yes or both a no."""
    said = polarity(answer)
    return None if said is None else float(any(polarity(reference) is said for reference in references))


def polarity(text: str) -> bool | None:
    """True for a yes, False for a no, None for anything else.

    The text is one of the words above, or begins with one that punctuation sets apart ("No, the lungs are clear.")
    as long as no word of the other kind follows. "No" inside a sentence or a word ("Abnormal", "No acute findings")
    says neither.
    """
    said = normalise(text)
    lead = _LEAD.match(said)
    word = lead.group() if lead else said
    if word not in _YES and word not in _NO:
        return None
    others = _NO if word in _YES else _YES
    rest = said[len(word) :]
    # Latin words are compared whole; Chinese ones, which no space ends, wherever they occur.
    if others & set(re.findall(r"\w+", rest)) or any(other in rest for other in others if not other.isascii()):
        return None
    return word in _YES
