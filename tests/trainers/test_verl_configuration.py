"""The settings that the adapter writes, as verl's own configuration composes and checks them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from verl_stages import smoke_stage

from curate.adapters.stage import GrpoStage
from curate.adapters.verl.configuration import compose, compose_and_check
from curate.adapters.verl.hydra_text import assignment
from curate.adapters.verl.overrides import Files, overrides
from curate.adapters.verl.refusals import IGNORED, IGNORED_BY_FSDP

FILES = Files((Path("/x/train.parquet"),), (), 16)


def lines_of(stage: GrpoStage) -> list[str]:
    return [line for line in overrides(stage, Path("/run"), FILES) if line and not line.startswith("#")]


def stage_of(**entries: Any) -> GrpoStage:
    return smoke_stage(Path("/model"), Path("/run"), Path("/x"), **entries)


@pytest.mark.parametrize(
    "entries",
    [
        {},
        {"gpus": 8, "rollout": "vllm", "batch_size": 64, "micro_batch_size": 2, "mini_batch_size": 32, "beta": 0},
        {"gpus": 1, "rollout": "sglang", "lora": {"rank": 32, "alpha": 64}, "micro_batch_size": 2, "steps": 10},
    ],
    ids=["cpu", "8 GPUs", "LoRA"],
)
def test_verl_accepts_the_settings(entries: dict[str, Any]) -> None:
    configuration, problems = compose_and_check(lines_of(stage_of(**entries)))
    assert problems == []
    actor = configuration.actor_rollout_ref.actor
    assert actor.loss_agg_mode == "seq-mean-token-mean"
    assert configuration.reward.custom_reward_function.reward_kwargs.accuracy_weight == 0.9
    if "lora" in entries:
        assert configuration.actor_rollout_ref.model.lora_rank == 32
        assert configuration.actor_rollout_ref.model.exclude_modules == ".*visual.*"


def test_an_unknown_setting_is_named_with_the_nearest_one() -> None:
    lines = lines_of(stage_of(arguments={"actor_rollout_ref.actor.optim.weight_decy": 0.1, "trainer.total_epoch": 3}))
    configuration, problems = compose_and_check(lines)
    assert configuration is None
    optimiser = "actor_rollout_ref.actor.optim.weight_dec"
    assert [problem.split(" (")[0] for problem in problems] == [
        f"verl has no setting {optimiser}y; did you mean {optimiser}ay?",
        "verl has no setting trainer.total_epoch; did you mean trainer.total_epochs?",
    ]


def test_a_value_that_verl_refuses_is_explained() -> None:
    lines = lines_of(stage_of(arguments={"actor_rollout_ref.actor.loss_agg_mode": "mean-of-means"}))
    _, [problem] = compose_and_check(lines)
    assert "verl refuses the configuration" in problem
    assert "mean-of-means" in problem


@pytest.mark.parametrize(
    "value",
    [
        *(
            "a,b",
            "[x]",
            "null",
            "1e3",
            "it's",
            "back\\slash",
            "end\\",
            "\\'",
            "${oc.env:HOME}",
            "\\${x}",
            "",
            " é{:} ",
            "#",
        ),
        [1, "a'b", None, True, 1.5, ["x"]],
        {"a": {"b": [1, "c${d}"]}, "e": None},
        *(1e-6, -3),
    ],
)
def test_every_value_arrives_as_it_was(value: Any) -> None:
    from omegaconf import OmegaConf

    configuration = compose([assignment("+trainer.anything", value)])
    assert OmegaConf.to_container(configuration.trainer, resolve=True)["anything"] == value


def test_verl_takes_the_old_reward_key_and_ignores_it() -> None:
    """Which is why the adapter refuses it."""
    from verl.trainer.ppo.reward import get_custom_reward_fn

    assert get_custom_reward_fn(compose(["custom_reward_function.path=pkg://curate.rewards"])) is None
    assert get_custom_reward_fn(compose(["reward.custom_reward_function.path=pkg://curate.rewards"])) is not None


def test_the_ignored_keys_are_all_that_verl_has() -> None:
    import verl
    import yaml

    package = Path(verl.__file__).parent
    legacy = yaml.safe_load((package / "trainer" / "config" / "legacy_reward_impl.yaml").read_text())
    assert set(IGNORED) == set(legacy)
    for key in IGNORED_BY_FSDP:
        name = key.rsplit(".", 1)[-1]
        readers = [path for path in package.rglob("*.py") if name in path.read_text(encoding="utf-8")]
        assert readers == [package / "workers" / "config" / "actor.py"], f"something reads {name} now"
