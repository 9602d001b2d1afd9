"""Read an export with LLaMA-Factory's own code, as training would, and say what came out.

The steps are those of `llamafactory.train.sft.workflow.run_sft` up to the first loss: arguments, tokenizer and
processor, template, dataset, collator, model. Only the settings in `ON_A_CPU` differ from the export's own train.yaml.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from tiny_qwen3_vl import IMAGE_PAD

from curate.adapters.llamafactory.raw_template import register_raw_templates

# What a proof changes in train.yaml: no accelerator, no reporting, nothing cached between runs, and no worker
# processes (forked after torch has run, they can hang).
ON_A_CPU: Final[Mapping[str, Any]] = {
    "use_cpu": True,
    "bf16": False,
    "fp16": False,
    "deepspeed": None,
    "report_to": "none",
    "overwrite_cache": True,
    "preprocessing_num_workers": 1,
    "dataloader_num_workers": 0,
}


@dataclass(frozen=True)
class TrainingRow:
    """One row as the model gets it. A label of -100 is a token without loss; the others repeat the input token."""

    input_ids: list[int]
    labels: list[int]
    text: str
    """The whole input, decoded with its special tokens. Qwen's tokenizer composes characters first (NFC)."""
    trained_text: str
    """The tokens that carry loss, decoded."""
    image_tokens: int
    image_tokens_in_loss: int


@dataclass(frozen=True)
class LoadedExport:
    """The training rows of an export, in LLaMA-Factory's order, and what is needed to take a loss over them."""

    rows: list[TrainingRow]
    cutoff_len: int
    """A row of this many tokens may have been cut; a shorter one is complete."""
    _directory: Path
    _dataset: Any
    _tokenizer_module: Any
    _template: Any
    _arguments: Any

    def loss(self, row_numbers: Sequence[int]) -> float:
        """Collate these rows into one batch, as the trainer does, and return the model's loss on it.

        Loading alone does not notice that a row's image tokens and its images disagree, as they do when `cutoff_len`
        falls inside an image or the text spells out an image token; this raises RuntimeError then.
        """
        import torch
        from llamafactory.data import SFTDataCollatorWith4DAttentionMask
        from llamafactory.model import load_model

        model_arguments, data_arguments, _, finetuning_arguments, _ = self._arguments
        model = load_model(self._tokenizer_module["tokenizer"], model_arguments, finetuning_arguments, True)
        collate = SFTDataCollatorWith4DAttentionMask(
            template=self._template,
            model=model,
            pad_to_multiple_of=8,
            label_pad_token_id=-100,
            block_diag_attn=model_arguments.block_diag_attn,
            neat_packing=data_arguments.neat_packing,
            attn_implementation=getattr(model.config, "_attn_implementation", None),
            compute_dtype=model_arguments.compute_dtype,
            **self._tokenizer_module,
        )
        with contextlib.chdir(self._directory), torch.no_grad():
            batch = collate([self._dataset[number] for number in row_numbers])
            return float(model(**batch).loss)


def load_export(directory: Path, model: Path, overrides: Mapping[str, Any] | None = None) -> LoadedExport:
    """Load DIRECTORY/train.yaml and the dataset it names, with the model at `model`; `overrides` replace its entries.

    Relative paths resolve from `directory`, as under `curate.adapters.llamafactory.launch`. Raises whatever
    LLaMA-Factory raises; a row that it drops is merely absent from `rows`, so compare their number with the export's.
    """
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.data.template import TEMPLATES
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer
    from omegaconf import OmegaConf

    register_raw_templates()
    directory = directory.resolve()
    configuration = OmegaConf.to_container(OmegaConf.load(directory / "train.yaml"))
    assert isinstance(configuration, dict)
    configuration |= ON_A_CPU
    configuration |= {"model_name_or_path": str(model.resolve()), **(overrides or {})}
    with (
        contextlib.chdir(directory),
        tempfile.TemporaryDirectory() as output,
        patch.dict(TEMPLATES, copy.deepcopy(TEMPLATES)),  # a configuration's `default_system` stays in its template
    ):
        configuration["output_dir"] = output  # nothing is written; the arguments refuse a folder with checkpoints in it
        arguments = get_train_args({key: value for key, value in configuration.items() if value is not None})
        model_arguments, data_arguments, training_arguments, finetuning_arguments, _ = arguments
        tokenizer_module = load_tokenizer(model_arguments)
        template = get_template_and_fix_tokenizer(tokenizer_module["tokenizer"], data_arguments)
        dataset = get_dataset(
            template,
            model_arguments,
            data_arguments,
            training_arguments,
            stage=finetuning_arguments.stage,
            **tokenizer_module,
        )["train_dataset"]
    rows = [_training_row(row, tokenizer_module["tokenizer"]) for row in dataset]
    return LoadedExport(rows, data_arguments.cutoff_len, directory, dataset, tokenizer_module, template, arguments)


def _training_row(row: Mapping[str, Any], tokenizer: Any) -> TrainingRow:
    image_pad = tokenizer.convert_tokens_to_ids(IMAGE_PAD)
    trained = [label for label in row["labels"] if label != -100]
    return TrainingRow(
        input_ids=row["input_ids"],
        labels=row["labels"],
        text=tokenizer.decode(row["input_ids"]),
        trained_text=tokenizer.decode(trained),
        image_tokens=row["input_ids"].count(image_pad),
        image_tokens_in_loss=trained.count(image_pad),
    )
