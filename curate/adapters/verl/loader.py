"""Read verl files with verl's own dataset, and learn of every row what its filter keeps to itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


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
    tokens: list[int]
    image_tokens: int


@dataclass(frozen=True)
class Loaded:
    """Files that verl has read."""

    dataset: Any
    """verl's RLHFDataset after its filter."""
    rows: Any
    """All rows of the files, in order: a datasets.Dataset without the filter."""
    tokens: Any
    """Tokens of each row's prompt as verl counts them, pictures included; a numpy array of as many integers as there
    are rows. A row that verl can't read has one more than max_prompt_length."""
    limit: int
    """max_prompt_length."""

    @property
    def dropped(self) -> list[int]:
        """Rows that verl's filter leaves out, from 0."""
        return [int(row) for row in (self.tokens > self.limit).nonzero()[0]]


def load(files: Sequence[Path | str], data: Any, tokenizer: Any, processor: Any) -> Loaded:
    """Read ``files`` as the trainer does, with ``data``, that part of its configuration.

    Pictures are decoded by as many processes as ``data.filter_overlong_prompts_workers``; memory does not grow with
    the files, which are memory-mapped. Raises what verl and datasets raise for files that they can't read at all.
    """
    from curate.adapters.verl.measured import MeasuredDataset

    dataset = MeasuredDataset(
        data_files=[str(file) for file in files], tokenizer=tokenizer, config=data, processor=processor
    )
    rows = dataset.measured
    return Loaded(dataset, rows.dataset, rows.tokens, rows.limit)


def why_dropped(loaded: Loaded, row: int) -> str:
    """Why verl's filter leaves out ``row`` (from 0), as a sentence with the remedy."""
    try:
        prompt = prompt_of(loaded.dataset, loaded.rows[row])
    except Exception as error:  # noqa: BLE001 - whatever it is, verl would swallow it
        reason = f"{type(error).__name__}: {str(error)[:300]}"
        return f"verl can't read this row and would leave it out ({reason}); mend it or leave it out of the export"
    return (
        f"its prompt has {len(prompt.tokens)} tokens, {prompt.image_tokens} of them for pictures, and verl would leave "
        f"it out, because max_prompt_length is {loaded.limit}; raise that, or leave the row out of the export"
    )


def prompt_of(dataset: Any, row: dict[str, Any]) -> Prompt:
    """Take the steps of verl's agent loop from a row of the file to the tokens of its prompt.

    Raises what verl raises for a row that it can't read.
    """
    from verl.utils.tokenizer import build_multimodal_processor_inputs

    processor, tokenizer = dataset.processor, dataset.tokenizer
    messages = dataset._build_messages(row, key=dataset.prompt_key)
    images: list[Any] = []
    template = (processor or tokenizer).apply_chat_template
    text = template(messages, add_generation_prompt=True, tokenize=False, **dataset.apply_chat_template_kwargs)
    if processor is None:
        tokens = tokenizer(text=text, add_special_tokens=False)["input_ids"]
    else:
        found, videos, audios = asyncio.run(
            dataset.process_multi_modal_info(messages, image_patch_size=dataset.image_patch_size, config=dataset.config)
        )
        inputs = build_multimodal_processor_inputs(processor, text=[text], images=found, videos=videos, audio=audios)
        tokens, images = inputs["input_ids"][0].tolist(), found or []
    return Prompt(
        data_source=row["data_source"],
        messages=messages,
        images=images,
        ground_truth=row["reward_model"]["ground_truth"],
        extra_info=row["extra_info"],
        text=tokenizer.decode(tokens),
        tokens=tokens,
        image_tokens=tokens.count(getattr(processor, "image_token_id", None)),
    )
