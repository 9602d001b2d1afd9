"""Image-caption records: one image (or a small set of related ones) and a text describing it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from curate.schemas.base import FilledText, WireRecord


class ImageCaption(WireRecord):
    """An image, or a few related ones, and its text: ``{"image": "a.png", "text": "..."}``.

    The text is taken literally: ``<image>`` in it is three syllables of prose, not a placeholder.
    """

    image: FilledText | Annotated[list[FilledText], Field(min_length=1)]
    """A path relative to the record's file (or the input's root), a data URI, or base64; or a list of these."""

    text: FilledText
    """Caption or report that all of the images share."""
