"""Train with verl from a file of overrides, with the mends of this package loaded in each of its processes.

    python -m curate.adapters.verl.launch RUN/config/overrides.txt

It is `python -m verl.trainer.main_ppo OVERRIDES...` with three differences: the checkpoint folder is settled first, so
that a run which was killed while saving resumes; each attempt logs to a file of its own, since verl empties the file
it logs to; and `VERL_USE_EXTERNAL_MODULES` names the mends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from curate.adapters.verl.checkpoints import settle
from curate.adapters.verl.metrics import next_log
from curate.adapters.verl.overrides import MENDS, read_overrides


def main() -> None:
    """Exits with a sentence where the file or verl is missing; errors of the training itself are verl's own."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("usage: python -m curate.adapters.verl.launch RUN/config/overrides.txt")
    file = Path(sys.argv[1]).resolve()
    run, lines = file.parent.parent, read_overrides(file)
    step = settle(run / "checkpoints")
    print(f"Going on from step {step}." if step else "Starting at step 1.", flush=True)
    os.environ["VERL_FILE_LOGGER_PATH"] = str(next_log(run))
    os.environ.setdefault("VERL_USE_EXTERNAL_MODULES", MENDS)
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        del os.environ["CUDA_VISIBLE_DEVICES"]  # Ray would count no device, even the pretended one of a smoke run
    try:
        from verl.trainer.main_ppo import main as train
    except ModuleNotFoundError as error:
        sys.exit(f"verl cannot be imported ({error}); it belongs into an environment of its own, see docs/grpo.md")
    sys.argv[1:] = lines
    train()


if __name__ == "__main__":
    main()
