"""What kind of verifiable answer a text is: yes or no, a number, a short phrase; or none."""

from __future__ import annotations

import re

from curate.rewards.normalise import normalise, tokens
from curate.rewards.numeric import quantity
from curate.rewards.text import polarity
from curate.sources.derive.instructions import words
from curate.sources.rejects import RejectError

EXACT_UP_TO = 3
"""Words a reference may have to be compared as a whole. Longer ones are rarely repeated to the letter, and a group of
responses that are all wrong teaches nothing: they are compared by shared words."""

_LONGEST = 2_000
"""Characters that are looked at, of a question the last ones: Unicode's normal forms and some of the patterns here take
quadratic time."""
_NON_ANSWERS = frozenset(
    {
        *("i don't know", "i do not know", "don't know", "unknown", "not sure", "unsure", "uncertain", "unclear"),
        *("cannot be determined", "can't be determined", "cannot determine", "unable to determine", "not determined"),
        *("not applicable", "n/a", "not specified", "not mentioned", "not provided", "not available", "not visible"),
        *("不知道", "不确定", "不清楚", "无法确定", "无法判断", "未知", "未提及"),
    }
)
_CLOSED = re.compile(
    r"(?:^|[.?!,:;\n])\s*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may|might)\b[^?]*\?"
    r"|吗|是否|有没有|有无|是不是|能否|可否",
    re.IGNORECASE,
)
_FIRST = re.compile(r"\w+")


def classify(answer: str, question: str, max_words: int) -> tuple[str, str]:
    """Query type and reference for the answer to a question.

    Raises RejectError when it is no answer that a rule could verify: too long, of several lines, an "I don't know".
    """
    text = answer.strip()
    if len(text) > _LONGEST:
        raise RejectError("long_answer", f"its answer has {len(text):,} characters; a rule cannot verify it")
    said = normalise(text)
    if not tokens(text) or said in _NON_ANSWERS:
        raise RejectError("no_answer", f"its answer {text[:60]!r} answers nothing")
    whole = _FIRST.fullmatch(said) is not None
    if polarity(text) is not None:
        if whole and said not in ("y", "n"):  # which may be the name of something in the picture
            return "yes_no", text
        if _CLOSED.search(question[-_LONGEST:]) and (lead := _FIRST.match(said)):
            return "yes_no", lead.group()
    if quantity(text) is not None:
        return "numeric", text
    count = words(text)
    if count > max_words or "\n" in text:
        raise RejectError("long_answer", f"its answer has {count} words; a rule verifies up to {max_words} in one line")
    return ("exact" if count <= EXACT_UP_TO else "jaccard"), text


_ASKS = r"(?:which|what|name|identify|list|state)"
_NEEDS_OPTIONS = re.compile(
    r"\b(?:of|among|from|between)\s+(?:the\s+)?(?:following|these|those|them)\b|\bthe\s+following\b|\bfollowing\s+\w+\s+(?:is|are)\b"
    r"|\b(?:below|listed|above)\s+(?:options?|choices?)\b|\b(?:options?|(?<!\bof\s)choices?|alternatives?|statements?)\b"
    r"|\bexcept\b|\b(?:select|choose|pick)\b|\b(?:true|false|correct|incorrect)\b|\bwhich\s+one\b|\bleast\s+likely\b"
    r"|\bbest\s+(?:answer|describes\s+this)\b|\bodd\s+one\b|\bwhich\s+answers?\b|(?-i:\bNOT\b)"
    # What is not so is a great deal: only the options make it one thing.
    rf"|\b{_ASKS}\b[^?]*\b(?:not|never|cannot|(?:is|are|do|does|did|was|were|ca|wo)n['’]t)\b"
    rf"|\b{_ASKS}\b[^?.]*\b(?:absent|missing|lack(?:s|ing)?)\b"
    r"|\bbut\s*[:?…._]*\s*\Z"
    r"|(?<!有)没有|(?<!是)不是|未(?!来|婚|成年|知)|不(?:包括|包含|能|会|应|可见|显示|存在|需要)|缺(?:少|失|如)"
    r"|下列|以下|下述|下面|哪一?项|哪个选项|选项|除.{0,30}外|不正确|错误的|正确的|不属于|最不可能",
    re.IGNORECASE,
)
_WHICH_OF_THESE = re.compile(
    r"\b(W|w)hich (?:one )?of (?:the following|these) (is|are|was|were) (the (?!following\b)[^?]{1,400})\?\s*\Z"
)


def needs_options(question: str) -> str | None:
    """The words of a question that only make sense with its options; None when it can be asked without them."""
    found = _NEEDS_OPTIONS.search(question[-_LONGEST:])
    return " ".join(found.group().split()) if found else None


def rephrased(question: str) -> str:
    """ "Which of the following is the ...?" as "What is the ...?"; any other question as it is."""
    return _WHICH_OF_THESE.sub(lambda m: f"{'What' if m[1] == 'W' else 'what'} {m[2]} {m[3]}?", question)
