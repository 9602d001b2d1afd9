"""Write settings in the grammar of Hydra's command line, so that every value arrives as it was meant."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_KEY: Final = re.compile(r"(\+\+|\+)?[A-Za-z_][\w]*(\.[A-Za-z_][\w]*)*")
_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def assignment(key: str, value: Any) -> str:
    """``key=value`` as one Hydra override on one line.

    Strings are always quoted: unquoted, ``[a]`` is a list, ``null`` is None and ``a,b`` is an error. Raises ValueError
    for a key that is no dotted name (one or two ``+`` before it add a key that verl's defaults lack) and for a value
    that one line of the grammar can't hold.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"{key!r} is no setting of verl: names joined by dots are, such as actor_rollout_ref.actor.shuffle"
        )
    return f"{key}={text_of(value)}"


def text_of(value: Any) -> str:
    """A value of YAML in Hydra's grammar; ValueError for one that it can't express."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_name(name)}:{text_of(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(text_of(entry) for entry in value) + "]"
    raise ValueError(
        f"{value!r} is a {type(value).__name__}; verl takes text, numbers, true, false, null, lists, mappings"
    )


def _quoted(text: str) -> str:
    """In single quotes. A backslash counts only before a quote, and ``${`` begins an interpolation unless escaped."""
    if _CONTROL.search(text):
        raise ValueError(f"{text!r} holds a line break or another control character")
    literal = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", text)
    return "'" + re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), literal) + "'"


def _name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} can't be a name in a mapping for verl; letters, digits and _ can")
    return name
