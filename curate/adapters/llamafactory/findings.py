"""What a proof shows of a stage that is ready to train: sizes, shares, steps, and what a few rows teach."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from curate.adapters.llamafactory.data_plan import DataPlan
from curate.adapters.llamafactory.loader import Trainer
from curate.adapters.llamafactory.source_rows import SourceRows
from curate.adapters.llamafactory.tokenised import TokenCounts

_EXAMPLE_LENGTH: Final = 2000
"""Characters of an example."""


def count_parameters(model: Any, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of the model, how many are trained and in a checkpoint, and the bytes of each there."""
    parameters = list(model.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return {
        "total": total,
        "trained": trained,
        "in_checkpoint": trained if configuration["finetuning_type"] == "lora" else total,
        "bytes_per_parameter": 4 if configuration.get("use_cpu") else 2,
        "checkpoints_kept": configuration["save_total_limit"],
    }


def rows_per_export(plan: DataPlan, rows: SourceRows) -> dict[str, int]:
    """Training rows of each export in one epoch."""
    return {export.name: int((rows.export == number).sum()) for number, export in enumerate(plan.exports)}


def facts(
    configuration: Mapping[str, Any], plan: DataPlan, rows: SourceRows, counts: TokenCounts
) -> dict[str, int | str]:
    """What a person wants to know before a long training."""
    found: dict[str, int | str] = {
        "rows": len(counts.all),
        "longest row, tokens": int(counts.all.max()),
        "cutoff_len": plan.cutoff_len,
        "tokens": int(counts.all.sum()),
        "tokens with loss": int(counts.trained.sum()),
        "optimiser steps": optimiser_steps(configuration, len(counts.all), plan.batch_size),
    }
    for number, export in enumerate(plan.exports):
        of_export = rows.export == number
        share = f"{of_export.mean():.1%} of rows, {counts.all[of_export].sum() / counts.all.sum():.1%} of tokens"
        if export.take > export.rows:
            share += f"; its {export.rows:,} rows are used {export.take / export.rows:.2g} times on average"
        elif export.take < export.rows:
            share += f"; {export.rows - export.take:,} of its {export.rows:,} rows are left out"
        if plan.composed:
            found[f"share of {export.name}"] = share
    return found


def optimiser_steps(configuration: Mapping[str, Any], rows: int, batch_size: int) -> int:
    """Steps of the whole training, as transformers counts them."""
    if (steps := int(configuration.get("max_steps", -1))) > 0:
        return steps
    return math.ceil(float(configuration.get("num_train_epochs", 3.0)) * math.ceil(rows / batch_size))


def examples(trainer: Trainer, dataset: Any, plan: DataPlan, rows: SourceRows) -> list[dict[str, str]]:
    """The decoded texts that carry loss, of one caption, one interleaved document, one conversation: what there is."""
    import numpy as np

    if plan.stage == "sft":
        wanted = {"conversation": rows.pictures > 0}
        if not wanted["conversation"].any():
            wanted = {"conversation": rows.pictures == 0}
    else:
        wanted = {
            "caption": (rows.pictures == 1) & (rows.turns == 2),
            "interleaved document": (rows.pictures > 1) & (rows.turns > 2),
        }
    found = []
    for kind, places in wanted.items():
        if places.any():
            place = int(np.flatnonzero(places)[0])
            row = trainer.row(dataset[place])
            text = row.trained_text
            if len(text) > _EXAMPLE_LENGTH:
                text = f"{text[:_EXAMPLE_LENGTH]} … ({len(text):,} characters)"
            pictures = int(rows.pictures[place])
            title = f"{kind} {rows.ids[place].as_py()[:12]}, {pictures} picture(s): {len(row.input_ids):,} tokens, of "
            title += f"which {sum(label != -100 for label in row.labels):,} carry loss"
            found.append({"title": title, "text": text})
    return found
