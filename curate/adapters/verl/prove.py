"""Load a stage's data as verl will, and run its reward: `python -m curate.adapters.verl.prove RUN`.

Writes `RUN/proof.json` (:meth:`curate.adapters.adapter.Adapter.prove`). Runs in verl's environment, on its CPU, without
a Ray cluster.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from curate.adapters.verl.configuration import compose_and_check
from curate.adapters.verl.loader import prompt_of
from curate.adapters.verl.overrides import read_overrides
from curate.adapters.verl.splits import Problem, Split, read_split
from curate.corpus import atomic_file

_PADS: Final = re.compile(r"(<\|image_pad\|>)+")


def prove(run: Path) -> dict[str, Any]:
    """The content of ``proof.json``. Exits with a message when the model's tokenizer can't be loaded."""
    inputs = json.loads((run / "config" / "inputs.json").read_bytes())
    configuration, wrong = compose_and_check(read_overrides(run / "config" / "overrides.txt"))
    if configuration is None:
        return _result([Problem(None, None, message) for message in wrong])
    problems = [Problem(None, None, message) for message in wrong]
    model = _open_model(configuration)

    train_files = {f"{export}/train.parquet": Path(file) for export, file in inputs["exports"].items()}
    validation_files = {name: Path(name).absolute() for name in inputs["validation"]}
    train, found = _read(train_files, configuration, model, inputs["reward"])
    problems += found
    if validation_files:
        problems += _read(validation_files, configuration, model, inputs["reward"])[1]
    if train is None:
        return _result(problems)

    rows, batch_size = len(train.loaded.dataset), configuration.data.train_batch_size
    if rows < batch_size:
        message = f"batch_size is {batch_size}, and there are {rows} rows: verl would not make a single step"
        problems.append(Problem(None, None, message))
    if not problems:
        problems += _try_a_batch(train, configuration, model)
    steps = configuration.trainer.total_training_steps or rows // batch_size * configuration.trainer.total_epochs
    return {
        **_result(problems),
        "rows": dict(zip(inputs["exports"], train.kept(), strict=True)),
        "parameters": _parameters(configuration),
        "examples": [_example(train)],
        "facts": {
            "rows": rows,
            "longest prompt, tokens": int(train.loaded.tokens.max()),
            "max_prompt_length": train.loaded.limit,
            "responses a step": batch_size * configuration.actor_rollout_ref.rollout.n,
            "optimiser steps": int(steps),
        },
    }


def _result(problems: Sequence[Problem]) -> dict[str, Any]:
    listed = [problem._asdict() for problem in problems]
    return {"problems": listed, "rows": {}, "parameters": {}, "examples": [], "facts": {}}


def _open_model(configuration: Any) -> Any:
    """verl's description of the model, with its tokenizer and processor."""
    from verl.utils.config import omega_conf_to_dataclass

    try:
        return omega_conf_to_dataclass(configuration.actor_rollout_ref.model)
    except Exception as error:  # noqa: BLE001 - transformers, hub and verl raise many classes
        path = configuration.actor_rollout_ref.model.path
        sys.exit(f"the tokenizer and configuration of the model {path} can't be loaded: {str(error).strip()[:500]}")


def _read(
    files: Mapping[str, Path], configuration: Any, model: Any, reward: Mapping[str, Any]
) -> tuple[Split | None, list[Problem]]:
    """The files as verl reads them, and what is wrong with their rows."""
    from verl.trainer.ppo.reward import get_custom_reward_fn

    names = list(files)
    try:
        split = read_split(list(files.values()), names, configuration.data, model.tokenizer, model.processor)
    except Exception as error:  # noqa: BLE001 - datasets and pyarrow raise many classes
        message = f"verl can't read {', '.join(names)}: {type(error).__name__}: {str(error)[:500]}"
        return None, [Problem(names[0] if len(names) == 1 else None, None, message)]
    try:
        score = get_custom_reward_fn(configuration)
    except Exception as error:  # noqa: BLE001 - the import of a team's module
        message = f"the reward {reward['module']} can't be loaded: {type(error).__name__}: {error}"
        return split, [Problem(None, None, message)]
    before = "</think>" if reward["think_opened"] else "<think>Because.</think>" if reward["require_think"] else ""
    return split, list(split.problems(score, before))


def _try_a_batch(train: Split, configuration: Any, model: Any) -> Iterator[Problem]:
    """Collate rows, and let verl's reward manager score a response: what is left to go wrong before the model runs."""
    import numpy as np
    import torch
    from verl import DataProto
    from verl.trainer.ppo.reward import load_reward_manager
    from verl.utils.dataset.rl_dataset import collate_fn

    dataset, tokenizer = train.loaded.dataset, model.tokenizer
    try:
        batch = collate_fn([dataset[row] for row in range(min(len(dataset), 4))])
        reference = batch["reward_model"][0]["ground_truth"]
        response = torch.tensor([tokenizer.encode(f"<answer>{reference}</answer>", add_special_tokens=False)])
        data = DataProto.from_dict(
            tensors={
                "prompts": response,
                "responses": response,
                "attention_mask": torch.ones(1, 2 * response.shape[1], dtype=torch.long),
            },
            non_tensors={
                key: np.array([batch[key][0], None], dtype=object)[:1]
                for key in ("data_source", "reward_model", "extra_info")
            },
        )
        manager = load_reward_manager(configuration, tokenizer)
        manager.loop.run_until_complete(manager.run_single(data))
    except Exception as error:  # noqa: BLE001 - verl's own code over a team's reward
        yield Problem(*train.place(0), f"verl can't make a batch or score it: {type(error).__name__}: {error}")


def _parameters(configuration: Any) -> dict[str, int]:
    """Sizes for the estimate of disk space; verl's checkpoints hold the weights in 32 bits."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    settings = configuration.actor_rollout_ref.model
    config = AutoConfig.from_pretrained(settings.path, trust_remote_code=settings.trust_remote_code)
    classes = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
    with torch.device("meta"):
        model = classes.from_config(config)
        total = trained = sum(parameter.numel() for parameter in model.parameters())
        if settings.lora_rank:
            from peft import LoraConfig, get_peft_model

            lora = LoraConfig(
                r=settings.lora_rank, target_modules=settings.target_modules, exclude_modules=settings.exclude_modules
            )
            model = get_peft_model(model, lora)
            total = sum(parameter.numel() for parameter in model.parameters())
            trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    kept = configuration.trainer.max_actor_ckpt_to_keep
    return {"total": total, "trained": trained, "bytes_per_parameter": 4} | ({"checkpoints_kept": kept} if kept else {})


def _example(train: Split) -> dict[str, str]:
    """The first row with a picture, else the first: the prompt as the model gets it, and its reference."""
    rows = train.loaded.rows
    row = next((number for number in range(min(len(rows), 1000)) if rows[number].get("images")), 0)
    try:
        prompt = prompt_of(train.loaded.dataset, rows[row])
    except Exception as error:  # noqa: BLE001 - a row that verl can't read is among the problems already
        return {"title": "query", "text": f"can't be shown: {error}"}
    text = _PADS.sub(lambda run: f"<|image_pad|> x {run[0].count('<|image_pad|>')} ", prompt.text)
    file, number = train.place(row)
    return {"title": f"query {number} of {file}", "text": f"{text}\n→ reference: {prompt.ground_truth}"}


def main() -> None:
    """Write ``RUN/proof.json`` for the run directory named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m curate.adapters.verl.prove RUN")
    run = Path(sys.argv[1]).absolute()
    proof = prove(run)
    with atomic_file(run / "proof.json") as file:
        file.write(json.dumps(proof, ensure_ascii=False, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
