"""``compute_score``: the reward that verl calls for each response."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypedDict

from curate.rewards.answer import answer_content, extract_answer, thinks_first
from curate.rewards.inputs import choices_of, mapping_of, text_of, texts_of
from curate.rewards.normalise import normalise
from curate.rewards.registry import Context, QueryType, RewardError, query_type

LONGEST_ANSWER: Final = 4_000
"""Characters an answer may have beyond twice its longest reference; a longer one is wrong without being compared.
Unicode's normal forms take quadratic time on long runs of combining marks; this bounds it."""

_FROM_VERL = frozenset({"reward_router_address", "reward_model_tokenizer"})
"""Arguments that verl adds when a reward model runs beside this function."""
_LONGEST_PREDICTION = 200


class Score(TypedDict):
    """What ``compute_score`` returns: the same keys and types for every response, as verl's metrics need."""

    score: float
    """The reward: format_weight * format + accuracy_weight * accuracy."""
    format: float
    """1.0 when the response has the required form, else 0.0."""
    accuracy: float
    """0.0 to 1.0; 0.0 whenever ``format`` is."""
    answer_found: float
    """1.0 when there is exactly one answer block with something in it, whatever else the format demands."""
    answer_read: float
    """1.0 when the answer could be understood as one of its type: a known option, one number, a yes or no."""
    pred: str
    """The answer, normalised and cut to 200 characters; verl takes majority votes over it."""
    query_type: str
    """The type that was used, so that saved rollouts can be scored again."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    format_weight: float = 0.1,
    accuracy_weight: float = 0.9,
    require_think: bool = False,
    think_opened: bool = False,
    relative_tolerance: float = 1e-6,
    **from_verl: Any,
) -> Score:
    """Score one response by the recipe's Algorithm 1.

    ``data_source`` is not used; verl passes it. ``ground_truth`` is a reference or several; those in
    ``extra_info["answers"]`` count as well. ``extra_info["query_type"]`` chooses the accuracy and
    ``extra_info["choices"]`` gives the options. ``require_think`` makes a ``<think>`` block that opens the response
    part of the format; ``think_opened`` says that the prompt has opened it already. ``relative_tolerance`` is for
    numbers.

    Never raises for a response or a reference, whatever it is: the score is then 0. Raises RewardError for a wrong
    configuration: weights that are negative or do not sum to 1, a query type without a reward, an unknown argument, a
    team's own accuracy that raises or gives no number from 0 to 1.
    """
    _check(format_weight, accuracy_weight, relative_tolerance, from_verl)
    extra = mapping_of(extra_info)
    name, kind = _kind(extra)
    parts = extract_answer(text_of(solution_str), think_opened=think_opened)
    answer = answer_content(parts.rest)
    valid = answer is not None and (thinks_first(parts) or not require_think)
    accuracy = None
    if answer is not None and valid:
        context = Context(choices_of(extra.get("choices")), extra, relative_tolerance)
        accuracy = _accuracy(name, kind, answer, references_of(ground_truth, extra, kind), context)
    return {
        "score": format_weight * valid + accuracy_weight * (accuracy or 0.0),
        "format": float(valid),
        "accuracy": accuracy or 0.0,
        "answer_found": float(answer is not None),
        "answer_read": float(accuracy is not None),
        "pred": _prediction(answer or ""),
        "query_type": name,
    }


def references_of(ground_truth: Any, extra: Mapping[str, Any], kind: QueryType) -> list[str]:
    """All references of a row.

    A verl file has one type for ``ground_truth``, mostly a string, so exports put the whole list beside it, in
    ``extra_info["answers"]``. Where the references form one answer, that list is the answer.
    """
    listed = texts_of(extra.get("answers"))
    if kind.together and listed:
        return listed
    given = texts_of(ground_truth)
    return given + [text for text in listed if text not in given]


def reference_problem(ground_truth: Any, extra_info: Mapping[str, Any], **options: Any) -> str | None:
    """Why no response can ever be right for this row, as a sentence; None when one can.

    For exporters: a row like this gives the same reward to every response and nothing is learned from it. Each
    reference is scored against itself, by the code that will score the responses. ``options`` are those of
    :func:`compute_score` that the accuracies use. Raises RewardError for a query type without a reward.
    """
    extra = mapping_of(extra_info)
    name, kind = _kind(extra)
    context = Context(choices_of(extra.get("choices")), extra, **options)
    references = references_of(ground_truth, extra, kind)
    if not references:
        return "there is no reference answer"
    for answer in ["\n".join(references)] if kind.together else references:
        given = answer_content(f"<answer>{answer}</answer>")
        if given is None or not _accuracy(name, kind, given, references, context):
            options_known = ", ".join(label for label, _ in context.choices)
            among = f" among the options {options_known}" if options_known else ""
            return f"{' and '.join(answer.split(chr(10)))[:80]!r} is no {name} answer{among}"
    return None


def _kind(extra: Mapping[str, Any]) -> tuple[str, QueryType]:
    name = extra.get("query_type")
    if not isinstance(name, str) or not name:
        raise RewardError("extra_info has no query_type, which says how an answer is compared with its reference")
    return str(name), query_type(str(name))


def _accuracy(name: str, kind: QueryType, answer: str, references: Sequence[str], context: Context) -> float | None:
    if not references or len(answer) > LONGEST_ANSWER + 2 * max(map(len, references)):
        return None
    try:
        value = kind.accuracy(answer, references, context)
        fits = value is None or 0 <= value <= 1
    except Exception as error:
        raise RewardError(f"the reward of query_type {name!r} raised {type(error).__name__}: {error}") from error
    if value is None:
        return None
    if not fits:
        raise RewardError(
            f"the reward of query_type {name!r} gave {value!r}; it must give a number from 0 to 1 or None"
        )
    return float(value)


def _prediction(answer: str) -> str:
    """The answer as it is reported. Half a surrogate pair would break the JSON that verl writes of it."""
    short = normalise(answer[:_LONGEST_PREDICTION])[:_LONGEST_PREDICTION]
    return short.encode("utf-8", errors="replace").decode()


def _check(
    format_weight: float, accuracy_weight: float, relative_tolerance: float, from_verl: Mapping[str, Any]
) -> None:
    numbers = {
        "format_weight": format_weight,
        "accuracy_weight": accuracy_weight,
        "relative_tolerance": relative_tolerance,
    }
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise RewardError(f"{name} is {value!r}; it must be a number that is not negative")
    if abs(format_weight + accuracy_weight - 1) > 1e-9:
        raise RewardError(f"format_weight {format_weight!r} and accuracy_weight {accuracy_weight!r} must sum to 1")
    if unknown := from_verl.keys() - _FROM_VERL:
        raise RewardError(f"compute_score has no argument {', '.join(sorted(unknown))}")
