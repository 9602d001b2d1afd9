"""Read an export with verl's own code, through the adapter's loader, and say what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curate.adapters.verl.configuration import compose
from curate.adapters.verl.loader import Prompt, load, prompt_of

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
class LoadedSplit:
    """A parquet file after verl's filter: fewer `prompts` than rows in the file means that verl dropped some."""

    prompts: list[Prompt]
    batch: dict[str, Any]
    """All rows through verl's `collate_fn`: tensors, and object arrays for everything else."""


def load_split(parquet: Path, model: Path, overrides: Sequence[str] = ()) -> LoadedSplit:
    """Load `parquet` through verl's RLHFDataset with the tokenizer and processor at `model`.

    `overrides` are Hydra overrides of verl's PPO configuration, such as "data.max_prompt_length=512".
    """
    from verl.utils import hf_processor, hf_tokenizer
    from verl.utils.dataset.rl_dataset import collate_fn

    settings = compose([*DATA_SETTINGS, *overrides]).data
    dataset = load([parquet], settings, hf_tokenizer(str(model)), hf_processor(str(model))).dataset
    prompts = [prompt_of(dataset, dataset.dataframe[number]) for number in range(len(dataset))]
    return LoadedSplit(prompts, collate_fn([dataset[number] for number in range(len(dataset))]))
