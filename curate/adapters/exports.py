"""What a stage starts from, exports and model: whether it is what the stage needs, and whether it is still the same."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from curate.adapters.stage import GrpoStage, Stage, absolute_model
from curate.corpus import UserError

FORMAT_OF: Final = {"cpt": "llamafactory-cpt", "sft": "llamafactory-sft", "grpo": "verl"}
"""The export format that each stage trains on."""

Fingerprint = dict[str, str]
"""Path of each file, relative to the export or model -> its state; ``images/`` stands for the list of the pictures."""

_DESCRIPTION: Final = "export.json"
_NOT_TRAINED_ON: Final = frozenset({_DESCRIPTION, "README.md"})
"""Accounts of an export, for people; the first holds its time."""


def describe_export(path: Path) -> dict[str, Any]:
    """Content of ``export.json``. Raises UserError when ``path`` is no complete export."""
    if not path.is_dir():
        raise UserError(f"the export {path} does not exist; curate export --format FORMAT -o {path} writes one")
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


def exports_of(stage: Stage) -> list[Path]:
    """The exports that a stage reads: those it trains on, and one that it validates on."""
    validation = stage.validation if isinstance(stage, GrpoStage) else None
    return [*(data.path for data in stage.data), *([validation] if validation else [])]


def fingerprint(export: Path) -> Fingerprint:
    """Hashes that change when anything in the export does that reaches a trainer.

    Pictures are named by the SHA-256 of their content, so their names and sizes stand for them.
    """
    return dict(_hashes(export))


def _hashes(export: Path) -> Iterator[tuple[str, str]]:
    for entry in sorted(os.scandir(export), key=lambda found: found.name):
        if entry.is_file() and entry.name not in _NOT_TRAINED_ON:
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


def fingerprint_of_model(model: str) -> Fingerprint:
    """Size and time of the files of a model in a local directory, since hashing its weights takes minutes."""
    folder = Path(absolute_model(model))
    if not folder.is_dir():
        return {}  # a hub id
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return {path.name: f"{path.stat().st_size} bytes, {path.stat().st_mtime_ns}" for path in files}


def changes(before: Mapping[str, Fingerprint], now: Mapping[str, Fingerprint]) -> list[str]:
    """The files of exports that differ between two times, as paths."""
    found = []
    for export, files in before.items():
        current = now.get(export, {})
        found += [f"{export}/{name}" for name in sorted(files | current) if files.get(name) != current.get(name)]
    return found
