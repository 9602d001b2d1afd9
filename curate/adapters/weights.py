"""Which parts of a model a training changed, and by how much; runs in the environment of a trainer.

    python -m curate.adapters.weights BEFORE AFTER [--json TARGET.json]

Tensors are read from the safetensors files piece by piece, without a model class, so the memory needed does not grow
with the model.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from curate.adapters.stage import ModelPart

_AROUND: Final = re.compile(r"^(?:base_model\.|model\.|language_model\.)+")
"""Names of wrapping modules, which differ between versions of transformers and add nothing."""
_PROJECTOR: Final = re.compile(r"(?:^|\.)(?:merger|multi_modal_projector|mm_projector|mlp1)\.")
_DEEPSTACK: Final = re.compile(r"(?:^|\.)deepstack_merger_list\.")
_VISION: Final = re.compile(r"^(?:visual|vision_tower|vision_model)\.")
_EMBEDDINGS: Final = ("embed_tokens.weight", "lm_head.weight")
_HEAD: Final = "lm_head.weight"

_PIECE: Final = 8_000_000
"""Elements compared at a time."""


@dataclass
class PartChange:
    """What changed in one part of a model."""

    part: str
    tensors: int = 0
    parameters: int = 0
    changed: int = 0
    """Tensors of which any element differs."""
    relative: float = 0.0
    """L2 norm of the change, divided by that of the weights before (after, where those are all 0)."""
    largest: float = 0.0
    """Largest absolute change of an element."""
    not_finite: int = 0
    """Elements that are NaN or infinite after; they are left out of the two figures above."""
    squares: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("change", "before", "after"), 0.0))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: value for name, value in asdict(self).items() if name != "squares"}


@dataclass
class WeightChange:
    """Two checkpoints compared."""

    parts: list[PartChange]
    """vision_encoder, projector, language_model."""
    within: list[PartChange]
    """deepstack_mergers of the vision encoder; embeddings of the language model, with its output layer if stored."""
    missing: list[str]
    """Tensors that are only in the model before."""
    added: list[str]
    """Tensors that are only in the model after."""
    reshaped: list[str]
    """Tensors of another shape; they count as changed, and in no other figure."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = {name: [part.as_dict() for part in getattr(self, name)] for name in ("parts", "within")}
        return {**asdict(self), **parts}


def part_of(name: str) -> ModelPart:
    """The part that the tensor ``name`` belongs to, as LLaMA-Factory's freezing sees it.

    The merger of Qwen's models is the projector; the DeepStack mergers of Qwen3-VL, which feed the first layers of the
    language model from within the vision encoder, are frozen and trained with that.
    """
    name = _AROUND.sub("", name)
    if _PROJECTOR.search(name):
        return "projector"
    return "vision_encoder" if _VISION.match(name) else "language_model"


def compare_weights(before: Path, after: Path) -> WeightChange:
    """Compare two models in Hugging Face format.

    Where they are stored with different precision, both are rounded to the coarser one first: a change below it is
    none. An output layer that is tied to the embeddings need not be stored. Raises ValueError when a directory holds no
    safetensors.
    """
    parts = {name: PartChange(name) for name in ("vision_encoder", "projector", "language_model")}
    deepstack, embeddings = PartChange("deepstack_mergers"), PartChange("embeddings")
    with ExitStack() as stack:
        old, new = _Checkpoint(before, stack), _Checkpoint(after, stack)
        tied = {_HEAD} if old.tied and new.tied else set()
        change = WeightChange(
            list(parts.values()),
            [deepstack, embeddings],
            sorted(old.files.keys() - new.files.keys() - tied),
            sorted(new.files.keys() - old.files.keys() - tied),
            [],
        )
        for name in sorted(old.files.keys() & new.files.keys()):
            counted = [parts[part_of(name)]]
            counted += [deepstack] if _DEEPSTACK.search(name) else [embeddings] if name in _EMBEDDINGS else []
            if old.shape(name) != new.shape(name):
                change.reshaped.append(name)
                for part in counted:
                    part.tensors, part.parameters = part.tensors + 1, part.parameters + math.prod(new.shape(name))
                    part.changed += 1
                continue
            _count(counted, _compare(old, new, name), math.prod(new.shape(name)))
    for part in (*change.parts, *change.within):
        norm = part.squares["before"] or part.squares["after"]
        part.relative = math.sqrt(part.squares["change"] / norm) if norm else 0.0
    return change


class _Checkpoint:
    """The tensors of a model directory, by their names without those of wrapping modules."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        from safetensors import safe_open

        paths = sorted(directory.glob("*.safetensors"))
        if not paths:
            raise ValueError(f"{directory} holds no safetensors files")
        self.files: dict[str, tuple[Any, str]] = {}
        for path in paths:
            opened = stack.enter_context(safe_open(path, framework="pt"))
            for stored in opened.keys():  # noqa: SIM118 - it is no mapping
                self.files[_AROUND.sub("", stored)] = (opened, stored)
        config = directory / "config.json"
        settings = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        text = settings.get("text_config") or {}
        self.tied = bool(settings.get("tie_word_embeddings", text.get("tie_word_embeddings", False)))

    def shape(self, name: str) -> list[int]:
        opened, stored = self.files[name]
        return list(opened.get_slice(stored).get_shape())

    def pieces(self, name: str) -> Iterator[Any]:
        """The tensor in runs of rows."""
        opened, stored = self.files[name]
        shape = self.shape(name)
        if not shape:
            yield opened.get_tensor(stored)
            return
        view = opened.get_slice(stored)
        rows = max(1, _PIECE // max(1, math.prod(shape[1:])))
        for start in range(0, shape[0], rows):
            yield view[start : start + rows]


def _compare(old: _Checkpoint, new: _Checkpoint, name: str) -> Mapping[str, float]:
    import torch

    found = {"change": 0.0, "before": 0.0, "after": 0.0, "largest": 0.0, "changed": 0.0, "not_finite": 0.0}
    for first, second in zip(old.pieces(name), new.pieces(name), strict=True):
        coarse = max(first.dtype, second.dtype, key=_coarseness)
        before, after = first.to(coarse).float(), second.to(coarse).float()
        usable = torch.isfinite(before) & torch.isfinite(after)
        found["changed"] = max(found["changed"], float(not torch.equal(before, after)))
        found["not_finite"] += int((~torch.isfinite(after)).sum())
        before, after = (torch.where(usable, values, 0.0) for values in (before, after))
        for key, values in (("change", after - before), ("before", before), ("after", after)):
            found[key] += float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2
        if before.numel():
            found["largest"] = max(found["largest"], float((after - before).abs().max()))
    return found


def _coarseness(dtype: Any) -> float:
    import torch

    return float(torch.finfo(dtype).eps) if dtype.is_floating_point else 0.0


def _count(parts: Sequence[PartChange], found: Mapping[str, float], parameters: int) -> None:
    for part in parts:
        part.tensors += 1
        part.parameters += parameters
        part.changed += int(found["changed"])
        part.not_finite += int(found["not_finite"])
        part.largest = max(part.largest, found["largest"])
        for key in part.squares:
            part.squares[key] += found[key]


def _folder_of(model: str) -> Path:
    """Where the files of a model are: itself a directory, or a hub id's snapshot in the cache."""
    folder = Path(model)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except LocalEntryNotFoundError:
        raise ValueError(f"{model} is neither a directory nor a model in the cache") from None


def main(arguments: Sequence[str]) -> None:
    """Compare, and print a line for each part or write JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m curate.adapters.weights", description="Which parts of a model a training changed."
    )
    parser.add_argument("before", help="a directory, or the hub id of a model that is in the cache")
    parser.add_argument("after", type=Path)
    parser.add_argument("--json", type=Path, metavar="TARGET", help="write the comparison to this file")
    given = parser.parse_args(arguments)
    try:
        change = compare_weights(_folder_of(given.before), given.after)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    if given.json is not None:
        from curate.corpus import atomic_file

        with atomic_file(given.json) as file:
            file.write(json.dumps(change.as_dict(), indent=2).encode())
    print(f"{'part':<26}{'parameters':>16}{'changed tensors':>18}{'relative':>12}{'largest':>12}")
    for part in (*change.parts, *change.within):
        name = f"within: {part.part}" if part in change.within else part.part
        changed = f"{part.changed:,} of {part.tensors:,}"
        print(f"{name:<26}{part.parameters:>16,}{changed:>18}{part.relative:>12.2e}{part.largest:>12.2e}")
        if part.not_finite:
            print(f"  {part.not_finite:,} of its weights are NaN or infinite after")
    for title, names in (("missing", change.missing), ("added", change.added), ("reshaped", change.reshaped)):
        if names:
            print(f"{title}: {len(names):,} tensor(s), such as {names[0]}")


if __name__ == "__main__":
    main(sys.argv[1:])
