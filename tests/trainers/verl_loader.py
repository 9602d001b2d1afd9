"""Read an export with verl's own code, as GRPO would before its first rollout, and say what came out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tiny_qwen3_vl import IMAGE_PAD

# `filter_overlong_prompts` is what a careful user sets, and it drops a row that cannot be read as if it were too long.
# Qwen3-VL's patches are 16 pixels, where verl's default of 14 is Qwen2-VL's. One worker: filter in this process.
DATA_SETTINGS: Final = (
    "data.image_key=images",
    "data.image_patch_size=16",
    "data.max_prompt_length=4096",
    "data.filter_overlong_prompts=True",
    "data.filter_overlong_prompts_workers=1",
    "data.truncation=error",
)


@dataclass(frozen=True)
class Prompt:
    """One row as the rollout and the reward get it."""

    data_source: str
    messages: list[dict[str, Any]]
    """The chat; a message with images has a list of parts as its content."""
    images: list[Any]
    """The decoded pictures, in the order of their placeholders."""
    ground_truth: Any
    extra_info: dict[str, Any]
    text: str
    """The prompt as the model reads it, decoded with its special tokens."""
    image_tokens: int


@dataclass(frozen=True)
class LoadedSplit:
    """A parquet file after verl's filter: fewer `prompts` than rows in the file means that verl dropped some."""

    prompts: list[Prompt]
    batch: dict[str, Any]
    """All rows through verl's `collate_fn`: tensors, and object arrays for everything else."""


def load_split(parquet: Path, model: Path, overrides: Sequence[str] = ()) -> LoadedSplit:
    """Load `parquet` through verl's RLHFDataset with the tokenizer and processor at `model`.

    `overrides` are Hydra overrides of verl's PPO configuration, such as "data.max_prompt_length=512".
    """
    from hydra import compose, initialize_config_module
    from verl.utils import hf_processor, hf_tokenizer
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    with initialize_config_module(config_module="verl.trainer.config", version_base=None):
        configuration = compose("ppo_trainer", overrides=[*DATA_SETTINGS, *overrides])
    processor = hf_processor(str(model))
    dataset = RLHFDataset(
        data_files=[str(parquet)], tokenizer=hf_tokenizer(str(model)), config=configuration.data, processor=processor
    )
    rows = [dataset[number] for number in range(len(dataset))]
    return LoadedSplit([_prompt(row, dataset, processor) for row in rows], collate_fn(rows))


def _prompt(row: dict[str, Any], dataset: Any, processor: Any) -> Prompt:
    """Take the steps of verl's agent loop from a dataset row to the tokens of its prompt."""
    from verl.utils.tokenizer import build_multimodal_processor_inputs

    messages = row["raw_prompt"]
    images, videos, audios = asyncio.run(
        dataset.process_multi_modal_info(messages, image_patch_size=dataset.image_patch_size, config=dataset.config)
    )
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    input_ids = build_multimodal_processor_inputs(processor, text=[text], images=images, videos=videos, audio=audios)[
        "input_ids"
    ][0]
    return Prompt(
        data_source=row["data_source"],
        messages=messages,
        images=images or [],
        ground_truth=row["reward_model"]["ground_truth"],
        extra_info=row["extra_info"],
        text=processor.tokenizer.decode(input_ids),
        image_tokens=input_ids.tolist().count(processor.tokenizer.convert_tokens_to_ids(IMAGE_PAD)),
    )
