"""What verl itself asks of a row beyond its schema (verl 0.9, ``verl/utils/dataset/rl_dataset.py``)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from curate.schemas import Problem
from curate.sources.images import inline_prefix
from curate.sources.validate.report import Severity

_OVERWRITTEN = frozenset(
    {"num_turns", "rollout_reward_scores", "global_steps", "min_global_steps", "max_global_steps"}
    | {"turn_scores", "tool_rewards"}
)
"""Keys of ``extra_info`` that verl replaces before it calls the reward."""
_AGENT_ARGUMENTS = frozenset({"uid", "session_id", "priority", "prompts", "responses", "input_ids"})
"""Column names that verl's agent loop uses itself; other columns are passed to it beside them."""


def verl_problems(
    row: Mapping[str, Any], known_types: Collection[str], *, trainer: bool, image_feature: bool
) -> Iterator[tuple[Severity, Problem]]:
    """What would go wrong with a row whose fields are well formed.

    ``known_types`` are the query types that have a reward. ``trainer``: verl reads the file as it is, so paths should
    be absolute. ``image_feature``: the file declares its pictures as Hugging Face ``Image`` cells, which may be paths.
    """
    for position, cell in enumerate(row.get("images") or ()):
        found = _cell_problem(cell, trainer=trainer, image_feature=image_feature)
        if found:
            severity, code, message = found
            yield severity, Problem(code, f"images.{position}", message)
    extra_info = row["extra_info"]
    for key in sorted(_OVERWRITTEN.intersection(extra_info)):
        message = "verl puts a value of its own here before it calls the reward; choose another name"
        yield "error", Problem("reserved_key", f"extra_info.{key}", message)
    for column in sorted(_AGENT_ARGUMENTS.intersection(row)):
        message = "verl's agent loop has an argument of this name; move it into extra_info"
        yield "error", Problem("reserved_column", column, message)
    query_type = extra_info.get("query_type")
    if query_type is None:
        message = "it is missing; curate's reward needs it to know how to compare answers"
        yield "warning", Problem("missing_query_type", "extra_info.query_type", message)
    elif query_type not in known_types:
        message = unknown_query_type(str(query_type), known_types)
        yield "warning", Problem("unknown_query_type", "extra_info.query_type", message)


def unknown_query_type(name: str, known_types: Collection[str]) -> str:
    """The sentence about a query type that no reward is known for."""
    return f"{name[:40]!r} is none of {', '.join(known_types)}; it needs a reward of that name"


def _cell_problem(
    cell: str | Mapping[str, Any], *, trainer: bool, image_feature: bool
) -> tuple[Severity, str, str] | None:
    if not isinstance(cell, str) and cell.get("image") is None and not image_feature:
        data, path = cell.get("bytes"), cell.get("path")
        if data is None and path is None:
            return "error", "missing_image", "the cell has neither bytes nor an image"
        if data is None:
            return "error", "unreadable_cell", "verl does not open the path of a cell; give its bytes, or {image: path}"
    reference = cell_reference(cell)
    if not trainer or not isinstance(reference, str) or reference.startswith("/"):
        return None
    if inline_prefix(reference) is not None:
        return None
    if reference.startswith("file://") and Path(urlsplit(reference).path).is_absolute():
        return None
    return "warning", "relative_path", "verl looks for it from the directory it is started in; write the whole path"


def cell_reference(cell: str | Mapping[str, Any]) -> str | bytes | None:
    """The picture of a cell: its bytes, a path or an inline image; None when it has none."""
    if isinstance(cell, str):
        return cell
    data: bytes | None = cell.get("bytes")
    return data if data is not None else cell.get("image") or cell.get("path")
