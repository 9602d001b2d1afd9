"""The table of query types: name -> how an answer is compared with its references."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from curate.rewards.inputs import Choice


class RewardError(ValueError):
    """The reward is configured wrongly: an unknown query type, impossible weights. Never raised for a bad response."""


@dataclass(frozen=True)
class Context:
    """What an accuracy may need beside the answer and its references."""

    choices: tuple[Choice, ...] = ()
    """The options as (letter, text); empty when the question has none or they were not given."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """The row's ``extra_info``."""
    relative_tolerance: float = 1e-6
    """For numbers: how far off an answer may be, as a share of the reference."""


Accuracy = Callable[[str, Sequence[str], Context], float | None]
"""(answer, references, context) -> 0 to 1, or None when the answer cannot be read as one of this type.

Called only with an answer that is not empty and at least one reference. It must not raise, whatever the answer is."""


class QueryType(NamedTuple):
    """An entry of the table."""

    accuracy: Accuracy
    together: bool
    """Whether several references form one answer (a set of letters) instead of being equally right."""


_TYPES: dict[str, QueryType] = {}


def register(name: str, *, together: bool = False) -> Callable[[Accuracy], Accuracy]:
    """Make the decorated function the accuracy of queries whose ``query_type`` is ``name``.

    Raises RewardError when the name belongs to another function.
    """

    def add(accuracy: Accuracy) -> Accuracy:
        known = _TYPES.get(name)
        if known is not None and _origin(known.accuracy) != _origin(accuracy):
            raise RewardError(f"query_type {name!r} is taken by {'.'.join(_origin(known.accuracy))}; use another name")
        _TYPES[name] = QueryType(accuracy, together)
        return accuracy

    return add


def _origin(accuracy: Accuracy) -> tuple[str, str]:
    """Where a function comes from: a module that is loaded twice registers its own functions again."""
    return str(accuracy.__module__), str(getattr(accuracy, "__qualname__", accuracy))


def known_types() -> tuple[str, ...]:
    """All query types that have a reward: the built-in ones, then those of the modules named in ``CURATE_REWARDS``.

    Raises RewardError when such a module cannot be imported.
    """
    _import_named_modules()
    return tuple(_TYPES)


def query_type(name: str) -> QueryType:
    """The entry of a type; RewardError when there is none."""
    if name not in _TYPES:
        _import_named_modules()
    if name not in _TYPES:
        raise RewardError(
            f"no reward is known for query_type {name[:60]!r}; there are: {', '.join(_TYPES)}. Register one with "
            "curate.rewards.register, and name its module in the environment variable CURATE_REWARDS"
        )
    return _TYPES[name]


def _import_named_modules() -> None:
    for name in filter(None, map(str.strip, os.environ.get("CURATE_REWARDS", "").split(","))):
        try:
            importlib.import_module(name)
        except (ImportError, SyntaxError) as error:
            raise RewardError(
                f"CURATE_REWARDS names the module {name!r}, which cannot be imported ({error}); "
                "put its folder on PYTHONPATH"
            ) from error
