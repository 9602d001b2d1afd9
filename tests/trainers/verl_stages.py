"""Small verl exports and GRPO stages over them, for the tests of the adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hand_made_exports import embedded, png, verl_row, write_verl_file

from curate.adapters.stage import GrpoStage, parse_stage

COLOURS = {"A": "red", "B": "green", "C": "blue", "D": "yellow"}


def colour_row(
    number: int, *, prompt: str = "<image>Which colour?", size: tuple[int, int] = (64, 64)
) -> dict[str, Any]:
    """A query about a picture of one colour, whose reference is a letter."""
    letter = list(COLOURS)[number % 4]
    row = verl_row(number, prompt, embedded(png(size, COLOURS[letter])), letter)
    row["extra_info"]["choices"] = [{"label": label, "text": text} for label, text in COLOURS.items()]
    return row


def write_export(directory: Path, rows: list[dict[str, Any]], validation: list[dict[str, Any]] = ()) -> Path:
    """A verl export as `curate export` writes it, as far as the adapter looks."""
    directory.mkdir(parents=True)
    description = {"kind": "medcurate-export", "format": "verl", "options": {"images": "embed"}}
    (directory / "export.json").write_text(json.dumps(description))
    write_verl_file(directory / "train.parquet", rows)
    if validation:
        write_verl_file(directory / "val.parquet", validation)
    return directory


def smoke_stage(model: Path, output: Path, *exports: Path, **entries: Any) -> GrpoStage:
    """A stage that runs on a CPU: four queries a step, two responses each."""
    content = {
        "stage": "grpo",
        "model": str(model),
        "data": [{"path": str(export)} for export in exports],
        "output": str(output),
        "gpus": 0,
        "rollout": "cpu_smoke",
        "batch_size": 4,
        "micro_batch_size": 8,
        "group_size": 2,
        "max_prompt_length": 200,
        "max_response_length": 4,
        "validate_every": -1,
        **entries,
    }
    stage = parse_stage(content, "test")
    assert isinstance(stage, GrpoStage)
    return stage
