"""LLaMA-Factory as a trainer of `curate train`: continual pretraining and supervised fine-tuning."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from curate.adapters.adapter import Command
from curate.adapters.llamafactory.arguments import as_yaml, sections
from curate.adapters.llamafactory.data_plan import MixStrategy, plan_data, write_plan
from curate.adapters.llamafactory.progress import read_metrics, read_total_steps
from curate.adapters.llamafactory.refusals import check_stage
from curate.adapters.stage import CptStage, SftStage, Stage

_FEW_ROWS: Final = 4000
"""Below this, starting worker processes takes longer than tokenising in one."""
_MOST_WORKERS: Final = 64

_LAUNCH: Final = "curate.adapters.llamafactory.launch"

_PROCESS: Final = {
    "TOKENIZERS_PARALLELISM": "false",
    # Switches of LLaMA-Factory that may be set for other work: another trainer, or misspelt arguments let through.
    "USE_RAY": "0",
    "USE_MCA": "0",
    "ALLOW_EXTRA_ARGS": "0",
}


class LlamaFactoryAdapter:
    """The :class:`curate.adapters.adapter.Adapter` of LLaMA-Factory; docs/cpt_sft.md says what it sets and why."""

    trainer: str = "llamafactory"
    versions: str = ">=0.9.5,<0.9.6"

    def check(self, stage: Stage) -> None:
        """Raise UserError for settings that LLaMA-Factory would ignore, misread or stop at."""
        check_stage(_supervised(stage))

    def configure(self, stage: Stage, run: Path) -> None:
        """Write ``run/config/train.yaml`` and ``run/config/data.json``."""
        stage = _supervised(stage)
        strategy: MixStrategy = stage.arguments.get("mix_strategy", "interleave_under")
        plan = plan_data(stage, strategy)
        workers = 1 if plan.rows < _FEW_ROWS else min(_MOST_WORKERS, os.cpu_count() or 1)
        config = run / "config"
        config.mkdir(parents=True, exist_ok=True)
        write_plan(plan, config / "data.json")
        (config / "train.yaml").write_text(as_yaml(sections(stage, plan, run, workers=workers)), encoding="utf-8")

    def needed(self, stage: Stage) -> Mapping[str, str]:
        """DeepSpeed and flash attention, where the stage asks for them."""
        asked = {
            "deepspeed": bool(stage.arguments.get("deepspeed")),
            "flash_attn": stage.arguments.get("flash_attn") == "fa2",
        }
        return {module: f"install it there, or leave {module} out of arguments" for module in asked if asked[module]}

    def prove(self, stage: Stage, run: Path) -> Command:
        """Tokenise the exports with LLaMA-Factory's loader into ``run/data`` and check every row."""
        variables = {
            **_PROCESS,
            "CUDA_VISIBLE_DEVICES": "",
            # The datasets library keeps a converted copy of all that it reads; this one goes with the proof's end.
            "HF_DATASETS_CACHE": str(run / "data" / "cache"),
            # A row's work is small; without this, every worker process would start a thread for each core.
            "OMP_NUM_THREADS": "1",
        }
        return Command(("-m", "curate.adapters.llamafactory.prove", str(run)), variables)

    def train(self, stage: Stage, run: Path) -> Command:
        """Train, going on from the last complete checkpoint."""
        config = str(run / "config" / "train.yaml")
        if stage.gpus > 1 or stage.arguments.get("deepspeed"):
            # --standalone meets on a free port of this machine.
            spread = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(stage.gpus))
            return Command((*spread, "-m", _LAUNCH, config), _PROCESS)
        # LLaMA-Factory refuses to use one of several visible GPUs.
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] if stage.gpus else ""
        return Command(("-m", _LAUNCH, config), {**_PROCESS, "CUDA_VISIBLE_DEVICES": visible})

    def finish(self, stage: Stage, run: Path) -> Command | None:
        """Move the weights, or merge the adapters, to ``run/model``."""
        return Command(
            ("-m", "curate.adapters.llamafactory.finish", str(run)), {**_PROCESS, "CUDA_VISIBLE_DEVICES": ""}
        )

    def metrics(self, run: Path) -> Sequence[dict[str, Any]]:
        """LLaMA-Factory's log, by step: ``loss``, ``eval_loss``, ``learning_rate``, ``epoch``."""
        return read_metrics(run / "checkpoints")

    def total_steps(self, run: Path) -> int | None:
        """Optimiser steps of the whole training, once it has logged one."""
        return read_total_steps(run / "checkpoints")


def _supervised(stage: Stage) -> CptStage | SftStage:
    if not isinstance(stage, CptStage | SftStage):
        raise TypeError(f"LLaMA-Factory trains cpt and sft stages, not {stage.stage}")
    return stage
