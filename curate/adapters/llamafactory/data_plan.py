"""Which rows of which exports a stage trains on, decided before anything is read: `run/config/data.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from curate.adapters.exports import describe_export
from curate.adapters.stage import CptStage, SftStage
from curate.corpus import UserError

MixStrategy = Literal["interleave_under", "interleave_over"]
"""LLaMA-Factory's words: stop where the first export runs out, or go on until the last one has."""


@dataclass(frozen=True)
class PlannedExport:
    """One export and how much of it is used."""

    name: str
    """As the stage file writes it."""
    path: str
    """Its directory, absolute."""
    rows: int
    """Training rows that it holds."""
    take: int
    """Training rows of it in one epoch; above ``rows``, some are repeated."""
    validation_rows: int


@dataclass(frozen=True)
class DataPlan:
    """All exports of a stage."""

    stage: Literal["cpt", "sft"]
    exports: list[PlannedExport]
    seed: int
    """Chooses the rows where not all are taken."""
    cutoff_len: int
    """Tokens that every row must stay below."""
    batch_size: int
    """Rows of one optimiser step."""

    @property
    def composed(self) -> bool:
        """Whether rows of several exports are copied into one file; a single export is read where it lies."""
        return len(self.exports) > 1

    @property
    def rows(self) -> int:
        """Training rows of one epoch."""
        return sum(export.take for export in self.exports)

    @property
    def validated(self) -> bool:
        """Whether any export has validation rows."""
        return any(export.validation_rows for export in self.exports)


def plan_data(stage: CptStage | SftStage, strategy: MixStrategy) -> DataPlan:
    """The plan for the exports of ``stage``. Raises UserError for an export that lacks what it should have."""
    described = [describe_export(data.path) for data in stage.data]
    rows = [_rows(description, "train") for description in described]
    for data, count in zip(stage.data, rows, strict=True):
        if not count:
            raise UserError(f"{data.path} has no training rows; export it again with a smaller --val-fraction")
    shares = [data.share for data in stage.data if data.share is not None]
    taken = take_shares(rows, shares, strategy) if shares else rows
    for data, count in zip(stage.data, taken, strict=True):
        if not count:
            raise UserError(f"the share of {data.path} comes to less than one row; raise it or leave the export out")
    return DataPlan(
        stage=stage.stage,
        exports=[
            PlannedExport(str(data.path), str(data.path.resolve()), rows[n], taken[n], _rows(described[n], "val"))
            for n, data in enumerate(stage.data)
        ],
        seed=stage.seed,
        cutoff_len=stage.cutoff_len or max(_exported_cutoff(data.path) for data in stage.data),
        batch_size=stage.batch_size,
    )


def take_shares(rows: Sequence[int], shares: Sequence[float], strategy: MixStrategy) -> list[int]:
    """How many of ``rows`` to take of each export so that they are mixed by ``shares``.

    The export that has the fewest rows for its share (`interleave_under`) or the most (`interleave_over`) is taken
    once and whole; the others follow from it, rounded to whole rows.
    """
    choose = min if strategy == "interleave_under" else max
    total = choose(count / share for count, share in zip(rows, shares, strict=True))
    return [math.floor(total * share + 0.5) for share in shares]


def write_plan(plan: DataPlan, path: Path) -> None:
    """Write ``data.json``."""
    path.write_text(json.dumps(asdict(plan), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_plan(path: Path) -> DataPlan:
    """Read what :func:`write_plan` wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return DataPlan(**content | {"exports": [PlannedExport(**export) for export in content["exports"]]})


def _rows(description: dict[str, Any], split: str) -> int:
    return sum(int(file["rows"]) for file in description.get("files", ()) if file.get("split") == split)


def _exported_cutoff(export: Path) -> int:
    path = export / "train.yaml"
    try:
        return int(yaml.safe_load(path.read_text(encoding="utf-8"))["cutoff_len"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        raise UserError(f"{path} names no cutoff_len; set cutoff_len in the stage file, or export again") from None
