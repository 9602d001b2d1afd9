"""What a derived sample takes from its parent, and what is chosen at random for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from curate.corpus import Kind, Part, Sample, Turn
from curate.rewards import reference_problem
from curate.sources.derive.instructions import QUERY_TYPES
from curate.sources.derive.option_lists import LONGEST_OPTION
from curate.sources.rejects import RejectError

DERIVE_VERSION = 2
"""Counts up when a conversion would make other samples of the same parents."""

_ABOUT_LINEAGE = ("parent", "derived")
_RESTATED = frozenset({"answer", "answers", "choices", "id", "index", "query_type", "split"})
"""Fields inside a verl row's ``extra_info`` that say again what a derived sample may say differently."""
_LONGEST_REFERENCE = 4_000
"""Characters of a letter, a number, a yes or no; Unicode's normal forms take quadratic time on combining marks."""
_REWARD_SETTINGS = ("unit", "absolute_tolerance", "relative_tolerance")


def draw(seed: int, sample_id: str, purpose: str) -> int:
    """A number below 2**64 that depends on nothing else: not on the order of samples, shards or processes."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{purpose}\0{sample_id}".encode(), digest_size=8).digest())


def child(
    parent: Sample,
    conversion: str,
    seed: int,
    *,
    kind: Kind,
    turns: Sequence[Turn],
    answer: Sequence[str] = (),
    query_type: str | None = None,
    choices: Sequence[tuple[str, str]] = (),
    **details: Any,
) -> Sample:
    """The sample that a conversion made of ``parent``.

    Images, source, licence, privacy and origin are the parent's. So is the meta, with the parent's id in ``parent`` and
    the conversion, its version, the seed and ``details`` in ``derived``; what the parent itself had under these names
    is kept in ``derived.before``. The wire form is left empty: no record outside spells this sample.
    """
    meta = {key: value for key, value in parent.meta.items() if key not in _ABOUT_LINEAGE}
    if isinstance(extra := meta.get("extra_info"), dict):
        meta["extra_info"] = {key: value for key, value in extra.items() if key not in _RESTATED}
    before = {key: parent.meta[key] for key in _ABOUT_LINEAGE if key in parent.meta}
    derived: dict[str, Any] = {"conversion": conversion, "version": DERIVE_VERSION, "seed": seed, **details}
    meta["parent"] = parent.id
    meta["derived"] = derived | ({"before": before} if before else {})
    return Sample(
        kind=kind,
        source=parent.source,
        license=parent.license,
        images=parent.images,
        turns=tuple(turns),
        origin=parent.origin,
        answer=tuple(answer),
        query_type=query_type,
        choices=tuple(choices),
        privacy=parent.privacy,
        meta=meta,
    )


def reward_settings(sample: Sample) -> dict[str, Any]:
    """What the record said about how a number is compared: ``unit`` and the tolerances."""
    extra = sample.meta.get("extra_info")
    places = (sample.meta, extra if isinstance(extra, dict) else {})
    return {name: place[name] for name in _REWARD_SETTINGS for place in places[::-1] if place.get(name) is not None}


def check_answerable(sample: Sample) -> Sample:
    """The query itself; RejectError when no response could earn the reward of its reference."""
    extra = {"query_type": sample.query_type, "choices": [{"label": a, "text": b} for a, b in sample.choices]}
    problem = reference_problem(list(sample.answer), {**extra, **reward_settings(sample)})
    if problem:
        raise RejectError("no_response_could_match", problem)
    return sample


def question_of(sample: Sample) -> tuple[tuple[Turn, ...], list[Part]]:
    """The turns before a query's question, and the parts of the question; RejectError when it has no question."""
    if not sample.turns or sample.turns[-1].role != "user":
        raise RejectError("no_question", "its last turn is not the user's")
    parts = list(sample.turns[-1].parts)
    if not any(isinstance(part, str) and part.strip() for part in parts):
        raise RejectError("no_question", "its question has no text")
    if any(len(text) > LONGEST_OPTION for _, text in sample.choices):
        raise RejectError("long_option", f"one of its options has more than {LONGEST_OPTION:,} characters")
    if sample.query_type in QUERY_TYPES and any(len(reference) > _LONGEST_REFERENCE for reference in sample.answer):
        raise RejectError("long_answer", f"its reference has more than {_LONGEST_REFERENCE:,} characters")
    return sample.turns[:-1], parts


def text_of(parts: Sequence[Part]) -> str:
    """The texts among the parts, in one piece."""
    return " ".join(part for part in parts if isinstance(part, str))


def with_text(parts: Sequence[Part], text: str) -> list[Part]:
    """The parts with a text after the last of them."""
    if parts and isinstance(parts[-1], str):
        return [*parts[:-1], parts[-1] + text]
    return [*parts, text]
