"""The exports that a stage trains on: whether they are what the stage needs, and whether they are still the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from curate.adapters.stage import Stage
from curate.corpus import UserError

FORMAT_OF: Final = {"cpt": "llamafactory-cpt", "sft": "llamafactory-sft", "grpo": "verl"}
"""The export format that each stage trains on."""

Fingerprint = dict[str, str]
"""Path of each file of an export, relative to it -> SHA-256; ``images/`` stands for the list of its pictures."""

_DESCRIPTION: Final = "export.json"


def describe_export(path: Path) -> dict[str, Any]:
    """Content of ``export.json``. Raises UserError when ``path`` is no complete export."""
    if not path.is_dir():
        raise UserError(f"the export {path} does not exist; curate export -o {path} writes one")
    try:
        description = json.loads((path / _DESCRIPTION).read_bytes())
    except (OSError, ValueError):
        description = None
    if not isinstance(description, dict) or description.get("kind") != "medcurate-export":
        raise UserError(f"{path} is no export: it has no {_DESCRIPTION} of curate export")
    return description


def check_exports(stage: Stage) -> None:
    """Raise UserError unless every export of ``stage`` is there, and in the format that the stage trains on."""
    wanted = FORMAT_OF[stage.stage]
    seen = set()
    for data in stage.data:
        found = describe_export(data.path).get("format")
        if found != wanted:
            raise UserError(
                f"{data.path} is an export for {found}, and stage {stage.stage} trains on {wanted}; "
                f"curate export --format {wanted} writes that"
            )
        if data.path.resolve() in seen:
            raise UserError(f"{data.path} is named twice in data; for more of it, raise its share")
        seen.add(data.path.resolve())


def fingerprint(export: Path) -> Fingerprint:
    """Hashes that change when anything in the export does that reaches a trainer.

    Pictures are named by the SHA-256 of their content, so their names and sizes stand for them.
    """
    return dict(_hashes(export))


def _hashes(export: Path) -> Iterator[tuple[str, str]]:
    for entry in sorted(os.scandir(export), key=lambda found: found.name):
        if entry.is_file() and entry.name != _DESCRIPTION:  # which holds the time of the export
            with Path(entry.path).open("rb") as file:
                yield entry.name, hashlib.file_digest(file, "sha256").hexdigest()
        elif entry.is_dir() and entry.name == "images":
            yield "images/", _hash_of_pictures(Path(entry.path))


def _hash_of_pictures(images: Path) -> str:
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(images):
        folders.sort()
        for name in sorted(files):
            size = (Path(folder) / name).stat().st_size
            digest.update(f"{name} {size}\n".encode())
    return digest.hexdigest()


def changes(before: Mapping[str, Fingerprint], now: Mapping[str, Fingerprint]) -> list[str]:
    """The files of exports that differ between two times, as paths."""
    found = []
    for export, files in before.items():
        current = now.get(export, {})
        found += [f"{export}/{name}" for name in sorted(files | current) if files.get(name) != current.get(name)]
    return found
