"""Train with verl from a file of overrides, with the mends of this package loaded in each of its processes.

    python -m curate.adapters.verl.launch RUN/config/overrides.txt

It is `python -m verl.trainer.main_ppo OVERRIDES...` with three differences: the checkpoint folder is settled first, so
that a run which was killed while saving resumes; each attempt logs to a file of its own, since verl empties the file
it logs to; and `VERL_USE_EXTERNAL_MODULES` names the mends. What workers need goes through Ray's runtime environment:
those of a cluster that runs already (`ray start`, `RAY_ADDRESS`) don't inherit this process's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from curate.adapters.verl.checkpoints import named_step, settle
from curate.adapters.verl.hydra_text import assignment
from curate.adapters.verl.metrics import next_log
from curate.adapters.verl.overrides import KEPT_KEY, MENDS, WORKER_VARIABLES, read_overrides


def main() -> None:
    """Exits with a sentence where the file or verl is missing; errors of the training itself are verl's own."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("usage: python -m curate.adapters.verl.launch RUN/config/overrides.txt")
    file = Path(sys.argv[1]).resolve()
    run, lines = file.parent.parent, read_overrides(file)
    named = named_step(run / "checkpoints")
    step = settle(run / "checkpoints", _kept(lines))
    if named is not None and named != step:
        print(f"verl saved step {named} last, and its checkpoint is not whole or has been removed.")
    print(f"Going on from step {step}." if step else "Starting at step 1.", flush=True)
    os.environ.setdefault("VERL_USE_EXTERNAL_MODULES", MENDS)
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        del os.environ["CUDA_VISIBLE_DEVICES"]  # Ray would count no device, even the pretended one of a smoke run
    try:
        from verl.trainer.main_ppo import main as train
    except ModuleNotFoundError as error:
        sys.exit(f"verl cannot be imported ({error}); it belongs into an environment of its own, see docs/grpo.md")
    sys.argv[1:] = [*lines, assignment(f"++{WORKER_VARIABLES}.VERL_FILE_LOGGER_PATH", str(next_log(run)))]
    train()


def _kept(lines: list[str]) -> int | None:
    """How many checkpoints verl keeps, None for all: it takes anything but a number above 0 for that."""
    value = next((line.partition("=")[2] for line in lines if line.startswith(f"{KEPT_KEY}=")), "null")
    return int(value) if value.isdecimal() else None


if __name__ == "__main__":
    main()
