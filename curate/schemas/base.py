"""What every wire record shares: extra fields are kept, values are never coerced, problems are sentences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

IMAGE_PLACEHOLDER = "<image>"
"""The mark that stands for one image in conversation, query and verl texts."""


class WireRecord(BaseModel):
    """One row of a file outside. Unknown fields are allowed and survive in ``model_extra``."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)


def record_error(code: str, message: str, **context: Any) -> PydanticCustomError:
    """A validation error with a stable snake_case ``code`` (rejects are counted by it) and a plain sentence."""
    return PydanticCustomError(code, message, context)


def _filled(text: str) -> str:
    if not text.strip():
        raise record_error("empty", "it is empty")
    return text


FilledText = Annotated[str, AfterValidator(_filled)]
"""A string with at least one character that is not white space."""


def check_placeholders(texts: Iterable[str], images: int) -> None:
    """Raise unless ``<image>`` occurs exactly once for each image, over all texts together.

    A conversation without images must not contain the placeholder either: it nearly always lost its images, and
    LLaMA-Factory stops the whole run at such a row.
    """
    found = "\n".join(texts).count(IMAGE_PLACEHOLDER)
    if found != images:
        raise record_error(
            "placeholder_count",
            "{found} <image> placeholder(s) in the text for {images} image(s)",
            found=found,
            images=images,
        )
