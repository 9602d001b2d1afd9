"""What verl's rollout dumps leave out, found again in the file that was trained on.

A line of a training dump holds the decoded prompt, the response and the reference, but neither the query type nor the
options nor the data source. The prompt is rendered by a chat template, so it is recognised by the question inside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from curate.rewards.inputs import choices_of, mapping_of, plain, texts_of

_IMAGE = "<image>"


class _Prompt(NamedTuple):
    pieces: tuple[str, ...]
    """The question, cut where its pictures are: the template puts tokens of its own there."""
    references: list[str]
    fields: dict[str, Any]


class Prompts:
    """The rows of a verl file by their question; rows that differ only in their pictures are one."""

    def __init__(self) -> None:
        self._by_line: dict[str, list[_Prompt]] = {}
        self._seen: set[tuple[Any, ...]] = set()

    def add(self, fields: Mapping[str, Any]) -> None:
        """Take a row of the file: ``data_source``, ``prompt``, ``reward_model``, ``extra_info``."""
        messages = plain(fields.get("prompt"))
        last = mapping_of(messages[-1]) if isinstance(messages, list) and messages else {}
        question = " ".join(texts_of(last.get("content")))
        pieces = tuple(piece for part in question.split(_IMAGE) if (piece := part.strip()))
        if not pieces:
            return
        references = texts_of(mapping_of(fields.get("reward_model")).get("ground_truth"))
        extra = mapping_of(fields.get("extra_info"))
        kept = {key: value for key, value in extra.items() if key not in ("id", "index", "split")}
        source = str(fields.get("data_source"))
        key = (pieces, *references, source, extra.get("query_type"), choices_of(extra.get("choices")))
        if key in self._seen:
            return
        self._seen.add(key)
        prompt = _Prompt(pieces, references, {"data_source": source, "extra_info": kept})
        line = max((line.strip() for piece in pieces for line in piece.splitlines()), key=len)
        self._by_line.setdefault(line, []).append(prompt)

    def complete(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """A line of a dump with ``data_source`` and ``extra_info`` of the row it was made from.

        Raises ValueError when no row fits, or several that would be scored differently.
        """
        shown = str(fields.get("input"))
        references = texts_of(fields.get("gts"))
        fitting = [
            prompt
            for line in {line.strip() for line in shown.splitlines()}
            for prompt in self._by_line.get(line, ())
            if prompt.references == references and all(piece in shown for piece in prompt.pieces)
        ]
        longest = max((sum(map(len, prompt.pieces)) for prompt in fitting), default=0)
        best = [prompt.fields for prompt in fitting if sum(map(len, prompt.pieces)) == longest]
        if not best:
            raise ValueError("its prompt is not in the file that --prompts names")
        if any(other["extra_info"] != best[0]["extra_info"] for other in best):
            raise ValueError("several rows of the file that --prompts names have this prompt, with different options")
        return {**best[0], **fields}
