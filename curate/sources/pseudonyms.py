"""Pseudonyms of patients, studies and series: equal for equal identifiers, and of no use without the key.

An identifier is replaced by the first 16 hexadecimal digits of its HMAC-SHA256 (RFC 2104), as PS3.15 Annex E allows for
attributes with action U or Z. The key is this user's, lies outside of every corpus, and is made when it is first
needed: who has a corpus but not the key can neither look an identifier up nor try all of them out.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from functools import cache
from pathlib import Path

from curate.corpus import UserError

_LENGTH = 16


def pseudonym(kind: str, identifier: str) -> str | None:
    """A name for what ``identifier`` identifies, apart by ``kind``; None for a blank one, which identifies nothing."""
    text = identifier.strip(" \0")
    if not text:
        return None
    return hmac.new(_key(), f"{kind}\0{text}".encode(errors="replace"), hashlib.sha256).hexdigest()[:_LENGTH]


def key_file() -> Path:
    """Where the key is: ``$CURATE_PSEUDONYM_KEY``, else in the user's configuration directory."""
    named = os.environ.get("CURATE_PSEUDONYM_KEY")
    if named:
        return Path(named)
    configuration = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(os.path.expanduser(configuration)) / "medcurate" / "pseudonym.key"  # noqa: PTH111 - it never raises


@cache
def _key() -> bytes:
    """The key. Raises UserError when it can be neither read nor made."""
    path = key_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(path)
        key = path.read_bytes().strip()
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; it should hold the key that patients' pseudonyms are made with. Name a file "
            "that can be written in CURATE_PSEUDONYM_KEY"
        ) from None
    if len(key) < 32:
        raise UserError(f"{path} holds no key of 32 bytes or more; move it away, and a new one is made")
    return key


def _make(path: Path) -> None:
    """Write a new key unless there is one; of several processes at once, one wins and its key is whole."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
