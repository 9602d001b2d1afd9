"""Make `run/model` when the training has ended: `python -m curate.adapters.llamafactory.finish RUN`.

Full weights are moved out of LLaMA-Factory's output directory, in the precision that they are used in; adapters are
merged by LLaMA-Factory's own export. The model is written under another name first. Runs in the trainer's environment.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any, Final

_FOR_TEXT_AND_PICTURES: Final = (
    "*tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
    "*processor_config.json",
)
_CONFIGURATION: Final = ("config.json", "generation_config.json")
_NEW_TOKENS: Final = ("add_tokens", "add_special_tokens", "new_special_tokens_config")
"""Arguments of LLaMA-Factory that give the model another tokenizer than it started with."""


def finish(run: Path) -> None:
    """Write ``run/model``, or leave it as it is when it is there. Raises FileNotFoundError when nothing was trained."""
    import yaml

    configuration = yaml.safe_load((run / "config" / "train.yaml").read_text(encoding="utf-8"))
    trained, target = run / "checkpoints", run / "model"
    if not target.exists():
        partial = run / ".model.partial"
        shutil.rmtree(partial, ignore_errors=True)
        precision = "float32" if configuration.get("use_cpu") else "bfloat16"
        if configuration["finetuning_type"] == "lora":
            _merge(configuration, trained, partial, precision)
        else:
            _take(trained, partial, precision)
        if not any(configuration.get(name) for name in _NEW_TOKENS):
            _restore_tokenizer(configuration["model_name_or_path"], partial)
        _mend_configuration(partial / "config.json", precision)
        partial.rename(target)
    if configuration["finetuning_type"] != "lora":
        # The last checkpoint has the same weights in it, should anyone resume from there.
        for path in trained.glob("*.safetensors*"):
            path.unlink()


def _take(trained: Path, target: Path, precision: str) -> None:
    """Copy the model that training left in ``trained``, with its weights in ``precision``, file by file."""
    weights = sorted(trained.glob("model*.safetensors"))
    if not weights:
        raise FileNotFoundError(f"{trained} holds no weights: the training has not come to its end")
    target.mkdir()
    for path in weights:
        _write_weights(path, target / path.name, precision)
    _copy(trained, target, (*_FOR_TEXT_AND_PICTURES, *_CONFIGURATION, "model.safetensors.index.json"))


def _restore_tokenizer(model: str, target: Path) -> None:
    """Training changes neither tokenizer nor processor, but saves them with settings of its own, as padding right."""
    if Path(model).is_dir():
        start = Path(model)
    else:
        from transformers.utils import cached_file

        start = Path(cached_file(model, "config.json")).parent
    _copy(start, target, _FOR_TEXT_AND_PICTURES)


def _copy(source: Path, target: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for path in source.glob(pattern):
            shutil.copyfile(path, target / path.name)


def _write_weights(source: Path, target: Path, precision: str) -> None:
    """LLaMA-Factory keeps trained parts in 32 bits and leaves frozen ones as they were: here all get ``precision``."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(source, framework="pt") as file:
        tensors = {name: file.get_tensor(name).to(getattr(torch, precision)) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, target, metadata={"format": "pt"})


def _mend_configuration(config: Path, precision: str) -> None:
    """Note the precision of the weights, and that answers may be cached: training switches that off, and saves it."""
    content: dict[str, Any] = json.loads(config.read_bytes())
    for part in (content, content.get("text_config", {}), content.get("vision_config", {})):
        new = {"dtype": precision, "torch_dtype": precision, "use_cache": True}
        part.update({name: value for name, value in new.items() if name in part})
    config.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _merge(configuration: dict[str, Any], trained: Path, target: Path, precision: str) -> None:
    from llamafactory.train.tuner import export_model

    from curate.adapters.llamafactory.raw_template import register_raw_templates

    register_raw_templates()
    export_model(
        {
            "model_name_or_path": configuration["model_name_or_path"],
            "adapter_name_or_path": str(trained),
            "finetuning_type": "lora",
            "template": configuration["template"],
            "image_max_pixels": configuration["image_max_pixels"],
            "infer_dtype": precision,
            "export_dir": str(target),
            "export_device": "cpu",
        }
    )
    # For another server than those the model goes to; it would name a template that only this package knows.
    (target / "Modelfile").unlink(missing_ok=True)


if __name__ == "__main__":
    finish(Path(sys.argv[1]))
