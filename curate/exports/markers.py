"""Marks that a trainer acts on wherever they stand in a text, and how someone's text is kept from containing them."""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from curate.rewards.prompt import HARMLESS, MARKERS, defused
from curate.select.utf8 import characters

_IN_BYTES: Final = re.compile(MARKERS.encode())
_NO: Final = pa.scalar(False)


def defuse(texts: pa.StringArray) -> tuple[pa.StringArray, pa.BooleanArray]:
    """The texts with a space put into every marker (``<image>`` becomes ``< image>``), and which texts had any.

    Null texts stay null and had none.
    """
    if _IN_BYTES.search(characters(texts).data) is None:  # in one go: most texts have none
        return texts, pa.repeat(_NO, len(texts))
    marked = pc.fill_null(pc.match_substring_regex(texts, MARKERS), _NO)
    if not pc.any(marked).as_py():
        return texts, marked
    return pc.replace_substring_regex(texts, MARKERS, HARMLESS), marked


def has_marker(text: str) -> bool:
    """Whether a trainer would act on something in ``text``."""
    return re.search(MARKERS, text) is not None


def defuse_text(text: str) -> str:
    """:func:`defuse` for one text."""
    return defused(text)
