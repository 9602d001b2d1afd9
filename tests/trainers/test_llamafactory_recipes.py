"""The stages of the recipes, as far as a machine without GPUs can tell: each trainer's own classes accept them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
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


@contextmanager
def opened(recipe: Path, model: Path, run: Path) -> Iterator[tuple[CptStage | SftStage, Any]]:
    """A recipe's stage and LLaMA-Factory's training arguments for it, on a CPU."""
    stage = load_stage(recipe, [f"model={model}"])
    assert isinstance(stage, CptStage | SftStage)
    LlamaFactoryAdapter().check(stage)
    exports = [PlannedExport(str(data.path), str(data.path), 10, 10, 1) for data in stage.data]
    plan = DataPlan(stage.stage, exports, seed=0, cutoff_len=stage.cutoff_len or 2048, batch_size=stage.batch_size)
    with open_trainer(flat(sections(stage, plan, run, workers=1))) as trainer:
        yield stage, trainer.training_arguments


@pytest.mark.parametrize("recipe", list(recipes("cpt", "sft")))
def test_llamafactory_takes_them(recipe: Path, tiny_model: Path, tmp_path: Path) -> None:
    with opened(recipe, tiny_model, tmp_path) as (stage, training):
        pass

    rate = stage.arguments["learning_rate"]
    assert (training.learning_rate, training.lr_scheduler_type) == (rate, stage.arguments["lr_scheduler_type"])
    assert training.warmup_steps == stage.arguments["warmup_ratio"]  # below one it is a share of all steps
    assert (training.lr_scheduler_kwargs or {}) == stage.arguments.get("lr_scheduler_kwargs", {})
    rows = training.per_device_train_batch_size * training.gradient_accumulation_steps * max(1, stage.gpus)
    assert rows == stage.batch_size


@pytest.mark.parametrize(
    "recipe", [given for given in recipes("cpt", "sft") if "\n  deepspeed:" in given.values[0].read_text()]
)
def test_transformers_fills_their_deepspeed_settings(
    recipe: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as it goes without DeepSpeed: transformers fills the mapping in, and it contradicts no argument."""
    from accelerate.utils.deepspeed import HfDeepSpeedConfig
    from transformers import AutoConfig
    from transformers.integrations import deepspeed

    class Settings(deepspeed.HfTrainerDeepSpeedConfig, HfDeepSpeedConfig):  # type: ignore[misc]
        """With the base class that transformers gives it where DeepSpeed is installed."""

    # It only asks whether the package is there, which this environment does without.
    monkeypatch.setattr(deepspeed, "dep_version_check", lambda package: None)
    with opened(recipe, tiny_model, tmp_path) as (stage, training):
        training.bf16 = True  # as on a GPU
        given = Settings(stage.arguments["deepspeed"])
        given.trainer_config_process(training)
        model = SimpleNamespace(config=AutoConfig.from_pretrained(tiny_model))
        given.trainer_config_finalize(training, model, num_training_steps=100)

    assert "auto" not in json.dumps(given.config)
    assert given.dtype() == torch.bfloat16
    assert given.config["zero_optimization"] == stage.arguments["deepspeed"]["zero_optimization"]
    assert given.config["train_micro_batch_size_per_gpu"] == stage.micro_batch_size
    assert given.config["train_batch_size"] * stage.gpus == stage.batch_size  # one device in here
    assert given.config["gradient_clipping"] == stage.arguments["max_grad_norm"]


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
