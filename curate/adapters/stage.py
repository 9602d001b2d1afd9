"""A training stage as a recipe describes it: which model, which exports, what is trained, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from curate.corpus import UserError

ModelPart = Literal["vision_encoder", "projector", "language_model"]
"""The parts of a vision-language model that a stage can train or freeze.

As LLaMA-Factory divides Qwen3-VL: the projector is `visual.merger`; the DeepStack mergers belong to the vision encoder.
"""


_EXPONENT: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d+")


def _with_numbers(value: Any) -> Any:
    """``value`` with texts such as 1e-5, which YAML 1.1 takes for words, as the numbers that they are meant to be."""
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _with_numbers(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_numbers(entry) for entry in value]
    return value


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StageData(_Settings):
    """One export that a stage trains on."""

    path: Path
    """Directory of the export, as `curate export` wrote it, relative to the working directory."""
    share: float | None = Field(None, gt=0, le=1)
    """Share of this export among the training rows; given for all exports of a stage or for none."""


class Lora(_Settings):
    """Low-rank adapters in place of full weights (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)


class _Stage(_Settings):
    model: str
    """The model to start from: a directory in Hugging Face format, such as `model` of an earlier run, or a hub id."""
    data: list[StageData] = Field(min_length=1)
    """The exports to train on."""
    output: Path
    """The run directory, made by the first run and resumed by later ones; the result is in its folder `model`."""
    gpus: int = Field(1, ge=0)
    """GPUs of this machine; 0 trains on the CPU, which only serves to try a recipe out."""
    environment: Path | None = None
    """The trainer's environment: a virtual environment or its Python. By default it is looked for."""
    lora: Lora | None = None
    """Train adapters and merge them at the end; without it all weights of the trained parts change."""
    batch_size: int = Field(ge=1)
    """Rows (for GRPO: queries) of one optimiser step, over all GPUs."""
    micro_batch_size: int = Field(1, ge=1)
    """Rows that one GPU holds at a time."""
    seed: int = 0
    """Seed of the data order and of sampling."""
    arguments: Annotated[dict[str, Any], AfterValidator(_with_numbers)] = Field(default_factory=dict)
    """Any other setting of the trainer, under the trainer's own name. Those that the adapter sets are refused here."""

    @model_validator(mode="after")
    def _shares_are_complete(self) -> _Stage:
        shares = [data.share for data in self.data if data.share is not None]
        if shares and len(shares) != len(self.data):
            raise ValueError("give a share for every export of data, or for none")
        if shares and abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"the shares of data sum to {sum(shares):g}; they must sum to 1")
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> _Stage:
        at_once = self.micro_batch_size * max(1, self.gpus)
        if self.stage != "grpo" and self.batch_size % at_once:  # type: ignore[attr-defined]
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of micro_batch_size x gpus = {at_once}, so it can't be "
                "made of whole steps"
            )
        return self


class _SupervisedStage(_Stage):
    train: list[ModelPart] = Field(default=["projector", "language_model"], min_length=1)
    """The parts that are trained; the others are frozen. The recipe of InfiMed2 trains projector and language model."""
    max_pixels: int = Field(768 * 768, ge=28 * 28)
    """Larger pictures are scaled down to this many pixels. For GRPO the rows of a verl export carry the bound."""
    cutoff_len: int | None = Field(None, ge=64)
    """Tokens of a row, pictures included; longer rows stop the proof. By default the largest that the exports name."""

    @property
    def accumulation(self) -> int:
        """Micro batches of one optimiser step on one GPU."""
        return self.batch_size // (self.micro_batch_size * max(1, self.gpus))


class CptStage(_SupervisedStage):
    """Continual pretraining on `llamafactory-cpt` exports: captions and interleaved documents, loss on all text."""

    stage: Literal["cpt"]


class SftStage(_SupervisedStage):
    """Supervised fine-tuning on `llamafactory-sft` exports: loss on what the assistant says."""

    stage: Literal["sft"]


class Reward(_Settings):
    """Arguments of `curate.rewards.compute_score`, or a team's own module that offers it."""

    module: str = Field("curate.rewards", pattern=r"^[A-Za-z_][\w.]*$")
    """Importable module with `compute_score`; for types of your own see docs/rewards.md."""
    format_weight: float = Field(0.1, ge=0, le=1)
    accuracy_weight: float = Field(0.9, ge=0, le=1)
    require_think: bool = False
    """The format also asks for a `<think>` block."""
    think_opened: bool = False
    """The chat template ends the prompt with `<think>`, so responses begin inside the block."""
    relative_tolerance: float = Field(1e-6, ge=0)
    """How far a number may be from its reference."""

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Reward:
        if abs(self.format_weight + self.accuracy_weight - 1) > 1e-9:
            raise ValueError("format_weight and accuracy_weight must sum to 1")
        return self


class GrpoStage(_Stage):
    """GRPO with verifiable rewards on `verl` exports (DeepSeekMath, arXiv 2402.03300; objective as in the recipe)."""

    stage: Literal["grpo"]
    group_size: int = Field(8, ge=2)
    """G: responses sampled for each query."""
    epsilon: float = Field(0.2, gt=0, lt=1)
    """Clipping range of the probability ratio."""
    beta: float = Field(0.01, ge=0)
    """Weight of the KL divergence from the model the stage starts from; 0 leaves the reference model out."""
    learning_rate: float = Field(1e-6, gt=0)
    mini_batch_size: int | None = Field(None, ge=1)
    """Queries of one gradient update; by default `batch_size`, which makes every update on-policy."""
    temperature: float = Field(1.0, gt=0)
    """Sampling temperature of the rollouts."""
    epochs: int = Field(1, ge=1)
    steps: int | None = Field(None, ge=1)
    """Optimiser steps; by default as many as `epochs` take."""
    max_prompt_length: int = Field(2048, ge=16)
    """Tokens of a prompt, pictures included; verl drops longer ones without a word, so they stop the proof."""
    max_response_length: int = Field(1024, ge=1)
    """Tokens of a response; longer ones are cut off and mostly get no reward."""
    rollout: Literal["vllm", "sglang", "cpu_smoke"] = "vllm"
    """What generates the responses; `cpu_smoke` is for smoke runs without a GPU only."""
    tensor_parallel: int = Field(1, ge=1)
    """GPUs that share one copy of the model in the rollout."""
    gpu_memory_utilization: float = Field(0.6, gt=0, lt=1)
    """Share of GPU memory for the rollout engine."""
    save_every: int = Field(50, ge=1)
    """Steps between checkpoints; a run that is stopped goes on from the last one."""
    validate_every: int = Field(10, ge=-1)
    """Steps between validations; -1 for none."""
    validation: Path | None = None
    """A verl export to validate on, whole; by default the val.parquet of the exports that are trained on."""
    reward: Reward = Reward()

    @model_validator(mode="after")
    def _fits_machine(self) -> GrpoStage:
        if (self.gpus == 0) != (self.rollout == "cpu_smoke"):
            raise ValueError("rollout: cpu_smoke belongs to gpus: 0, and gpus: 0 to rollout: cpu_smoke")
        mini = self.mini_batch_size or self.batch_size
        if self.batch_size % mini:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of mini_batch_size {mini}")
        if mini * self.group_size % (self.micro_batch_size * max(1, self.gpus)):
            raise ValueError(
                f"mini_batch_size x group_size = {mini * self.group_size} responses are no multiple of "
                f"micro_batch_size x gpus = {self.micro_batch_size * max(1, self.gpus)}"
            )
        if self.data[0].share is not None:
            raise ValueError("share is for cpt and sft; verl reads its files one after the other")
        return self


Stage = CptStage | SftStage | GrpoStage

_STAGE: Final[TypeAdapter[Stage]] = TypeAdapter(Annotated[Stage, Field(discriminator="stage")])


def absolute_model(model: str) -> str:
    """An absolute path for a directory, since trainers change the working directory; a hub id, which has at most one
    slash, as it is."""
    path = Path(model).expanduser()
    looks_like_a_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    return str(path.resolve()) if path.is_dir() or looks_like_a_path else model


def load_stage(path: Path, overrides: Sequence[str] = ()) -> Stage:
    """Read a stage file; ``overrides`` such as ``model=runs/sft/model`` or ``data.0.path=exports/x`` replace entries.

    An override's value is read as YAML. Raises UserError naming the file, the entry and the nearest valid name.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is no stage: it must be a mapping with at least stage, model, data and output")
    for override in overrides:
        _override(content, override)
    return parse_stage(content, str(path))


def parse_stage(content: Mapping[str, Any], name: str) -> Stage:
    """A stage from its entries; UserError naming ``name`` and each entry that is wrong."""
    try:
        return _STAGE.validate_python(content)
    except ValidationError as error:
        raise UserError(f"{name}: {_sentences(error, content)}") from None


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"{override!r} is no KEY=VALUE, such as model=runs/sft/model")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    # Names of the trainer's own may hold dots: everything behind `arguments.` is one name.
    names = ["arguments", key.removeprefix("arguments.")] if key.startswith("arguments.") else key.split(".")
    place: Any = content
    for name in names[:-1]:
        if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
            place = place[int(name)]
        elif isinstance(place, dict) and isinstance(place.setdefault(name, {}), (dict, list)):
            place = place[name]
        else:
            raise UserError(f"{override!r} sets an entry of {name}, which has none")
    last = names[-1]
    if isinstance(place, list) and last.isdecimal() and int(last) < len(place):
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise UserError(f"{override!r} sets {last}, which the list before it does not have")


def _sentences(error: ValidationError, content: Mapping[str, Any]) -> str:
    """What is wrong, entry by entry, with the nearest name for one that does not exist."""
    import difflib

    kinds: dict[Any, type[_Stage]] = {"cpt": CptStage, "sft": SftStage, "grpo": GrpoStage}
    known = kinds.get(content.get("stage"), _Stage).model_fields
    found = []
    for problem in error.errors():
        place = ".".join(str(part) for part in problem["loc"] if part not in ("cpt", "sft", "grpo"))
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(place, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "the trainer's own settings belong under arguments"
            found.append(f"{place} is no setting of this stage; {hint}")
        elif problem["type"] in ("union_tag_not_found", "union_tag_invalid"):
            found.append("stage must be one of cpt, sft, grpo")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            found.append(f"{place}: {message}" if place else message)
    return "; ".join(found)
