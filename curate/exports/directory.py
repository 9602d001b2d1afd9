"""The directory an export is written to: complete or not there at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from curate.corpus import UserError, exclusive, sync_directory

MARKER: Final = "export.json"
"""Describes an export; a directory that has it may be replaced by another export."""

_KIND: Final = "medcurate-export"


@contextmanager
def fresh_directory(target: Path) -> Iterator[Path]:
    """A directory to write into that takes the place of ``target`` when the block ends, and vanishes when it fails.

    It lies beside ``target``. An interrupted run leaves it behind; the next one clears it. Raises UserError when
    ``target`` holds something that is no export, or when another process is writing it.
    """
    target = target.resolve()
    check_target(target)
    partial = target.with_name(f".{target.name}.partial")
    with exclusive(partial):
        _clear(partial, keep=".lock")
        try:
            yield partial
            (partial / ".lock").unlink()
            _swap(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def check_target(target: Path) -> None:
    """Raise UserError unless ``target`` is missing, empty or an earlier export."""
    if Path.cwd().is_relative_to(target):
        raise UserError(f"{target} is the directory you are in; run the command from outside of it")
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target} is a file; choose another -o directory")
    if any(target.iterdir()) and not _is_export(target):
        raise UserError(f"{target} holds something that is no export; choose another -o directory, or empty that one")


def write_marker(directory: Path, description: dict[str, Any]) -> None:
    """Write ``export.json``, which makes the directory an export."""
    content = orjson.dumps({"kind": _KIND, **description}, option=orjson.OPT_INDENT_2)
    (directory / MARKER).write_bytes(content + b"\n")


def _is_export(directory: Path) -> bool:
    try:
        description = orjson.loads((directory / MARKER).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return False
    return isinstance(description, dict) and description.get("kind") == _KIND


def _swap(partial: Path, target: Path) -> None:
    """Put ``partial`` where ``target`` is. Between the two renames the earlier export lies beside it, whole."""
    earlier = target.with_name(f".{target.name}.old")
    if target.exists():
        shutil.rmtree(earlier, ignore_errors=True)
        target.rename(earlier)
    partial.rename(target)
    sync_directory(target.parent)
    shutil.rmtree(earlier, ignore_errors=True)


def _clear(directory: Path, *, keep: str) -> None:
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != keep:
            entry.unlink()
