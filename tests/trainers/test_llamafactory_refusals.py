"""The names in what is refused are LLaMA-Factory's own, of the version that is installed."""

from __future__ import annotations

import re
from dataclasses import fields

from llamafactory.hparams import (
    DataArguments,
    FinetuningArguments,
    GeneratingArguments,
    ModelArguments,
    TrainingArguments,
)

from curate.adapters.llamafactory.refusals import REFUSED, REFUSED_IF_TRUE, STAGE_SETTING_OF
from curate.adapters.stage import SftStage

CLASSES = (ModelArguments, DataArguments, TrainingArguments, FinetuningArguments, GeneratingArguments)
FIELDS = {field.name: field for arguments in CLASSES for field in fields(arguments)}


def test_what_is_refused_exists() -> None:
    of_datasets = {"num_samples"}  # a key of dataset_info.json, which people look for here
    assert {*STAGE_SETTING_OF, *REFUSED, *REFUSED_IF_TRUE} - of_datasets <= FIELDS.keys()


def test_what_is_suggested_in_place_exists() -> None:
    said = " ".join([*REFUSED.values(), *REFUSED_IF_TRUE.values()])
    names = set(re.findall(r"[a-z]+(?:_[a-z]+)+", said))
    assert {"train_sampling_strategy", "save_steps"} <= names
    choices = FIELDS["train_sampling_strategy"].metadata["choices"]
    assert names <= {*FIELDS, *SftStage.model_fields, *choices}
