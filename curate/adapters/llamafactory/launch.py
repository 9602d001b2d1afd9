"""Run a LLaMA-Factory training configuration, with the raw templates of this package available to it.

    python -m curate.adapters.llamafactory.launch exports/llamafactory-cpt/train.yaml [key=value ...]
    torchrun --nproc_per_node 8 -m curate.adapters.llamafactory.launch exports/llamafactory-cpt/train.yaml

It is `llamafactory-cli train` with two differences: `template: qwen3_vl_cpt` and its kin exist, and relative paths in
the configuration and after it (`dataset_dir`, `media_dir`, `output_dir`, a local model) start at the configuration's
own folder instead of wherever the command was typed, so an export can be moved and still trains.
"""

import os
import sys
from pathlib import Path

from curate.adapters.llamafactory.raw_template import register_raw_templates


def main() -> None:
    """Train with the configuration named first on the command line; later `key=value` arguments override its entries.

    Exits with a message if the configuration is missing or LLaMA-Factory is not installed; errors of the training
    itself are LLaMA-Factory's own.
    """
    if len(sys.argv) < 2:
        sys.exit("usage: python -m curate.adapters.llamafactory.launch CONFIG.yaml [key=value ...]")
    config = Path(sys.argv[1]).resolve()
    if config.suffix not in {".yaml", ".yml"} or not config.is_file():
        sys.exit(f"{sys.argv[1]}: not a YAML file that exists; name a LLaMA-Factory training configuration.")
    try:
        register_raw_templates()
        from llamafactory.train.tuner import run_exp
    except ModuleNotFoundError as error:
        sys.exit(f"LLaMA-Factory cannot be imported ({error}). Install it with: pip install llamafactory")

    os.chdir(config.parent)
    sys.argv[1] = str(config)
    run_exp()  # without arguments it reads sys.argv, as under llamafactory-cli


if __name__ == "__main__":
    main()
