"""Make `RUN/model` from the last checkpoint: `python -m curate.adapters.verl.merge RUN`.

verl's own merger puts the shards together and writes bfloat16 with the tokenizer and processor. LoRA adapters, which
it leaves beside the unchanged base, are merged into the weights here. The folder appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from curate.adapters.verl.checkpoints import TRACKER, actor_of, last_step, named_step

_NEEDED: Final = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")
_PROCESSOR: Final = ("preprocessor_config.json", "processor_config.json")


def merge(run: Path) -> Path:
    """The merged model's folder. Exits with a message when there is no whole checkpoint or the merger fails."""
    checkpoints = run / "checkpoints"
    step = last_step(checkpoints)
    if step is None:
        sys.exit(f"{checkpoints} has no whole checkpoint to make a model from; train first")
    if (named := named_step(checkpoints)) not in (None, step):
        sys.exit(
            f"training saved step {named} last, and {checkpoints} has no whole checkpoint of it; to make the model "
            f"from step {step} instead, write {step} into {checkpoints / TRACKER}"
        )
    partial, model = run / ".model.partial", run / "model"
    shutil.rmtree(partial, ignore_errors=True)
    actor = actor_of(checkpoints, step)
    arguments = ["merge", "--backend", "fsdp", "--local_dir", str(actor), "--target_dir", str(partial)]
    if subprocess.run([sys.executable, "-m", "verl.model_merger", *arguments], check=False).returncode:
        sys.exit(f"verl's model merger failed on {actor}; its message is above")
    if (adapter := partial / "lora_adapter").is_dir():
        _merge_adapter(partial, adapter)
    missing = [name for name in _NEEDED if not (partial / name).exists()]
    vision = "vision_config" in json.loads((partial / "config.json").read_bytes())
    if vision and not any((partial / name).exists() for name in _PROCESSOR):
        missing.append(_PROCESSOR[0])
    if missing:
        sys.exit(f"the merged model of {actor} lacks {', '.join(missing)}, which its checkpoint should have had")
    shutil.rmtree(model, ignore_errors=True)
    partial.rename(model)
    print(f"{model}: the weights of step {step} in bfloat16")
    return model


def _merge_adapter(model: Path, adapter: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    sees = hasattr(AutoConfig.from_pretrained(model), "vision_config")
    classes = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    # In 32 bits, so that the sum of base and adapter is rounded once.
    base = classes.from_pretrained(model, dtype=torch.float32)
    merged = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    merged.to(torch.bfloat16).save_pretrained(model)
    shutil.rmtree(adapter)


def main() -> None:
    """Merge the last checkpoint of the run directory named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m curate.adapters.verl.merge RUN")
    merge(Path(sys.argv[1]).absolute())


if __name__ == "__main__":
    main()
