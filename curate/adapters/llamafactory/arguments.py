"""A stage in LLaMA-Factory's own arguments: a pure function of the stage and its data, and the YAML for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from curate.adapters.llamafactory.data_plan import DataPlan
from curate.adapters.stage import CptStage, SftStage, absolute_model

TEMPLATE: Final = {"cpt": "qwen3_vl_cpt", "sft": "qwen3_vl_nothink"}
"""Documents are trained without chat markup (raw_template.py); `qwen3_vl` would train an empty `<think></think>`."""

DATASET: Final = {"cpt": "medcurate_cpt", "sft": "medcurate_sft"}
"""Name in ``dataset_info.json`` of an export's training rows; its validation rows have ``_val`` after it."""

MIXTURE: Final = "mixture"
"""The same for rows of several exports."""

Sections = dict[str, dict[str, Any]]
"""Comment -> arguments below it."""


def dataset_name(plan: DataPlan) -> str:
    """What the training rows are called."""
    return MIXTURE if plan.composed else DATASET[plan.stage]


def sections(stage: CptStage | SftStage, plan: DataPlan, run: Path, *, workers: int) -> Sections:
    """All arguments of a training, by topic; ``run`` is the absolute run directory.

    ``workers`` is the number of processes that tokenise, unless the stage says otherwise. Settings of
    ``stage.arguments`` win over defaults; the caller has checked that they touch nothing else
    (:mod:`curate.adapters.llamafactory.refusals`).
    """
    own = {key: value for key, value in stage.arguments.items() if key != "mix_strategy" and value is not None}
    if isinstance(own.get("deepspeed"), str):
        own["deepspeed"] = str(Path(own["deepspeed"]).resolve())  # the launcher changes into the configuration's folder
    result: Sections = {
        "model": {
            "model_name_or_path": absolute_model(stage.model),
            "image_max_pixels": stage.max_pixels,
            "trust_remote_code": False,
        },
        "what is trained": _trained_parts(stage),
        "data: tokenised once by the proof, which writes tokenized_path; with it there, training reads nothing else": {
            "dataset": dataset_name(plan),
            "dataset_dir": str(run / "data" / MIXTURE) if plan.composed else plan.exports[0].path,
            "media_dir": str(run / "data" / MIXTURE) if plan.composed else plan.exports[0].path,
            "template": TEMPLATE[stage.stage],
            "cutoff_len": plan.cutoff_len,
            "tokenized_path": str(run / "data" / "tokenized"),
            "preprocessing_num_workers": workers,
            "dataloader_num_workers": 4 if stage.gpus else 0,
        },
        f"one step: {stage.micro_batch_size} row(s) x {stage.accumulation} x {max(1, stage.gpus)} device(s) = "
        f"{stage.batch_size} rows": {
            "per_device_train_batch_size": stage.micro_batch_size,
            "gradient_accumulation_steps": stage.accumulation,
            "seed": stage.seed,
            **({"bf16": True} if stage.gpus else {"use_cpu": True, "bf16": False}),
        },
        "checkpoints: a run that is stopped goes on from the last one": {
            "output_dir": str(run / "checkpoints"),
            "save_strategy": "steps",
            "save_steps": 500,
            "save_total_limit": 2,
            "logging_steps": 1 if stage.gpus == 0 else 10,
            "plot_loss": False,
            "report_to": "none",
        },
    }
    if plan.validated:
        result["validation rows of the exports"] = {
            "eval_dataset": f"{dataset_name(plan)}_val",
            "eval_strategy": "steps",
            "eval_steps": own.get("save_steps", 500),
            "per_device_eval_batch_size": stage.micro_batch_size,
        }
    for known in result.values():
        known.update({key: own.pop(key) for key in list(own) if key in known})
    result["arguments of the stage file"] = own
    return result


def flat(given: Sections) -> dict[str, Any]:
    """The arguments without their topics."""
    return {key: value for arguments in given.values() for key, value in arguments.items()}


def as_yaml(given: Sections) -> str:
    """The configuration file, each topic under its comment."""
    parts = [
        f"### {comment}\n{yaml.safe_dump(arguments, sort_keys=False, allow_unicode=True)}"
        for comment, arguments in given.items()
        if arguments
    ]
    return "\n".join(parts)


def _trained_parts(stage: CptStage | SftStage) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        # Never stage "pt": it reads text only and trains on the literal word <image>.
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora" if stage.lora else "full",
        "freeze_vision_tower": "vision_encoder" not in stage.train,
        "freeze_multi_modal_projector": "projector" not in stage.train,
        "freeze_language_model": "language_model" not in stage.train,
    }
    if stage.lora:
        arguments |= {
            "lora_rank": stage.lora.rank,
            "lora_alpha": stage.lora.alpha,
            "lora_dropout": stage.lora.dropout,
            "lora_target": "all",
        }
        # "all" leaves the projector out as long as the vision encoder is frozen, whatever the flag above says; with it
        # unfrozen the projector's layers have the same names as the encoder's, and get adapters too.
        if "projector" in stage.train and "vision_encoder" not in stage.train:
            arguments["additional_target"] = "visual.merger"
    return arguments
