"""``dataset_info.json`` and ``train.yaml`` beside LLaMA-Factory data."""

from __future__ import annotations

from typing import Any, Final, Literal

import orjson

from curate.exports.job import Job, Split
from curate.select.tokens import IMAGE_MAX_PIXELS

Stage = Literal["sft", "cpt"]

DATASET: Final[dict[Stage, str]] = {"sft": "medcurate_sft", "cpt": "medcurate_cpt"}
"""Name of the training data in ``dataset_info.json``; the validation data has ``_val`` after it."""


def write_configuration(job: Job, *, stage: Stage, cutoff_len: int) -> None:
    """Write both files for the data files of ``job``."""
    names: dict[Split, str] = {"train": DATASET[stage], "val": f"{DATASET[stage]}_val"}
    info = {names[file.split]: _entry(file.path, stage) for file in job.files}
    (job.directory / "dataset_info.json").write_bytes(orjson.dumps(info, option=orjson.OPT_INDENT_2) + b"\n")
    evaluated = names["val"] if any(file.split == "val" for file in job.files) else None
    (job.directory / "train.yaml").write_text(
        _train_yaml(stage, cutoff_len, evaluated, f"../{job.destination.name}-output"), encoding="utf-8"
    )


def _entry(path: str, stage: Stage) -> dict[str, Any]:
    columns = {"messages": "messages", "images": "images"} | ({"system": "system"} if stage == "sft" else {})
    return {
        "file_name": path,
        # Not "openai": LLaMA-Factory's converter for it adds a system text of its own.
        "formatting": "sharegpt",
        "columns": columns,
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }


def _train_yaml(stage: Stage, cutoff_len: int, evaluated: str | None, output_dir: str) -> str:
    evaluation = _EVALUATION.format(dataset=evaluated) if evaluated else ""
    return _TEMPLATE[stage].format(
        dataset=DATASET[stage],
        cutoff_len=cutoff_len,
        image_max_pixels=IMAGE_MAX_PIXELS,
        evaluation=evaluation,
        # Quoted as in JSON, which YAML reads too: a folder may have any name.
        output_dir=orjson.dumps(output_dir).decode(),
    )


_HEAD_SFT: Final = """\
# Supervised fine-tuning on this export with LLaMA-Factory. Paths are relative: start it in this folder.
#   cd THIS_FOLDER && llamafactory-cli train train.yaml
"""

_HEAD_CPT: Final = """\
# Continual pretraining on this export with LLaMA-Factory.
#   python -m curate.adapters.llamafactory.launch train.yaml
#   torchrun --nproc_per_node 8 -m curate.adapters.llamafactory.launch train.yaml
# Not llamafactory-cli: its stage "pt" reads text only and would train on the word <image>, and its templates wrap
# documents in chat markup. The launcher registers the raw template named below and then calls the same trainer.
"""

_MODEL: Final = """
### model
model_name_or_path: Qwen/Qwen3-VL-4B-Instruct
image_max_pixels: {image_max_pixels}  # larger pictures are scaled down; cutoff_len was estimated with this bound
trust_remote_code: false

### method
stage: sft
do_train: true
finetuning_type: full
freeze_vision_tower: true
freeze_multi_modal_projector: false
freeze_language_model: false
# With LoRA, "lora_target: all" leaves the projector out; add: additional_target: visual.merger
"""

_DATA: Final = """
### data
dataset: {dataset}
dataset_dir: .
media_dir: .
template: {template}
# Above the longest row by estimate: a row that is cut inside a picture stops the training.
cutoff_len: {{cutoff_len}}
preprocessing_num_workers: 4
dataloader_num_workers: 4
"""

_EVALUATION: Final = """
### evaluation
eval_dataset: {dataset}
eval_strategy: steps
eval_steps: 500
per_device_eval_batch_size: 1
"""

_OUTPUT: Final = """
### output
# Beside this folder: exporting again replaces all of it.
output_dir: {output_dir}
logging_steps: 10
save_strategy: steps
save_steps: 500
plot_loss: true
report_to: none
"""

_TRAIN_SFT: Final = """
### training; the schedule is InfiMed2's (arXiv 2609.34798): 5 epochs, 64 rows a step, 2e-6 with 10 % warm-up, cosine.
per_device_train_batch_size: 1
gradient_accumulation_steps: 8  # times the number of GPUs: rows a step
learning_rate: 2.0e-6
num_train_epochs: 5
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
"""

_TRAIN_CPT: Final = """
### training; 1e-5 and 256 rows a step as in InfiMed2's main pretraining stage (arXiv 2609.34798).
# Leave packing off, or documents attend to each other; neat_packing keeps them apart but needs flash attention.
per_device_train_batch_size: 1
gradient_accumulation_steps: 32  # times the number of GPUs: rows a step
learning_rate: 1.0e-5
num_train_epochs: 1
lr_scheduler_type: cosine
warmup_ratio: 0.03
bf16: true
"""

_TEMPLATE: Final[dict[Stage, str]] = {
    "sft": _HEAD_SFT
    + _MODEL
    + _DATA.format(dataset="{dataset}", template="qwen3_vl_nothink  # qwen3_vl would train an empty <think></think>")
    + "{evaluation}"
    + _OUTPUT
    + _TRAIN_SFT,
    "cpt": _HEAD_CPT
    + _MODEL
    + _DATA.format(dataset="{dataset}", template="qwen3_vl_cpt")
    + "{evaluation}"
    + _OUTPUT
    + _TRAIN_CPT,
}
