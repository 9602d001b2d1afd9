"""Run a LLaMA-Factory training configuration, with the raw templates of this package available to it.

    python -m curate.adapters.llamafactory.launch exports/llamafactory-cpt/train.yaml [key=value ...]
    torchrun --nproc_per_node 8 -m curate.adapters.llamafactory.launch exports/llamafactory-cpt/train.yaml

It is `llamafactory-cli train` with three differences: `template: qwen3_vl_cpt` and its kin exist; relative paths in the
configuration and after it (`dataset_dir`, `media_dir`, `output_dir`, a local model) start at the configuration's own
folder instead of wherever the command was typed, so an export can be moved and still trains; and a training that is run
again goes on from its last complete checkpoint, where LLaMA-Factory takes the last one, complete or not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from curate.adapters.llamafactory.checkpoints import last_whole_checkpoint
from curate.adapters.llamafactory.raw_template import register_raw_templates


def main() -> None:
    """Train with the configuration named first on the command line; later `key=value` arguments override its entries.

    Exits with a message if the configuration is missing, LLaMA-Factory is not installed or there is no GPU for this
    process; errors of the training itself are LLaMA-Factory's own.
    """
    if len(sys.argv) < 2:
        sys.exit("usage: python -m curate.adapters.llamafactory.launch CONFIG.yaml [key=value ...]")
    config = Path(sys.argv[1]).resolve()
    if config.suffix not in {".yaml", ".yml"} or not config.is_file():
        sys.exit(f"{sys.argv[1]}: not a YAML file that exists; name a LLaMA-Factory training configuration.")
    try:
        register_raw_templates()
        from llamafactory.train.tuner import run_exp
        from omegaconf import OmegaConf
    except ModuleNotFoundError as error:
        sys.exit(f"LLaMA-Factory cannot be imported ({error}). Install it with: pip install llamafactory")

    arguments: Any = OmegaConf.to_container(OmegaConf.merge(OmegaConf.load(config), OmegaConf.from_cli(sys.argv[2:])))
    os.chdir(config.parent)
    _check_gpus(arguments)
    if arguments.get("resume_from_checkpoint") is None and not arguments.get("overwrite_output_dir"):
        checkpoint = last_whole_checkpoint(Path(arguments.get("output_dir", "")))
        # False, where None would have LLaMA-Factory resume from half a checkpoint.
        arguments["resume_from_checkpoint"] = str(checkpoint) if checkpoint else False
    run_exp(arguments)


def _check_gpus(arguments: dict[str, Any]) -> None:
    if arguments.get("use_cpu") or "LOCAL_RANK" not in os.environ:
        return
    import torch

    if int(os.environ["LOCAL_RANK"]) >= torch.cuda.device_count():
        wanted, there = os.environ.get("LOCAL_WORLD_SIZE"), torch.cuda.device_count()
        sys.exit(f"{wanted} GPUs are asked for and PyTorch sees {there}; lower gpus, or free the others.")


if __name__ == "__main__":
    main()
