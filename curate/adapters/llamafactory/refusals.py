"""Settings that LLaMA-Factory would ignore, misread or stop at, each with what to do instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from curate.adapters.credentials import refuse_credentials
from curate.adapters.stage import CptStage, SftStage
from curate.corpus import UserError

STAGE_SETTING_OF: Final[Mapping[str, str]] = {
    "model_name_or_path": "model",
    "image_max_pixels": "max_pixels",
    "finetuning_type": "lora",
    "freeze_vision_tower": "train",
    "freeze_multi_modal_projector": "train",
    "freeze_language_model": "train",
    "additional_target": "train",
    "lora_target": "train",
    "lora_rank": "lora.rank",
    "lora_alpha": "lora.alpha",
    "lora_dropout": "lora.dropout",
    "dataset": "data",
    "eval_dataset": "data",
    "dataset_dir": "data",
    "media_dir": "data",
    "interleave_probs": "data",
    "cutoff_len": "cutoff_len",
    "output_dir": "output",
    "per_device_train_batch_size": "micro_batch_size",
    "gradient_accumulation_steps": "batch_size",
    "use_cpu": "gpus",
    "seed": "seed",
}
"""LLaMA-Factory's name -> the setting of the stage file that it follows from."""

REFUSED: Final[Mapping[str, str]] = {
    "template": "the adapter uses the raw template for cpt and the chat template for sft, as the exports were written",
    "do_train": "curate train trains, and does nothing else",
    "do_eval": "curate train trains; validation rows are evaluated while it does, and curate bench evaluates models",
    "do_predict": "curate train trains; curate bench evaluates models",
    "predict_with_generate": "curate train trains; curate bench evaluates models",
    "tokenized_path": "the proof writes it into the run directory",
    "overwrite_cache": "the proof tokenises anew whenever an export changes",
    "max_samples": "rows would be missing that the proof counts; export fewer, with --where",
    "val_size": "it splits by row, so that the same picture is on both sides; export with --val-fraction",
    "num_samples": "use share in data",
    "overwrite_output_dir": "a run goes on from its last checkpoint; to begin anew, name another output",
    "resume_from_checkpoint": "a run goes on from its last checkpoint by itself",
    "save_strategy": "runs are resumed from checkpoints between steps; set save_steps",
    "save_only_model": "a run could not be resumed without its optimiser states",
    "adapter_name_or_path": "start from the merged model of the earlier run, in model",
    "export_dir": "the result is in the folder model of the run directory",
    "pissa_init": "it changes the base weights, so that the adapters would be merged into others than they belong to",
    "disable_shuffling": "rows with pictures come first in the exports, so the order must be drawn anew",
}
"""LLaMA-Factory's name -> why it cannot be set."""

REFUSED_IF_TRUE: Final[Mapping[str, str]] = {
    "packing": "documents that share a row would attend to each other",
    "neat_packing": "LLaMA-Factory 0.9.5 crashes with it where a packed row has no picture, or cutoff_len is no "
    "multiple of 8, and packed rows cannot be traced to their samples; raise micro_batch_size, with "
    "train_sampling_strategy: group_by_length to save padding",
    "train_on_prompt": "it trains on the image tokens too",
    "streaming": "rows could not be counted before training, nor tokenised once",
}


def check_stage(stage: CptStage | SftStage) -> None:
    """Raise UserError for the first setting of ``stage`` that cannot do what it says."""
    if stage.lora and set(stage.train) == {"projector"}:
        raise UserError(
            "train: [projector] with lora leaves nothing to put adapters on; leave lora out, the projector is small"
        )
    refuse_credentials(stage.arguments)
    for name, value in stage.arguments.items():
        _check_argument(stage, name, value)
    _check_mixture(stage)
    if stage.arguments.get("deepspeed") is not None:
        _check_deepspeed(stage, stage.arguments["deepspeed"])


def _check_argument(stage: CptStage | SftStage, name: str, value: Any) -> None:
    where = f"arguments: {name}"
    if name == "stage":
        raise UserError(
            f"{where} is set by the adapter: cpt runs LLaMA-Factory's stage sft with a raw template, because its "
            "stage pt reads text only and trains on the literal word <image>"
        )
    if name in STAGE_SETTING_OF:
        raise UserError(f"{where} is set by the adapter; set {STAGE_SETTING_OF[name]} of the stage instead")
    if name in REFUSED:
        raise UserError(f"{where} cannot be set: {REFUSED[name]}")
    if name in REFUSED_IF_TRUE and _truth(value):
        raise UserError(f"{where}: true cannot be used: {REFUSED_IF_TRUE[name]}")
    if name == "mask_history" and stage.stage == "cpt" and _truth(value):
        raise UserError(f"{where}: true would train only the last text of each document")
    if name in ("learning_rate", "num_train_epochs", "max_steps") and not isinstance(value, int | float):
        raise UserError(f"{where} is {value!r}, and must be a number")
    if name in ("bf16", "fp16", "pure_bf16") and stage.gpus == 0 and _truth(value):
        raise UserError(f"{where}: true needs a GPU, and gpus is 0")


def _check_mixture(stage: CptStage | SftStage) -> None:
    strategy = stage.arguments.get("mix_strategy")
    if strategy is None:
        return
    shared = stage.data[0].share is not None
    valid = ("interleave_under", "interleave_over") if shared else ("concat",)
    if strategy not in valid:
        why = "the exports have shares" if shared else "no export has a share"
        raise UserError(f"arguments: mix_strategy is {strategy!r}, but {why}: it can be {' or '.join(valid)}")


def _check_deepspeed(stage: CptStage | SftStage, given: Any) -> None:
    if stage.gpus == 0:
        raise UserError("arguments: deepspeed needs a GPU, and gpus is 0")
    content = given
    if isinstance(given, str):
        try:
            content = json.loads(Path(given).read_bytes())
        except (OSError, ValueError) as error:
            raise UserError(f"arguments: deepspeed names {given}, which cannot be read as JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError("arguments: deepspeed must be a JSON file or a mapping")
    zero = content.get("zero_optimization", {})
    if zero.get("stage") == 3 and not zero.get("stage3_gather_16bit_weights_on_model_save"):
        raise UserError(
            "arguments: deepspeed with ZeRO-3 needs zero_optimization.stage3_gather_16bit_weights_on_model_save: true, "
            "or no checkpoint holds a whole model"
        )


def _truth(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() in ("true", "yes", "1"))
