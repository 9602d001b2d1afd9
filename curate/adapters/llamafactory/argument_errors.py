"""Why LLaMA-Factory refused a configuration, in a sentence. Runs in the trainer's environment."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def missing_package(configuration: Mapping[str, Any]) -> str | None:
    """What a setting needs and this environment lacks."""
    if configuration.get("deepspeed") and find_spec("deepspeed") is None:
        return (
            "arguments: deepspeed needs the package deepspeed, which this environment lacks; install it there with: "
            "pip install 'deepspeed>=0.16.4'"
        )
    return None


def explain(error: Exception, configuration: Mapping[str, Any]) -> str:
    """``error`` was raised while the arguments, the tokenizer or the template were made of ``configuration``."""
    if unknown := re.search(r"keys are not used by the HfArgumentParser: (\[.*\])", str(error)):
        return "; ".join(_unknown(name) for name in ast.literal_eval(unknown[1]))
    model = str(configuration["model_name_or_path"])
    if isinstance(error, OSError):
        if model.startswith("/") and not Path(model).is_dir():
            return f"model: the directory {model} does not exist; train the stage that makes it first"
        return f"model: the tokenizer of {model} cannot be loaded: {_reason(error)}"
    return f"LLaMA-Factory refuses the configuration: {_reason(error)}"


def _unknown(name: str) -> str:
    from llamafactory.hparams import (
        DataArguments,
        FinetuningArguments,
        GeneratingArguments,
        ModelArguments,
        TrainingArguments,
    )

    every = (ModelArguments, DataArguments, TrainingArguments, FinetuningArguments, GeneratingArguments)
    known = {field.name for arguments in every for field in dataclasses.fields(arguments)}
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"arguments: {name} is no argument of LLaMA-Factory{hint}"


def _reason(error: BaseException) -> str:
    """The first line of what was raised first."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
