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

_WRITTEN: Final = frozenset({MARKER, "README.md", "images", "dataset_info.json", "train.yaml", "skipped.jsonl"})
"""What an export may have at its top beside its data files, which its marker lists."""


@contextmanager
def fresh_directory(target: Path) -> Iterator[Path]:
    """A directory to write into that takes the place of ``target`` when the block ends, and vanishes when it fails.

    It lies beside ``target``. An interrupted run leaves it behind; the next one clears it. Raises UserError when
    ``target`` holds something that no export wrote, also if it came there during the block, or when another process is
    writing it.
    """
    target = target.resolve()
    check_target(target)
    partial = target.with_name(f".{target.name}.partial")
    with exclusive(partial):
        _clear(partial, keep=".lock")
        try:
            yield partial
            (partial / ".lock").unlink()
            check_target(target)  # again: a training may have begun in there meanwhile
            _swap(partial, target)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def check_target(target: Path) -> None:
    """Raise UserError unless ``target`` is missing, empty or an earlier export with nothing added to it."""
    if Path.cwd().is_relative_to(target):
        raise UserError(f"{target} is the directory you are in; run the command from outside of it")
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target} is a file; choose another -o directory")
    entries = sorted(entry.name for entry in target.iterdir())
    if not entries:
        return
    description = _description(target)
    if description is None:
        raise UserError(f"{target} holds something that is no export; choose another -o directory, or empty that one")
    added = [name for name in entries if name not in _WRITTEN | _data_files(description)]
    if added:
        raise UserError(
            f"{target} is an earlier export, but the export did not write {', '.join(added)} in it, which replacing it "
            "would delete; move that elsewhere, or choose another -o directory"
        )


def replaced_export(target: Path, corpus: Path, format_name: str) -> str | None:
    """A note when an export of another corpus or in another format lies in ``target`` and will be replaced."""
    description = _description(target)
    if description is None:
        return None
    before, theirs = description.get("format"), description.get("corpus", {}).get("path")
    if before != format_name:
        return f"{target.name} held an export in the format {before}, which this one replaced"
    if theirs != str(corpus.resolve()):
        return f"{target.name} held an export of the corpus {theirs}, which this one replaced"
    return None


def write_marker(directory: Path, description: dict[str, Any]) -> None:
    """Write ``export.json``, which makes the directory an export."""
    content = orjson.dumps({"kind": _KIND, **description}, option=orjson.OPT_INDENT_2)
    (directory / MARKER).write_bytes(content + b"\n")


def _description(directory: Path) -> dict[str, Any] | None:
    """What the marker in ``directory`` says, or None when it is no export."""
    try:
        description = orjson.loads((directory / MARKER).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return description if isinstance(description, dict) and description.get("kind") == _KIND else None


def _data_files(description: dict[str, Any]) -> set[str]:
    """The names at the top of an export that belong to its data files."""
    return {Path(file["path"]).parts[0] for file in description.get("files", [])}


def _swap(partial: Path, target: Path) -> None:
    """Put ``partial`` where ``target`` is. Between the two renames the earlier export lies beside it, whole.

    When it cannot be put there, the earlier export goes back to its place.
    """
    earlier = target.with_name(f".{target.name}.old")
    replaces = target.exists()
    try:
        if replaces:
            shutil.rmtree(earlier, ignore_errors=True)
            target.rename(earlier)
        partial.rename(target)
    except BaseException:
        if replaces and not target.exists():
            earlier.rename(target)
        raise
    sync_directory(target.parent)
    shutil.rmtree(earlier, ignore_errors=True)


def _clear(directory: Path, *, keep: str) -> None:
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != keep:
            entry.unlink()
