"""A GRPO stage as verl's settings: a pure function, tested as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.adapters.exports import check_exports
from curate.adapters.stage import GrpoStage, parse_stage
from curate.adapters.verl.adapter import VerlAdapter
from curate.adapters.verl.hydra_text import assignment, text_of
from curate.adapters.verl.overrides import Files, overrides
from curate.corpus import UserError

RUN = Path("/runs/grpo")
FILES = Files((Path("/x/train.parquet"),), (Path("/x/val.parquet"),), 16)


def grpo(**entries: Any) -> GrpoStage:
    content = {"stage": "grpo", "model": "m", "data": [{"path": "x"}], "output": "out", "batch_size": 16, **entries}
    stage = parse_stage(content, "test")
    assert isinstance(stage, GrpoStage)
    return stage


def lines_of(files: Files = FILES, **entries: Any) -> dict[str, str]:
    lines = [line for line in overrides(grpo(**entries), RUN, files) if line and not line.startswith("#")]
    found = dict(line.split("=", 1) for line in lines)
    assert len(found) == len(lines), "a setting appears twice"
    return found


@pytest.mark.parametrize(
    ("entries", "key", "value"),
    [
        ({"epsilon": 0.15}, "actor_rollout_ref.actor.clip_ratio_low", "0.15"),
        ({"epsilon": 0.15}, "actor_rollout_ref.actor.clip_ratio_high", "0.15"),
        ({}, "actor_rollout_ref.actor.clip_ratio_c", "1000000000.0"),
        ({}, "actor_rollout_ref.actor.loss_agg_mode", "'seq-mean-token-mean'"),
        ({}, "algorithm.adv_estimator", "'grpo'"),
        ({}, "algorithm.norm_adv_by_std_in_grpo", "true"),
        ({"beta": 0.02}, "algorithm.use_kl_in_reward", "false"),
        ({"beta": 0.02}, "actor_rollout_ref.actor.use_kl_loss", "true"),
        ({"beta": 0.02}, "actor_rollout_ref.actor.kl_loss_coef", "0.02"),
        ({"beta": 0}, "actor_rollout_ref.actor.use_kl_loss", "false"),
        ({"group_size": 4}, "actor_rollout_ref.rollout.n", "4"),
        ({}, "actor_rollout_ref.actor.ppo_mini_batch_size", "16"),
        ({"mini_batch_size": 4}, "actor_rollout_ref.actor.ppo_mini_batch_size", "4"),
        ({"reward": {"module": "team.rewards"}}, "reward.custom_reward_function.path", "'pkg://team.rewards'"),
        ({"reward": {"require_think": True}}, "+reward.custom_reward_function.reward_kwargs.require_think", "true"),
        ({"epochs": 3}, "trainer.total_epochs", "3"),
        ({"epochs": 3}, "trainer.total_training_steps", "null"),
        # The loop ends at the first of the two, so epochs must not end it before its steps.
        ({"steps": 100}, "trainer.total_epochs", "100"),
        ({"steps": 100}, "trainer.total_training_steps", "100"),
        ({}, "trainer.default_local_dir", "'/runs/grpo/checkpoints'"),
        ({}, "trainer.resume_mode", "'auto'"),
        ({}, "data.image_patch_size", "16"),
        ({}, "data.filter_overlong_prompts", "true"),
        ({"lora": {"rank": 8, "alpha": 4}}, "actor_rollout_ref.model.lora_rank", "8"),
        ({"lora": {"rank": 8, "alpha": 4}}, "actor_rollout_ref.model.lora_alpha", "4"),
        ({"gpus": 8}, "trainer.n_gpus_per_node", "8"),
        ({"gpus": 0, "rollout": "cpu_smoke"}, "trainer.n_gpus_per_node", "1"),
        ({"gpus": 0, "rollout": "cpu_smoke"}, "actor_rollout_ref.rollout.name", "'curate_cpu_smoke'"),
        ({"gpus": 0, "rollout": "cpu_smoke"}, "trainer.device", "'cpu'"),
        ({"validate_every": 5}, "trainer.test_freq", "5"),
        ({"validate_every": -1}, "trainer.val_before_train", "false"),
        # Arguments replace a setting of ours in its place, and others follow.
        (
            {"arguments": {"actor_rollout_ref.actor.clip_ratio_high": 0.28}},
            "actor_rollout_ref.actor.clip_ratio_high",
            "0.28",
        ),
        ({"arguments": {"actor_rollout_ref.actor.grad_clip": 0.5}}, "actor_rollout_ref.actor.grad_clip", "0.5"),
        (
            {"arguments": {"actor_rollout_ref.actor.optim.weight_decay": "1e-3"}},
            "actor_rollout_ref.actor.optim.weight_decay",
            "0.001",
        ),
        ({"model": "~/models/m"}, "actor_rollout_ref.model.path", f"'{Path.home()}/models/m'"),
        ({"model": "Qwen/Qwen3-VL-4B-Instruct"}, "actor_rollout_ref.model.path", "'Qwen/Qwen3-VL-4B-Instruct'"),
    ],
)
def test_settings(entries: dict[str, Any], key: str, value: str) -> None:
    assert lines_of(**entries)[key] == value


def test_without_validation_files_verl_still_gets_one_and_never_validates() -> None:
    found = lines_of(Files(FILES.train, (), 16), validate_every=-1)
    assert found["data.val_files"] == "['/x/train.parquet']"
    assert (found["trainer.test_freq"], found["trainer.val_before_train"]) == ("-1", "false")


def test_real_runs_have_the_mend_and_nothing_of_the_cpu() -> None:
    found = lines_of(gpus=8)
    assert (
        found["+ray_kwargs.ray_init.runtime_env.env_vars.VERL_USE_EXTERNAL_MODULES"] == "'curate.adapters.verl.plugin'"
    )
    assert found["+ray_kwargs.ray_init.runtime_env.env_vars.TOKENIZERS_PARALLELISM"] == "'false'"
    assert not [key for key in found if "num_cpus" in key or "attn_implementation" in key]
    assert found["actor_rollout_ref.model.use_remove_padding"] == "true"


def test_values_in_hydras_grammar() -> None:
    assert assignment("+a.b", "it's [1,2]") == "+a.b='it\\'s [1,2]'"
    assert text_of({"a": [None, True, 1.5, "x"]}) == "{a:[null,true,1.5,'x']}"
    assert text_of("end\\") == "'end\\\\'"
    assert text_of("${x}") == "'\\${x}'"
    for value in ("two\nlines", {"a b": 1}, object()):
        with pytest.raises(ValueError, match=r"line break|name in a mapping|verl takes"):
            text_of(value)


def export(directory: Path, images: str = "embed", format_: str = "verl", *, validation: bool = False) -> Path:
    directory.mkdir(parents=True)
    description = {"kind": "medcurate-export", "format": format_, "options": {"images": images}}
    (directory / "export.json").write_text(json.dumps(description))
    for name in ("train.parquet", *(["val.parquet"] if validation else [])):
        (directory / name).touch()
    return directory


@pytest.mark.parametrize(
    ("argument", "value", "says"),
    [
        (
            "custom_reward_function.path",
            "reward.py",
            "verl takes custom_reward_function.path and ignores it; use reward.module",
        ),
        ("reward_model.reward_manager", "dapo", "ignores it"),
        ("+reward_model.reward_kwargs.x", 1, "ignores it"),
        ("sandbox_fusion.url", "http://localhost", "ignores it; use reward.sandbox_fusion"),
        ("actor_rollout_ref.actor.freeze_vision_tower", True, "FSDP engine trains all parts"),
        ("actor_rollout_ref.rollout.n", 16, "it follows from group_size"),
        ("++actor_rollout_ref.rollout.n", 16, "it follows from group_size"),
        ("trainer.default_local_dir", "/elsewhere", "it follows from output"),
        ("data.train_files", "x", "it follows from data"),
        ("algorithm.use_kl_in_reward", True, "KL term is in the loss"),
        ("trainer.logger", ["wandb"], "must keep 'file'"),
        ("+trainer.wandb_api_key", "abc", "looks like a secret"),
        ("+trainer.note", "hf_abcdefghijklmnopqrstuv", "looks like a secret"),
        ("+trainer.options", {"password": "x"}, "looks like a secret"),
        ("trainer.a b", 1, "is no setting of verl"),
        ("~trainer.logger", 1, "would delete"),
        ("trainer.project_name", "two\nlines", "line break"),
    ],
)
def test_arguments_that_are_refused(tmp_path: Path, argument: str, value: Any, says: str) -> None:
    stage = grpo(data=[{"path": str(export(tmp_path / "x"))}], validate_every=-1, arguments={argument: value})
    with pytest.raises(UserError, match=says.replace("+", r"\+")):
        VerlAdapter().check(stage)


def test_token_counts_are_no_secrets(tmp_path: Path) -> None:
    arguments = {
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": 16384,
        "actor_rollout_ref.actor.use_dynamic_bsz": True,
    }
    data = [{"path": str(export(tmp_path / "x"))}]
    VerlAdapter().check(grpo(data=data, validate_every=-1, arguments=arguments))


def test_exports_that_are_refused(tmp_path: Path) -> None:
    embedded, files = export(tmp_path / "a"), export(tmp_path / "b", images="path", validation=True)
    other = export(tmp_path / "c", format_="llamafactory-sft")
    check = VerlAdapter().check
    with pytest.raises(UserError, match=r"a \(embed\), .*b \(path\); export all with one --images"):
        check(grpo(data=[{"path": str(embedded)}, {"path": str(files)}], validate_every=-1))
    with pytest.raises(UserError, match="nothing to validate on"):
        check(grpo(data=[{"path": str(embedded)}]))
    with pytest.raises(UserError, match="must be one for verl"):
        check(grpo(data=[{"path": str(embedded)}], validation=str(other)))
    with pytest.raises(UserError, match="stage grpo trains on verl"):
        check_exports(grpo(data=[{"path": str(other)}]))
    with pytest.raises(UserError, match="no dropout"):
        check(grpo(data=[{"path": str(files)}], lora={"dropout": 0.1}))
    check(grpo(data=[{"path": str(files)}]))


def test_configure_writes_absolute_paths_and_the_patch_size_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export(tmp_path / "x", validation=True)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "preprocessor_config.json").write_text('{"patch_size": 14}')
    VerlAdapter().configure(grpo(), tmp_path / "out")
    written = (tmp_path / "out" / "config" / "overrides.txt").read_text()
    assert f"data.train_files=['{tmp_path}/x/train.parquet']" in written
    assert f"data.val_files=['{tmp_path}/x/val.parquet']" in written
    assert f"actor_rollout_ref.model.path='{tmp_path}/m'" in written
    assert "data.image_patch_size=14" in written
