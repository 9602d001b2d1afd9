"""verl rows: what ``RLHFDataset`` reads (verl 0.9, ``verl/utils/dataset/rl_dataset.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from curate.schemas.base import FilledText, WireRecord, check_placeholders, record_error
from curate.schemas.query import Answer, answer_list, check_answer, choice_table

Bytes = bytes
"""The built-in under another name: ``VerlImage`` has a field called ``bytes``."""


VerlRole = Literal["system", "user", "assistant"]


class VerlMessage(WireRecord):
    """One message of the prompt."""

    role: VerlRole
    content: str


class VerlImage(WireRecord):
    """An image cell: encoded bytes, or a path or ``file://`` address."""

    bytes: Bytes | None = None
    path: str | None = None
    image: str | None = None


class RewardModel(WireRecord):
    """How the answer is checked."""

    style: FilledText = "rule"
    ground_truth: Answer | list[Answer]
    """The reference answer, or several."""


class VerlRow(WireRecord):
    """One row of verl's train or validation file."""

    data_source: FilledText
    """Name of the data set; verl reports metrics by it."""

    prompt: list[VerlMessage] = Field(min_length=1)
    """Messages up to and including the user's query; ``<image>`` marks each image."""

    images: list[str | VerlImage] | None = None
    ability: str | None = None
    reward_model: RewardModel
    extra_info: dict[str, Any]
    """``split``, ``index``, ``query_type``, ``choices`` and whatever else the reward needs."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        roles = [message.role for message in self.prompt]
        check_prompt(roles, [message.content for message in self.prompt], len(self.images or []))
        check_truth(self.reward_model.ground_truth, self.extra_info)
        return self


def check_prompt(roles: Sequence[str], contents: Sequence[str], images: int) -> None:
    """Raise unless the user speaks last and every image has its placeholder."""
    if roles[-1] != "user":
        raise record_error("role_order", "the last message of the prompt must come from the user")
    check_placeholders(contents, images)


def check_truth(truth: Answer | list[Answer], extra_info: dict[str, Any]) -> None:
    """Raise unless there is a reference, and one of the options where there are options."""
    if truth == [] or (isinstance(truth, str) and not truth.strip()):
        raise record_error("empty", "reward_model.ground_truth is empty")
    answers = verl_answers(truth, extra_info)
    choices = verl_choices(extra_info)
    if not all(letter.strip() for letter, _ in choices):
        raise record_error("empty", "extra_info.choices has an option without a letter")
    check_answer(str(extra_info.get("query_type", "")), answers, choices)


def verl_answers(truth: Answer | list[Answer], extra_info: dict[str, Any]) -> list[str]:
    """All references: those of ``extra_info.answers`` where there are any, since ``ground_truth`` is often a string."""
    answers = extra_info.get("answers")
    if isinstance(answers, list) and answers and all(isinstance(answer, str) and answer.strip() for answer in answers):
        return answers
    return answer_list(truth)


def verl_choices(extra_info: dict[str, Any]) -> list[tuple[str, str]]:
    """The options in ``extra_info.choices``: a list of texts, letter to text, or ``{label, text}`` structs.

    Options without a text are left out: Parquet gives every row all the letters that any row has.
    """
    choices = extra_info.get("choices")
    table: list[tuple[Any, Any]] = []
    if isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        if all("label" in choice and "text" in choice for choice in choices):
            table = [(choice["label"], choice["text"]) for choice in choices]
    elif isinstance(choices, list) and all(isinstance(choice, str) for choice in choices):
        table = list(choice_table(choices))
    elif isinstance(choices, dict):
        table = list(choices.items())
    return [(str(letter), str(text)) for letter, text in table if text is not None and str(text).strip()]
