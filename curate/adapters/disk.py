"""How much disk space a training needs, before it runs out of it at its first checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from curate.corpus import UserError

_OPTIMISER_BYTES: Final = 12
"""Per trained parameter in a checkpoint: AdamW's two moments and the master weights, in 32 bits each."""
_KEPT: Final = 2
"""Checkpoints that the adapters keep; one more is being written before the oldest goes."""


_COUNTED: Final = ("checkpoints", "model", ".model.partial")
"""What of a run :func:`bytes_needed` counts; the tokenised data beside them is there before."""


def bytes_needed(parameters: Mapping[str, Any]) -> int:
    """Bytes of a run's checkpoints and its model, from the ``parameters`` of a proof.

    ``total`` and ``trained`` parameters, ``bytes_per_parameter`` of the weights as they are saved, and, where it is not
    all of them and not two, how many are ``in_checkpoint`` and ``checkpoints_kept``.
    """
    width = parameters["bytes_per_parameter"]
    weights = int(parameters["total"] * width)
    saved = parameters.get("in_checkpoint", parameters["total"])
    checkpoint = int(saved * width + parameters["trained"] * _OPTIMISER_BYTES)
    return (int(parameters.get("checkpoints_kept", _KEPT)) + 1) * checkpoint + weights


def check_disk(run: Path, parameters: Mapping[str, Any]) -> None:
    """Raise UserError when the disk of ``run`` has no room for what training will write there, beside what it has."""
    there = sum(_size(run / name) for name in _COUNTED)
    needed = bytes_needed(parameters)
    free = shutil.disk_usage(run).free
    if needed - there > free:
        raise UserError(
            f"{run} lies on a disk with {_gigabytes(free)} free, and its checkpoints and model take about "
            f"{_gigabytes(needed)}; free some, name an output on another disk, or train fewer parts (lora)"
        )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:,.1f} GB" if number >= 1e8 else f"{number / 1e6:,.1f} MB"
