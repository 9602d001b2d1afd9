"""Read training rows with LLaMA-Factory's own code, as its training would, on a CPU.

The steps are those of ``llamafactory.train.sft.workflow.run_sft`` up to the first loss: arguments, tokenizer and
processor, template, dataset, collator, model. Runs in the trainer's environment.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curate.adapters.llamafactory.raw_template import register_raw_templates

ON_A_CPU: Final[Mapping[str, Any]] = {
    "use_cpu": True,
    "bf16": False,
    "fp16": False,
    "pure_bf16": False,
    "deepspeed": None,
    "flash_attn": "sdpa",
    "enable_liger_kernel": False,
    "use_unsloth": False,
    "report_to": "none",
    "dataloader_num_workers": 0,
    "eval_strategy": "no",
}
"""What a proof changes in a configuration: no accelerator, no reporting. None of it reaches the rows."""


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
class Trainer:
    """LLaMA-Factory's parsed arguments, tokenizer, processor and template."""

    model_arguments: Any
    data_arguments: Any
    training_arguments: Any
    finetuning_arguments: Any
    tokenizer_module: Any
    template: Any

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.tokenizer_module["tokenizer"]

    @property
    def image_token(self) -> int:
        """The token that stands for a piece of a picture."""
        return int(self.tokenizer.convert_tokens_to_ids(self.template.mm_plugin.image_token))

    def datasets(self) -> dict[str, Any]:
        """LLaMA-Factory's ``train_dataset`` and, where there are validation rows, ``eval_dataset``."""
        from llamafactory.data import get_dataset

        module: dict[str, Any] = get_dataset(
            self.template,
            self.model_arguments,
            self.data_arguments,
            self.training_arguments,
            stage=self.finetuning_arguments.stage,
            **self.tokenizer_module,
        )
        return module

    def row(self, row: Mapping[str, Any]) -> TrainingRow:
        """A row of :meth:`datasets`, decoded."""
        trained = [label for label in row["labels"] if label != -100]
        return TrainingRow(
            input_ids=row["input_ids"],
            labels=row["labels"],
            text=self.tokenizer.decode(row["input_ids"]),
            trained_text=self.tokenizer.decode(trained),
            image_tokens=row["input_ids"].count(self.image_token),
            image_tokens_in_loss=trained.count(self.image_token),
        )

    def collate(self, rows: Sequence[Mapping[str, Any]], model: Any) -> dict[str, Any]:
        """One batch as the trainer makes it; ``model`` may lie on the meta device."""
        from llamafactory.data import SFTDataCollatorWith4DAttentionMask

        collator = SFTDataCollatorWith4DAttentionMask(
            template=self.template,
            model=model,
            pad_to_multiple_of=8,
            label_pad_token_id=-100,
            block_diag_attn=self.model_arguments.block_diag_attn,
            neat_packing=self.data_arguments.neat_packing,
            attn_implementation=getattr(model.config, "_attn_implementation", None),
            compute_dtype=self.model_arguments.compute_dtype,
            **self.tokenizer_module,
        )
        return dict(collator(list(rows)))

    def model(self) -> Any:
        """The model with its weights, the trained parts marked as in training."""
        from llamafactory.model import load_model

        return load_model(self.tokenizer, self.model_arguments, self.finetuning_arguments, True)

    def model_without_weights(self) -> Any:
        """The same on the meta device: shapes, dtypes and what is trained, without memory."""
        import torch
        from llamafactory.model.adapter import init_adapter
        from llamafactory.model.loader import load_config
        from transformers import AutoModelForImageTextToText

        config = load_config(self.model_arguments)
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config)
        return init_adapter(config, model, self.model_arguments, self.finetuning_arguments, True)


@contextlib.contextmanager
def open_trainer(configuration: Mapping[str, Any]) -> Iterator[Trainer]:
    """Parse a training configuration as LLaMA-Factory does and open what it names, for a CPU.

    Relative paths start at the working directory. Templates are as before when the block ends: a configuration's
    ``default_system`` would stay in its template. Raises whatever LLaMA-Factory raises.
    """
    from llamafactory.data import get_template_and_fix_tokenizer
    from llamafactory.data.template import TEMPLATES
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    register_raw_templates()
    given = {key: value for key, value in {**configuration, **ON_A_CPU}.items() if value is not None}
    templates = copy.deepcopy(TEMPLATES)
    try:
        model_arguments, data_arguments, training_arguments, finetuning_arguments, _ = get_train_args(given)
        tokenizer_module = load_tokenizer(model_arguments)
        template = get_template_and_fix_tokenizer(tokenizer_module["tokenizer"], data_arguments)
        yield Trainer(
            model_arguments, data_arguments, training_arguments, finetuning_arguments, tokenizer_module, template
        )
    finally:
        TEMPLATES.clear()
        TEMPLATES.update(templates)


@dataclass(frozen=True)
class LoadedExport:
    """The training rows of an export, in LLaMA-Factory's order, and what is needed to take a loss over them."""

    rows: list[TrainingRow]
    cutoff_len: int
    """A row of this many tokens may have been cut; a shorter one is complete."""
    _directory: Path
    _dataset: Any
    _trainer: Trainer

    def loss(self, row_numbers: Sequence[int]) -> float:
        """Collate these rows into one batch, as the trainer does, and return the model's loss on it.

        Loading alone does not notice that a row's image tokens and its images disagree, as they do when `cutoff_len`
        falls inside an image or the text spells out an image token; this raises RuntimeError then.
        """
        import torch

        with contextlib.chdir(self._directory), torch.no_grad():
            model = self._trainer.model()
            batch = self._trainer.collate([self._dataset[number] for number in row_numbers], model)
            return float(model(**batch).loss)


def load_export(directory: Path, model: Path, overrides: Mapping[str, Any] | None = None) -> LoadedExport:
    """Load DIRECTORY/train.yaml and the dataset it names, with the model at `model`; `overrides` replace its entries.

    Relative paths resolve from `directory`, as under `curate.adapters.llamafactory.launch`. Raises whatever
    LLaMA-Factory raises; a row that it drops is merely absent from `rows`, so compare their number with the export's.
    """
    import tempfile

    from omegaconf import OmegaConf

    directory = directory.resolve()
    configuration: Any = OmegaConf.to_container(OmegaConf.load(directory / "train.yaml"))
    with contextlib.chdir(directory), tempfile.TemporaryDirectory() as output:
        configuration |= {"model_name_or_path": str(model.resolve()), "overwrite_cache": True}
        # Nothing is written; the arguments refuse a folder with checkpoints in it. Workers forked after torch has run
        # can hang, and this process may have run it.
        configuration |= {"output_dir": output, "preprocessing_num_workers": 1, **(overrides or {})}
        with open_trainer(configuration) as trainer:
            dataset = trainer.datasets()["train_dataset"]
            rows = [trainer.row(row) for row in dataset]
    return LoadedExport(rows, trainer.data_arguments.cutoff_len, directory, dataset, trainer)
