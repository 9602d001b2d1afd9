"""The stages of the recipes, as far as a machine without GPUs can tell: each trainer's own classes accept them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.adapters.llamafactory.adapter import LlamaFactoryAdapter
from curate.adapters.llamafactory.arguments import flat, sections
from curate.adapters.llamafactory.data_plan import DataPlan, PlannedExport
from curate.adapters.llamafactory.loader import open_trainer
from curate.adapters.stage import CptStage, GrpoStage, SftStage, load_stage

RECIPES = Path(__file__).parents[2] / "recipes"


def recipes(*stages: str) -> Iterator[Any]:
    for path in sorted(RECIPES.rglob("[0-9]*.yaml")):
        if yaml.safe_load(path.read_text())["stage"] in stages:
            yield pytest.param(path, id=str(path.relative_to(RECIPES)))


@pytest.mark.parametrize("recipe", list(recipes("cpt", "sft")))
def test_llamafactory_takes_them(recipe: Path, tiny_model: Path, tmp_path: Path) -> None:
    stage = load_stage(recipe, [f"model={tiny_model}"])
    assert isinstance(stage, CptStage | SftStage)
    LlamaFactoryAdapter().check(stage)
    exports = [PlannedExport(str(data.path), str(data.path), 10, 10, 1) for data in stage.data]
    plan = DataPlan(stage.stage, exports, seed=0, cutoff_len=stage.cutoff_len or 2048, batch_size=stage.batch_size)

    with open_trainer(flat(sections(stage, plan, tmp_path, workers=1))) as trainer:
        training = trainer.training_arguments

    rate = stage.arguments["learning_rate"]
    assert (training.learning_rate, training.lr_scheduler_type) == (rate, stage.arguments["lr_scheduler_type"])
    assert training.warmup_steps == stage.arguments["warmup_ratio"]  # below one it is a share of all steps
    assert (training.lr_scheduler_kwargs or {}) == stage.arguments.get("lr_scheduler_kwargs", {})
    rows = training.per_device_train_batch_size * training.gradient_accumulation_steps * max(1, stage.gpus)
    assert rows == stage.batch_size


@pytest.mark.parametrize("recipe", list(recipes("grpo")))
def test_verl_takes_them(recipe: Path) -> None:
    from curate.adapters.verl.configuration import compose_and_check
    from curate.adapters.verl.overrides import Files, overrides

    stage = load_stage(recipe)
    assert isinstance(stage, GrpoStage)
    lines = overrides(stage, Path("/run"), Files((Path("/x/train.parquet"),), (Path("/x/val.parquet"),), 16))

    configuration, problems = compose_and_check([line for line in lines if line and not line.startswith("#")])

    assert problems == []
    assert configuration.data.train_batch_size == stage.batch_size
    assert configuration.actor_rollout_ref.rollout.n == stage.group_size


def test_stages_train_on_exports_and_models_that_the_recipe_makes() -> None:
    for folder in {path.parent for path in RECIPES.glob("*/[0-9]*.yaml")}:
        lines = (folder / "exports.txt").read_text().splitlines()
        made = {f"exports/{line.split()[0]}" for line in lines if line and not line.startswith("#")}
        before: str | None = None
        for path in sorted(folder.glob("[0-9]*.yaml")):
            stage = load_stage(path)
            assert {str(data.path) for data in stage.data} <= made
            assert str(stage.output) == f"runs/{folder.name}/{path.stem}"
            assert before is None or stage.model == f"{before}/model"
            before = str(stage.output)


def test_the_mixture_by_source_takes_the_place_of_the_decay_stage() -> None:
    folder = RECIPES / "infimed2-4b"
    stage, plain = (load_stage(path / "3-cpt-decay.yaml") for path in (folder / "by-source", folder))
    lines = (folder / "by-source" / "exports.txt").read_text().splitlines()
    made = {f"exports/{line.split()[0]}" for line in lines if not line.startswith("#")}
    assert {str(data.path) for data in stage.data} == made
    assert stage.model_copy(update={"data": plain.data}) == plain
