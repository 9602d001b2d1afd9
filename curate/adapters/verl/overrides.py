"""A GRPO stage as verl's settings: every key that we set, what it is set to, and what decides it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curate.adapters.stage import GrpoStage, absolute_model
from curate.adapters.verl.hydra_text import assignment

ACTOR: Final = "actor_rollout_ref.actor"
MODEL: Final = "actor_rollout_ref.model"
ROLLOUT: Final = "actor_rollout_ref.rollout"
REWARD: Final = "reward.custom_reward_function"
WORKER_VARIABLES: Final = "ray_kwargs.ray_init.runtime_env.env_vars"
KEPT_KEY: Final = "trainer.max_actor_ckpt_to_keep"

NO_DUAL_CLIP: Final = 1e9
"""Dual clip bounds the loss where the advantage is negative; verl clamps the ratio to e^20 = 4.9e8, so above that it
never acts. verl has no switch for it."""
CHECKPOINTS_KEPT: Final = 2
"""With 1, verl deletes the checkpoint that its tracker names before it has named the next one."""

MENDS: Final = "curate.adapters.verl.plugin"
"""What verl imports in each of its processes, and beside it what a smoke run on a CPU needs."""
CPU_SMOKE: Final = "curate.adapters.verl.cpu_smoke.plugin"
CPU_SMOKE_ROLLOUT: Final = "curate_cpu_smoke"


@dataclass(frozen=True)
class Files:
    """What the exports and the model contribute to the settings."""

    train: tuple[Path, ...]
    """``train.parquet`` of each export, absolute."""
    validation: tuple[Path, ...]
    """``val.parquet`` of those exports that have one."""
    patch_size: int
    """Side in pixels of the model's image patches."""


@dataclass(frozen=True)
class Setting:
    """One setting of verl."""

    section: str
    key: str
    value: Any
    decided_by: str | None = None
    """What decides it in place of ``arguments``, as part of a sentence; None where ``arguments`` may replace it."""


def settings(stage: GrpoStage, run: Path, files: Files) -> list[Setting]:
    """verl's settings for ``stage``, in order, without its ``arguments``; ``run`` is the absolute run directory."""
    return [
        *_objective(stage),
        *_data(stage, files),
        *_model(stage),
        *_rollout(stage),
        *_reward(stage),
        *_trainer(stage, run, files),
        *(_cpu_smoke() if stage.rollout == "cpu_smoke" else ()),
    ]


def overrides(stage: GrpoStage, run: Path, files: Files) -> list[str]:
    """Lines of ``overrides.txt``: Hydra overrides under headings that begin with ``#``; ``arguments`` have replaced
    settings of the same key or follow at the end.

    Raises ValueError for an argument that Hydra's grammar can't hold.
    """
    arguments = {plain_key(key): (key, value) for key, value in stage.arguments.items()}
    lines, section = [], ""
    for setting in settings(stage, run, files):
        if setting.section != section:
            lines += [*([""] if section else []), f"# {setting.section}"]
            section = setting.section
        _, value = arguments.pop(plain_key(setting.key), ("", setting.value))
        lines.append(assignment(setting.key, value))
    if arguments:
        lines += ["", "# Arguments of the stage", *(assignment(key, value) for key, value in arguments.values())]
    return lines


def modules(stage: GrpoStage) -> str:
    """What verl is to import in each of its processes, as its ``VERL_USE_EXTERNAL_MODULES`` lists it."""
    return f"{MENDS},{CPU_SMOKE}" if stage.rollout == "cpu_smoke" else MENDS


def plain_key(key: str) -> str:
    """The key without the ``+`` or ``++`` that adds it to verl's defaults."""
    return key.lstrip("+")


def read_overrides(path: Path) -> list[str]:
    """The overrides in a file that :func:`overrides` has made."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _objective(stage: GrpoStage) -> Iterator[Setting]:
    section = "Objective: GRPO as in the recipe, a mean over the tokens of a response, then over responses"
    fixed = "the objective, which is GRPO"
    yield Setting(section, "algorithm.adv_estimator", "grpo", fixed)
    yield Setting(section, "algorithm.norm_adv_by_std_in_grpo", True)
    yield Setting(section, "algorithm.use_kl_in_reward", False, "the objective, whose KL term is in the loss (beta)")
    yield Setting(section, f"{ACTOR}.policy_loss.loss_mode", "vanilla")
    yield Setting(section, f"{ACTOR}.loss_agg_mode", "seq-mean-token-mean")
    yield Setting(section, f"{ACTOR}.clip_ratio", stage.epsilon, "epsilon")
    yield Setting(section, f"{ACTOR}.clip_ratio_low", stage.epsilon)
    yield Setting(section, f"{ACTOR}.clip_ratio_high", stage.epsilon)
    yield Setting(section, f"{ACTOR}.clip_ratio_c", NO_DUAL_CLIP)
    yield Setting(section, f"{ACTOR}.use_kl_loss", stage.beta > 0, "beta")
    yield Setting(section, f"{ACTOR}.kl_loss_coef", stage.beta, "beta")
    yield Setting(section, f"{ACTOR}.kl_loss_type", "low_var_kl")
    yield Setting(section, f"{ACTOR}.entropy_coeff", 0)
    yield Setting(section, f"{ACTOR}.ppo_epochs", 1)


def _data(stage: GrpoStage, files: Files) -> Iterator[Setting]:
    section = "Data"
    # verl opens a validation file even where it never validates.
    validation = files.validation or files.train[:1]
    yield Setting(section, "data.train_files", [str(path) for path in files.train], "data")
    yield Setting(section, "data.val_files", [str(path) for path in validation], "data")
    if not files.validation:
        yield Setting(section, "data.val_max_samples", 1, "data, of which no export has a val.parquet")
    yield Setting(section, "data.train_batch_size", stage.batch_size, "batch_size")
    yield Setting(section, "data.max_prompt_length", stage.max_prompt_length, "max_prompt_length")
    yield Setting(section, "data.max_response_length", stage.max_response_length, "max_response_length")
    yield Setting(section, "data.shuffle", True)
    yield Setting(section, "data.seed", stage.seed, "seed")
    yield Setting(section, "data.image_key", "images", "the export format")
    yield Setting(section, "data.image_patch_size", files.patch_size)
    yield Setting(section, "data.filter_overlong_prompts", True, "the adapter: without it a long prompt stops training")
    workers = 1 if stage.rollout == "cpu_smoke" else 8  # of which verl uses at most as many as there are cores
    yield Setting(section, "data.filter_overlong_prompts_workers", workers)
    yield Setting(section, "data.truncation", "error", "the adapter: a prompt cut inside a picture is worthless")


def _model(stage: GrpoStage) -> Iterator[Setting]:
    section = "Model and optimiser"
    updates = stage.mini_batch_size or stage.batch_size
    yield Setting(section, f"{MODEL}.path", absolute_model(stage.model), "model")
    yield Setting(section, f"{MODEL}.enable_gradient_checkpointing", True)
    yield Setting(section, f"{MODEL}.use_remove_padding", stage.rollout != "cpu_smoke")  # needs a GPU's attention
    if stage.lora:
        yield Setting(section, f"{MODEL}.lora_rank", stage.lora.rank, "lora.rank")
        yield Setting(section, f"{MODEL}.lora_alpha", stage.lora.alpha, "lora.alpha")
        yield Setting(section, f"{MODEL}.target_modules", "all-linear")
        yield Setting(section, f"{MODEL}.exclude_modules", ".*visual.*")  # as in verl's own vision-language example
        # Merged weights go to the rollout engine, which then need not know LoRA for this architecture.
        yield Setting(section, f"{MODEL}.lora.merge", True)
    yield Setting(section, f"{ACTOR}.strategy", "fsdp2", "the adapter, which merges FSDP checkpoints")
    yield Setting(section, f"{ACTOR}.optim.lr", stage.learning_rate, "learning_rate")
    yield Setting(section, f"{ACTOR}.ppo_mini_batch_size", updates, "mini_batch_size")
    yield Setting(section, f"{ACTOR}.ppo_micro_batch_size_per_gpu", stage.micro_batch_size, "micro_batch_size")
    yield Setting(section, f"{ACTOR}.data_loader_seed", stage.seed, "seed")
    yield Setting(section, f"{ACTOR}.fsdp_config.seed", stage.seed, "seed")
    micro = "log_prob_micro_batch_size_per_gpu"
    yield Setting(section, f"actor_rollout_ref.ref.{micro}", stage.micro_batch_size)
    yield Setting(section, f"{ROLLOUT}.{micro}", stage.micro_batch_size)


def _rollout(stage: GrpoStage) -> Iterator[Setting]:
    section = "Rollout; validation is greedy, one response a query"
    name = CPU_SMOKE_ROLLOUT if stage.rollout == "cpu_smoke" else stage.rollout
    yield Setting(section, f"{ROLLOUT}.name", name, "rollout")
    yield Setting(section, f"{ROLLOUT}.n", stage.group_size, "group_size")
    yield Setting(section, f"{ROLLOUT}.temperature", stage.temperature, "temperature")
    yield Setting(section, f"{ROLLOUT}.seed", stage.seed, "seed")
    yield Setting(section, f"{ROLLOUT}.tensor_model_parallel_size", stage.tensor_parallel, "tensor_parallel")
    yield Setting(section, f"{ROLLOUT}.gpu_memory_utilization", stage.gpu_memory_utilization, "gpu_memory_utilization")


def _reward(stage: GrpoStage) -> Iterator[Setting]:
    section = "Reward: a function of ours, under the key that verl reads (the old one at top level does nothing)"
    yield Setting(section, f"{REWARD}.path", f"pkg://{stage.reward.module}", "reward.module")
    yield Setting(section, f"{REWARD}.name", "compute_score", "reward.module")
    for name, value in stage.reward.model_dump(exclude={"module"}).items():
        yield Setting(section, f"+{REWARD}.reward_kwargs.{name}", value, f"reward.{name}")
    yield Setting(section, "reward.reward_manager.name", "naive")


def _trainer(stage: GrpoStage, run: Path, files: Files) -> Iterator[Setting]:
    section = "Trainer"
    ours = "output: everything of a run is in its directory"
    validates = bool(files.validation) and stage.validate_every > 0
    yield Setting(section, "trainer.n_gpus_per_node", max(1, stage.gpus), "gpus")
    yield Setting(section, "trainer.nnodes", 1, "the adapter, which launches one machine")
    # The loop ends at the first of the two, and saves the last step only where it ends by steps.
    yield Setting(section, "trainer.total_epochs", stage.steps or stage.epochs, "epochs")
    yield Setting(section, "trainer.total_training_steps", stage.steps, "steps")
    yield Setting(section, "trainer.save_freq", stage.save_every, "save_every")
    yield Setting(section, "trainer.test_freq", stage.validate_every if validates else -1, "validate_every")
    yield Setting(section, "trainer.val_before_train", validates, "validate_every")
    yield Setting(section, "trainer.resume_mode", "auto", "the adapter: a run resumes when it is started again")
    yield Setting(section, "trainer.default_local_dir", str(run / "checkpoints"), ours)
    yield Setting(section, KEPT_KEY, CHECKPOINTS_KEPT)
    yield Setting(section, "trainer.rollout_data_dir", str(run / "rollouts"), ours)
    yield Setting(section, "trainer.validation_data_dir", str(run / "validations"), ours)
    yield Setting(section, "trainer.logger", ["console", "file"])
    yield Setting(section, "trainer.project_name", "medcurate")
    yield Setting(section, "trainer.experiment_name", run.name)
    yield Setting(section, "hydra.run.dir", str(run / "config"), ours)
    yield Setting(section, "hydra.output_subdir", "hydra", ours)
    # Workers of a cluster that runs already have not inherited them.
    yield Setting(
        section, f"+{WORKER_VARIABLES}.VERL_USE_EXTERNAL_MODULES", modules(stage), "the adapter's mends of verl"
    )
    yield Setting(section, f"+{WORKER_VARIABLES}.TOKENIZERS_PARALLELISM", "false")


def _cpu_smoke() -> Iterator[Setting]:
    section = "CPU, for smoke runs"
    fp32 = {"param_dtype": "fp32", "reduce_dtype": "fp32", "buffer_dtype": "fp32"}
    yield Setting(section, "trainer.device", "cpu", "gpus: 0")
    yield Setting(section, f"+{MODEL}.override_config.attn_implementation", "sdpa")
    for role in (ACTOR, "actor_rollout_ref.ref"):
        yield Setting(section, f"+{role}.fsdp_config.mixed_precision", fp32)
        yield Setting(section, f"{role}.fsdp_config.use_torch_compile", False)
        yield Setting(section, f"{role}.use_torch_compile", False)
    yield Setting(section, f"{ROLLOUT}.agent.num_workers", 1)
    yield Setting(section, "reward.num_workers", 1)
    yield Setting(section, "data.dataloader_num_workers", 0)
    yield Setting(section, "transfer_queue.backend.SimpleStorage.num_data_storage_units", 1)
    # verl books cores by the dozen; this lets a small machine say yes. Nothing listens beyond the machine.
    yield Setting(section, "ray_kwargs.ray_init.num_cpus", 32)
    # A cluster that runs already would refuse both numbers, and has no device that is pretended.
    yield Setting(section, "+ray_kwargs.ray_init.address", "local")
    yield Setting(section, "+ray_kwargs.ray_init.num_gpus", 1)
    yield Setting(section, "+ray_kwargs.ray_init.include_dashboard", False)
    yield Setting(section, "+ray_kwargs.ray_init._node_ip_address", "127.0.0.1")
