"""The adapter of verl for `curate train`: GRPO."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from curate.adapters.adapter import Command
from curate.adapters.stage import GrpoStage, Stage, absolute_model
from curate.adapters.verl import refusals
from curate.adapters.verl.metrics import read_metrics
from curate.adapters.verl.overrides import Files, modules, overrides
from curate.corpus import UserError

OVERRIDES: Final = Path("config", "overrides.txt")
INPUTS: Final = Path("config", "inputs.json")
"""What the proof needs beside the overrides: which file belongs to which export, as the user named it."""

_ATTENTION: Final = "+actor_rollout_ref.model.override_config.attn_implementation"
_FLASH: Final = "flash_attention_2"
"""verl's own default."""
_QWEN3_VL_PATCH: Final = 16
"""Pixels; verl's own default, 14, is that of Qwen2-VL."""


class VerlAdapter:
    """GRPO with verl."""

    trainer = "verl"
    versions = "==0.9.1"

    def check(self, stage: Stage) -> None:
        """Raise UserError for settings and exports that verl would ignore, misread or stop at."""
        refusals.check(_grpo(stage))

    def configure(self, stage: Stage, run: Path) -> None:
        """Write ``run/config/overrides.txt`` and ``run/config/inputs.json``."""
        stage = _grpo(stage)
        files = Files(
            train=tuple(data.path.absolute() / "train.parquet" for data in stage.data),
            validation=tuple(path.absolute() for path in refusals.validation_files(stage)),
            patch_size=_patch_size(absolute_model(stage.model)),
        )
        lines = overrides(stage, run, files)
        inputs = {
            "exports": {str(data.path): str(path) for data, path in zip(stage.data, files.train, strict=True)},
            "validation": [str(path) for path in refusals.validation_files(stage)],
            "reward": stage.reward.model_dump(),
        }
        (run / "config").mkdir(parents=True, exist_ok=True)
        (run / OVERRIDES).write_text("\n".join(lines) + "\n", encoding="utf-8")
        (run / INPUTS).write_text(json.dumps(inputs, indent=1) + "\n", encoding="utf-8")

    def needed(self, stage: Stage) -> Mapping[str, str]:
        """What generates the responses, and flash attention unless the stage names another."""
        stage = _grpo(stage)
        if stage.rollout == "cpu_smoke":
            return {}
        found: dict[str, str] = {stage.rollout: f"pip install 'verl[{stage.rollout}]' there, or name another rollout"}
        if stage.arguments.get(_ATTENTION, _FLASH) == _FLASH:
            found["flash_attn"] = (
                f"install flash-attn there, or set under arguments {_ATTENTION}: sdpa and "
                "actor_rollout_ref.model.use_remove_padding: false, which is slower"
            )
        return found

    def prove(self, stage: Stage, run: Path) -> Command:
        """Load every row as training will, and score its reference."""
        # Processes forked to decode pictures must not inherit a pool of threads, which are not there in them.
        variables = _variables(_grpo(stage)) | {"OMP_NUM_THREADS": "1"}
        return Command(("-m", "curate.adapters.verl.prove", str(run)), variables)

    def train(self, stage: Stage, run: Path) -> Command:
        """Train, or go on from the last whole checkpoint."""
        return Command(("-m", "curate.adapters.verl.launch", str(run / OVERRIDES)), _variables(_grpo(stage)))

    def finish(self, stage: Stage, run: Path) -> Command | None:
        """Merge the shards of the last checkpoint into a model in Hugging Face format, in bfloat16."""
        return Command(("-m", "curate.adapters.verl.merge", str(run)), _variables(_grpo(stage)))

    def metrics(self, run: Path) -> Sequence[Mapping[str, Any]]:
        """See :func:`curate.adapters.verl.metrics.read_metrics`."""
        return read_metrics(run)

    def total_steps(self, run: Path) -> int | None:
        """Optimiser steps of the whole training, which the proof has counted."""
        try:
            steps = json.loads((run / "proof.json").read_bytes())["facts"]["optimiser steps"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return steps if isinstance(steps, int) else None


def _grpo(stage: Stage) -> GrpoStage:
    if not isinstance(stage, GrpoStage):
        raise UserError(f"verl trains stage grpo; this is stage {stage.stage}, which LLaMA-Factory trains")
    return stage


def _patch_size(model: str) -> int:
    """Side of the image patches that the model's processor makes, where the model is a local directory."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        try:
            content = json.loads((Path(model) / name).read_bytes())
        except (OSError, ValueError):
            continue
        size = content.get("patch_size", content.get("image_processor", {}).get("patch_size"))
        if isinstance(size, int):
            return size
    return _QWEN3_VL_PATCH


def _variables(stage: GrpoStage) -> dict[str, str]:
    common = {
        "VERL_USE_EXTERNAL_MODULES": modules(stage),
        "TOKENIZERS_PARALLELISM": "false",  # tokenizers warn of, or hang in, the processes that verl forks
        "RAY_USAGE_STATS_ENABLED": "0",  # Ray would report home
        "RAY_DEDUP_LOGS": "0",
        "HYDRA_FULL_ERROR": "1",
    }
    if stage.rollout != "cpu_smoke":
        return common
    return common | {
        "VERL_PLATFORM": "cpu",
        "VERL_ENGINE_DEVICE": "cuda",  # under which verl has registered its FSDP engine
        "CUDA_VISIBLE_DEVICES": "0",
        "OMP_NUM_THREADS": "1",
    }
