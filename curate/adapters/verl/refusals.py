"""What is refused before anything starts: settings that verl would ignore, and exports that it can't read."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, Final

from curate.adapters.credentials import refuse_credentials
from curate.adapters.exports import describe_export
from curate.adapters.stage import GrpoStage
from curate.adapters.verl.hydra_text import assignment
from curate.adapters.verl.overrides import Files, plain_key, settings
from curate.corpus import UserError

IGNORED: Final = {
    "custom_reward_function": "reward.module of the stage",
    "reward_model": "reward.reward_model.…, and reward.module of the stage for the function",
    "sandbox_fusion": "reward.sandbox_fusion.…",
}
"""Old keys (verl's legacy_reward_impl.yaml) that verl's configuration still takes and its trainer never looks at, and
what to use in place of each."""
IGNORED_BY_FSDP: Final = ("actor_rollout_ref.actor.freeze_vision_tower",)
"""Keys that no code of verl 0.9.1's FSDP engine reads."""


def check(stage: GrpoStage) -> None:
    """Raise UserError for what of ``stage`` verl would ignore, misread or stop at."""
    _check_pictures(stage)
    validation_files(stage)
    if stage.lora and stage.lora.dropout:
        raise UserError("lora.dropout: verl's FSDP engine has no dropout in LoRA; leave it out")
    if stage.gpus and stage.gpus % stage.tensor_parallel:
        raise UserError(f"tensor_parallel {stage.tensor_parallel} does not divide gpus {stage.gpus}")
    known = {plain_key(setting.key): setting for setting in settings(stage, Path("/run"), Files((), (), 16))}
    seen: dict[str, str] = {}
    refuse_credentials(stage.arguments)
    for key, value in stage.arguments.items():
        _check_argument(key, value)
        name = plain_key(key)
        if name in seen:
            raise UserError(f"arguments name {seen[name]} and {key}, which are one setting")
        seen[name] = key
        if name in known and known[name].decided_by:
            raise UserError(f"arguments may not set {key}: it follows from {known[name].decided_by}")
        if name == "trainer.logger" and "file" not in (value if isinstance(value, list) else [value]):
            raise UserError("trainer.logger must keep 'file', from which curate train reads the progress")


def validation_files(stage: GrpoStage) -> list[Path]:
    """The files that validation reads, as the user's paths; empty for a stage that never validates.

    They are all of the export that ``validation`` names, or else the ``val.parquet`` of the exports trained on. Raises
    UserError when there are none and ``validate_every`` asks for some.
    """
    if stage.validate_every < 1:
        return []
    if stage.validation is not None:
        found = describe_export(stage.validation).get("format")
        if found != "verl":
            raise UserError(
                f"{stage.validation}, named by validation, is an export for {found}; it must be one for verl"
            )
        candidates = [stage.validation / name for name in ("train.parquet", "val.parquet")]
    else:
        candidates = [data.path / "val.parquet" for data in stage.data]
    files = [path for path in candidates if path.is_file()]
    if not files:
        raise UserError(
            f"validate_every is {stage.validate_every}, but there is nothing to validate on: export with "
            "--val-fraction above 0, name another export under validation, or set validate_every: -1"
        )
    return files


def _check_argument(key: str, value: Any) -> None:
    name = plain_key(key)
    top = name.split(".", 1)[0]
    if top in IGNORED:
        raise UserError(f"verl takes {key} and ignores it; use {IGNORED[top]}")
    if name in IGNORED_BY_FSDP:
        raise UserError(f"verl takes {key} and ignores it: its FSDP engine trains all parts, or LoRA adapters (lora)")
    if name.startswith("~") or key.startswith("~"):
        raise UserError(f"{key} would delete a setting of verl")
    try:
        assignment(key, value)
    except ValueError as error:
        raise UserError(f"arguments: {error}") from None


def _check_pictures(stage: GrpoStage) -> None:
    """verl concatenates all files, so their columns must have one type: pictures embedded in all, or in none."""
    placed = {data.path: describe_export(data.path).get("options", {}).get("images") for data in stage.data}
    if stage.validation is not None and stage.validate_every > 0:
        placed[stage.validation] = describe_export(stage.validation).get("options", {}).get("images")
    if len(set(placed.values())) > 1:
        kinds = ", ".join(f"{path} ({kind})" for path, kind in placed.items())
        raise UserError(
            f"pictures are embedded in some exports and files in others: {kinds}; export all with one --images"
        )


def nearest(name: str, known: list[str]) -> str:
    """A hint at the known name that ``name`` was perhaps meant to be, or nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
