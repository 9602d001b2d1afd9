"""The environments that `make_env.sh` makes hold what the stages of the recipes import."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from curate.adapters.stage import load_stage
from curate.adapters.train import TRAINER, adapter_of

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "curate" / "adapters" / "requirements"


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").rglob("[0-9]*.yaml")), ids=lambda path: path.stem)
def test_what_a_stage_needs_is_required(recipe: Path) -> None:
    stage = load_stage(recipe)
    lines = (REQUIREMENTS / f"{TRAINER[stage.stage]}.txt").read_text().splitlines()
    required = {name for line in lines for name in re.findall(r"[\w-]+", line.partition("#")[0])}
    needed = {module.replace("_", "-") for module in adapter_of(stage).needed(stage)}
    assert needed <= required
