"""Load a stage's data as training will and check every row: `python -m curate.adapters.llamafactory.prove RUN`.

LLaMA-Factory's own loader tokenises the rows into `RUN/data/tokenized`, where training finds them: nothing is tokenised
twice, and what was checked is what is trained on. The result is `RUN/proof.json`
(:meth:`curate.adapters.adapter.Adapter.prove`). Runs in the trainer's environment, on its CPU.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from curate.adapters.llamafactory.argument_errors import explain, missing_package
from curate.adapters.llamafactory.data_plan import DataPlan, read_plan
from curate.adapters.llamafactory.findings import count_parameters, examples, facts, rows_per_export
from curate.adapters.llamafactory.loader import Trainer, open_trainer
from curate.adapters.llamafactory.mixture import compose
from curate.adapters.llamafactory.source_rows import Problem, SourceRows, read_rows, unreadable_pictures
from curate.adapters.llamafactory.tokenised import TokenCounts, count_tokens, faults

_SMALL_MODEL: Final = 100_000_000
"""Parameters up to which one loss is taken here, on the CPU, also for a stage that trains on GPUs."""


def prove(run: Path) -> dict[str, Any]:
    """The content of ``proof.json``. Exits with a message when the configuration or the model cannot be used."""
    plan = read_plan(run / "config" / "data.json")
    configuration = yaml.safe_load((run / "config" / "train.yaml").read_text(encoding="utf-8"))
    data = run / "data"
    data.mkdir(exist_ok=True)
    if missing := missing_package(configuration):
        sys.exit(missing)
    tokenized, partial = data / "tokenized", data / ".tokenized.partial"
    for earlier in (tokenized, partial):
        shutil.rmtree(earlier, ignore_errors=True)
    # The output directory of the training may hold checkpoints; here nothing is trained, nor written.
    proving = configuration | {"tokenized_path": str(partial), "output_dir": str(data / ".output")}
    with contextlib.ExitStack() as opened:
        # What the datasets library converted on the way; the adapter has it put here.
        opened.callback(shutil.rmtree, data / "cache", ignore_errors=True)
        try:
            trainer = opened.enter_context(open_trainer(proving))
        except Exception as error:  # noqa: BLE001 - its argument classes raise whatever they like
            sys.exit(explain(error, configuration))
        compose(plan, data)
        rows, problems = read_rows(plan, data, "train")
        validation, more = read_rows(plan, data, "val")
        if problems or more:
            return _result([*problems, *more])
        if problems := _tokenise(trainer, data, rows, validation):
            return _result(problems)
        partial.rename(tokenized)
        trainer.data_arguments.tokenized_path = str(tokenized)
        return _check(trainer, configuration, plan, rows, validation)


def _tokenise(trainer: Trainer, data: Path, rows: SourceRows, validation: SourceRows) -> list[Problem]:
    """Have LLaMA-Factory read, tokenise and save all rows; what stopped it."""
    try:
        trainer.datasets()
    except Exception as error:  # noqa: BLE001 - from the datasets library, its workers, Pillow or the processor
        found = unreadable_pictures(rows, data) + unreadable_pictures(validation, data)
        lines = str(error).strip().splitlines() or [""]
        message = f"LLaMA-Factory's loader stops: {type(error).__name__}: {lines[0]}"
        return found or [
            {"file": ", ".join(export.name for export in rows.plan.exports), "row": None, "message": message}
        ]
    return []


def _check(
    trainer: Trainer, configuration: Mapping[str, Any], plan: DataPlan, rows: SourceRows, validation: SourceRows
) -> dict[str, Any]:
    """Look at what training will read: the saved rows, loaded as it loads them."""
    loaded = trainer.datasets()
    problems: list[Problem] = []
    counts: dict[str, TokenCounts] = {}
    for split, source in (("train", rows), ("eval", validation)):
        if not len(source.ids):
            continue
        dataset = loaded[f"{split}_dataset"]
        if len(dataset) != len(source.ids):
            message = f"LLaMA-Factory's loader gives {len(dataset):,} of {len(source.ids):,} rows ({source.split})"
            return _result([{"file": plan.exports[0].name, "row": None, "message": message}])
        counts[split] = count_tokens(dataset, trainer.image_token)
        problems += faults(counts[split], source, plan.cutoff_len)
    dataset = loaded["train_dataset"]
    model = trainer.model_without_weights()
    parameters = count_parameters(model, configuration)
    if not problems:
        problems = _check_batch(trainer, model, dataset, rows, counts["train"], configuration, parameters["total"])
    return _result(
        problems,
        rows=rows_per_export(plan, rows),
        parameters=parameters,
        examples=examples(trainer, dataset, plan, rows),
        facts=facts(configuration, plan, rows, counts["train"]),
    )


def _check_batch(
    trainer: Trainer,
    model: Any,
    dataset: Any,
    rows: SourceRows,
    counts: TokenCounts,
    configuration: Mapping[str, Any],
    parameters: int,
) -> list[Problem]:
    """Collate the longest row with pictures and one without, and take a loss where that is quick."""
    import numpy as np
    import torch

    pictured = np.flatnonzero(rows.pictures > 0)
    places = [int(pictured[np.argmax(counts.all[pictured])])] if len(pictured) else [int(np.argmax(counts.all))]
    places += np.flatnonzero(rows.pictures == 0)[:1].tolist() if len(pictured) else []
    if configuration.get("use_cpu") or parameters <= _SMALL_MODEL:
        model = trainer.model()
    try:
        batch = trainer.collate([dataset[place] for place in places], model)
        tokens = int((batch["input_ids"] == trainer.image_token).sum())
        expected = int(batch["image_grid_thw"].prod(-1).sum()) // model.config.vision_config.spatial_merge_size**2
        if tokens != expected:
            return [rows.problem(places[0], f"has {tokens} image tokens for pictures that have {expected}")]
        if model.device.type == "meta":
            return []
        with torch.no_grad():
            loss = float(model(**batch).loss)
    except Exception as error:  # noqa: BLE001 - from the processor, the collator or the model
        lines = str(error).strip().splitlines() or [""]
        return [rows.problem(places[0], f"cannot be made into a batch: {type(error).__name__}: {lines[0]}")]
    return [] if np.isfinite(loss) else [rows.problem(places[0], f"the model's loss on it is {loss}")]


def _result(problems: list[Problem], **found: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"rows": {}, "parameters": {}, "examples": [], "facts": {}}
    return {"problems": problems, **empty, **found}


def main() -> None:
    """Prove the run named on the command line."""
    from curate.corpus import atomic_file

    run = Path(sys.argv[1]).absolute()
    result = prove(run)
    with atomic_file(run / "proof.json") as file:
        file.write(json.dumps(result, indent=2, ensure_ascii=False).encode() + b"\n")


if __name__ == "__main__":
    main()
