"""Which checkpoint a training goes on from: the last one that was written to its end.

LLaMA-Factory takes the one with the highest number, and a process that is killed while it saves leaves half a one.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path


def last_whole_checkpoint(directory: Path) -> Path | None:
    """The last complete ``checkpoint-N`` in an output directory of LLaMA-Factory; None when there is none."""
    found = []
    if directory.is_dir():
        for path in directory.iterdir():
            if (match := re.fullmatch(r"checkpoint-(\d+)", path.name)) and path.is_dir():
                found.append((int(match[1]), path))
    return next((path for _, path in sorted(found, reverse=True) if is_whole(path)), None)


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint can be resumed from.

    transformers writes `trainer_state.json` last, but on several GPUs the other processes may still be writing theirs:
    so every file of tensors must be complete too, to judge by its header (safetensors) or its end (PyTorch's ZIP).
    """
    try:
        json.loads((checkpoint / "trainer_state.json").read_bytes())
        return all(_is_whole_file(path) for path in checkpoint.rglob("*") if path.is_file())
    except (OSError, ValueError):
        return False


def _is_whole_file(path: Path) -> bool:
    if path.suffix in {".pt", ".pth", ".bin"}:
        return zipfile.is_zipfile(path)
    if path.suffix != ".safetensors":
        return True
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    return path.stat().st_size == 8 + length + end
