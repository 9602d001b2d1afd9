"""Keys and tokens: what looks like one, refused in settings and hidden in what trainers print."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from curate.corpus import UserError

_VARIABLE: Final = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)
_SETTING: Final = re.compile(
    r"(?:^|[_.])(?:api_?key|access_key|secret(?:_key)?|password|passwd|credentials?|(?:hub|hf|auth|access)_token)$|"
    r"(?:^|\.)token$",
    re.IGNORECASE,
)
_VALUE: Final = re.compile(r"\b(?:hf_[A-Za-z0-9]{16,}|sk-[\w-]{16,}|AKIA[A-Z0-9]{12,}|ghp_\w{16,}|glpat-[\w-]{16,})")
_HIDDEN: Final = "[hidden]"


def refuse_credentials(arguments: Mapping[str, Any]) -> None:
    """Raise UserError for a setting that is named like a key or holds one: a run directory keeps its settings."""
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            refuse_credentials({f"{name}.{key}": entry for key, entry in value.items()})
        elif (_SETTING.search(name) and value) or _VALUE.search(str(value)):
            raise UserError(
                f"arguments: {name} looks like a secret, which the run directory would keep; set it in the environment "
                "(HF_TOKEN, WANDB_API_KEY), or log in with the service's own command"
            )


def credentials_of(environment: Mapping[str, str]) -> list[str]:
    """Values of variables that are named like keys and passwords, the longest first."""
    found = {value for name, value in environment.items() if _VARIABLE.search(name) and len(value) >= 8}
    return sorted(found, key=len, reverse=True)


def without_credentials(text: str, known: Sequence[str]) -> str:
    """``text`` with the ``known`` ones, and what looks like an access token, replaced."""
    for value in known:
        text = text.replace(value, _HIDDEN)
    return _VALUE.sub(_HIDDEN, text)
