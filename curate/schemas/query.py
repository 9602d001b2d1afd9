"""RL queries: a question with a verifiable answer."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from curate.schemas.base import IMAGE_PLACEHOLDER, FilledText, WireRecord, check_placeholders, record_error

Answer = FilledText | int | float
"""One reference answer; numbers may be written as JSON numbers."""


class Query(WireRecord):
    """A question with a verifiable answer: ``query``, ``answer`` and ``query_type``, which names the reward."""

    query: FilledText
    """The user's instruction. With images and no ``<image>`` in it, the images come before the text."""

    images: list[FilledText] | FilledText | None = None
    """Paths, data URIs or base64."""

    answer: Answer | Annotated[list[Answer], Field(min_length=1)]
    """The reference, or several that are equally right. For ``multi_choice``: the letters that belong together."""

    query_type: FilledText
    """choice, multi_choice, exact, jaccard, yes_no, numeric, or a type that a team registered."""

    choices: list[FilledText] | dict[FilledText, FilledText] | None = None
    """Options of a multiple-choice question: a list (lettered A, B, ... in order) or letter to text."""

    system: FilledText | None = None
    """System prompt, if any."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_question(self.query, self.system, self.images)
        check_answer(self.query_type, answer_list(self.answer), choice_table(self.choices))
        return self


def check_question(query: str, system: str | None, images: str | list[str] | None) -> None:
    """Raise unless every image has its placeholder, or none of them has one."""
    number = 0 if images is None else 1 if isinstance(images, str) else len(images)
    texts = [query] if system is None else [system, query]
    if number == 0 or any(IMAGE_PLACEHOLDER in text for text in texts):
        check_placeholders(texts, number)


def answer_list(answer: Answer | list[Answer]) -> list[str]:
    """References as strings; a single one becomes a list of one."""
    return [str(value) for value in (answer if isinstance(answer, list) else [answer])]


def choice_table(choices: list[str] | dict[str, str] | None) -> list[tuple[str, str]]:
    """Options as (letter, text); a list is lettered A, B, ... Z, AA, ..."""
    if choices is None:
        return []
    if isinstance(choices, dict):
        return list(choices.items())
    return [(_letter(position), text) for position, text in enumerate(choices)]


def _letter(position: int) -> str:
    letters = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def check_answer(query_type: str, answers: list[str], choices: list[tuple[str, str]]) -> None:
    """Raise unless a multiple-choice answer is one of the choices, by letter or by text (case ignored)."""
    if query_type not in ("choice", "multi_choice"):
        return
    if len(choices) < 2:
        raise record_error("no_choices", "a {query_type} query needs at least two choices", query_type=query_type)
    if {letter for letter, _ in choices}.issuperset(answers):
        return
    known = {form.casefold().strip() for choice in choices for form in choice}
    for answer in answers:
        if answer.casefold().strip() not in known:
            raise record_error(
                "answer_not_in_choices",
                "the answer {answer} is not among the choices ({letters})",
                answer=repr(answer),
                letters=", ".join(letter for letter, _ in choices),
            )
