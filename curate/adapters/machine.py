"""Whether this machine and this environment can train: `python -m curate.adapters.machine GPUS [MODULE=ADVICE ...]`.

Runs in the trainer's environment, before anything that takes long. Says on stderr what is missing, and ends with 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec


def lacking(gpus: int, modules: Mapping[str, str]) -> Iterator[str]:
    """What is missing for a training on ``gpus`` GPUs that imports ``modules``, each with what to do without it."""
    needed = {"torch": "make the environment anew with make_env.sh", **modules}
    absent = [module for module in needed if find_spec(module) is None]
    for module in absent:
        yield f"{module} is not installed in the trainer's environment: {needed[module]}"
    if gpus and "torch" not in absent:
        import torch

        if (there := torch.cuda.device_count()) < gpus:
            yield f"gpus is {gpus}, and PyTorch sees {there} on this machine"


def main(arguments: Sequence[str]) -> None:
    """Check, and exit with a sentence for each thing that is missing."""
    gpus, *modules = arguments
    found = list(lacking(int(gpus), dict(entry.split("=", 1) for entry in modules)))
    if found:
        sys.exit("; ".join(found))


if __name__ == "__main__":
    main(sys.argv[1:])
