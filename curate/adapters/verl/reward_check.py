"""Run the reward over every row before training does: on its reference and on an empty response."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any


def reward_problems(
    score: Callable[..., Any], rows: Iterable[Mapping[str, Any]], before: str
) -> Iterator[tuple[int, str]]:
    """The rows (from 0) whose reward is no use, each with a sentence.

    ``score`` is the reward as verl's own loader gives it, and is called as verl's reward manager calls it; ``rows``
    have ``data_source``, ``reward_model`` and ``extra_info``; ``before`` stands before the answer, for a format that
    asks for thoughts. A row's own reference must score higher than an empty response.
    """
    import numpy as np

    with asyncio.Runner() as runner:
        for number, row in enumerate(rows):
            reference = (row["reward_model"] or {}).get("ground_truth")
            if reference is None:
                yield number, "reward_model.ground_truth is missing, the reference answer"
                continue

            def scored(response: str, row: Mapping[str, Any] = row, reference: Any = reference) -> float:
                result = score(
                    data_source=np.str_(row["data_source"]),
                    solution_str=response,
                    ground_truth=reference,
                    extra_info=dict(row["extra_info"] or {}),
                )
                return _score_of(runner.run(result) if inspect.iscoroutine(result) else result)

            try:
                right, empty = scored(f"{before}<answer>{reference}</answer>"), scored("")
            except _NoScoreError as error:
                yield number, str(error)
            except Exception as error:  # noqa: BLE001 - a team's own code
                yield number, f"the reward raises {type(error).__name__}: {error}"
            else:
                if not right > empty:
                    answer = f"{before}<answer>{str(reference)[:80]}</answer>"
                    yield number, f"the response {answer} scores {right:g}, no more than an empty one: nothing to learn"


class _NoScoreError(Exception):
    """A reward returned something else than verl needs."""


def _score_of(result: Any) -> float:
    """The number in what a reward returned."""
    if isinstance(result, Mapping):
        if "score" not in result:
            raise _NoScoreError(f"the reward returns a dict without 'score': {', '.join(map(str, result)) or 'empty'}")
        result = result["score"]
    if result is None or isinstance(result, (str, bool)):
        raise _NoScoreError(f"the reward returns {result!r}, which is no number; verl would train on it without a word")
    number = float(result)
    if math.isnan(number):
        raise _NoScoreError("the reward returns NaN")
    return number
