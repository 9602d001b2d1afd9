"""The directory of a training run: what was to be trained, on which data, what came of it, and how far it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from curate import __version__
from curate.adapters.exports import Fingerprint
from curate.adapters.stage import Stage
from curate.corpus import UserError, atomic_file, exclusive

State = Literal["configured", "proven", "trained", "finished"]
"""How far a run is: its configuration written, its data proven, its last step done, its model and curves there."""

_KIND: Final = "medcurate-run"
_RECORD: Final = "run.json"
_FREE_TO_CHANGE: Final = frozenset({"environment", "micro_batch_size", "save_every", "gpu_memory_utilization"})
"""Entries of a stage that do not change what comes out of a run: its rows a step stay the same."""
_FREE_ARGUMENTS: Final = frozenset(
    {"save_steps", "logging_steps", "dataloader_num_workers", "preprocessing_num_workers", "ddp_timeout"}
)
"""The same among the trainer's own settings."""


class RunDirectory:
    """Reads and writes what a run remembers. All files but the trainer's own are written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.record: dict[str, Any] = {}

    @property
    def state(self) -> State | None:
        """How far the run is; None before its configuration is written."""
        return self.record.get("state")

    @property
    def model(self) -> Path:
        """The result, in Hugging Face format."""
        return self.path / "model"

    @property
    def log(self) -> Path:
        """Everything that the trainer printed, over all attempts."""
        return self.path / "log.txt"

    @property
    def metrics(self) -> Path:
        """What training logged: one JSON object a logged step."""
        return self.path / "metrics.jsonl"

    @contextmanager
    def held(self) -> Iterator[RunDirectory]:
        """Hold the directory against other processes, with its record read.

        Raises UserError when another process has it, or it holds something that is no run.
        """
        if self.path.exists():
            self._check_ours()
        with exclusive(self.path):
            if (self.path / _RECORD).exists():
                self.record = json.loads((self.path / _RECORD).read_bytes())
            yield self

    def _check_ours(self) -> None:
        if not self.path.is_dir():
            raise UserError(f"{self.path} is a file; name another output")
        names = {entry.name for entry in self.path.iterdir()} - {".lock"}
        if not names:
            return
        try:
            kind = json.loads((self.path / _RECORD).read_bytes()).get("kind")
        except (OSError, ValueError, AttributeError):
            kind = None
        if kind != _KIND:
            raise UserError(f"{self.path} holds something that is no training run; name another output, or empty it")

    def begin(self, stage: Stage) -> None:
        """Take up the run of ``stage``, or begin it.

        Raises UserError when training has begun with settings that would make another model.
        """
        settings = stage.model_dump(mode="json")
        recorded = self.record.get("stage")
        if recorded is None:
            self.record = {"kind": _KIND, "version": __version__, "stage": settings, "state": None, "attempts": []}
            self.save()
            return
        if settings == recorded:
            return
        differing = sorted(_differing(recorded, settings))
        if differing and self.record["attempts"]:
            name = differing[0]
            old, new = _value(recorded, name), _value(settings, name)
            raise UserError(
                f"{self.path} was begun with other settings: {', '.join(differing)} ({name} was {old!r} and is now "
                f"{new!r}). Name another output, or remove that directory to begin anew"
            )
        self.record["stage"] = settings
        if differing:  # nothing was trained, so nothing is lost
            self.record["state"] = None
        self.save()

    def advance(self, state: State, **entries: Any) -> None:
        """Note that the run has got this far, with what belongs to it."""
        self.record |= {"state": state, **entries}
        self.save()

    def exports(self) -> dict[str, Fingerprint]:
        """The fingerprints of the exports as they were proven."""
        return dict(self.record.get("exports", {}))

    def note_attempt(self, outcome: str, seconds: float) -> None:
        """Remember how a training process ended."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.record["attempts"].append({"at": at, "outcome": outcome, "seconds": round(seconds, 1)})
        self.save()

    def save(self) -> None:
        """Write ``run.json``."""
        self.write(_RECORD, json.dumps(self.record, indent=2, ensure_ascii=False) + "\n")

    def write(self, name: str, text: str) -> None:
        """Write a file of the run, whole or not at all."""
        with atomic_file(self.path / name) as file:
            file.write(text.encode())

    def write_metrics(self, points: list[Mapping[str, Any]]) -> None:
        """Keep what training logged, one line a step."""
        self.write("metrics.jsonl", "".join(json.dumps(point) + "\n" for point in points))

    def proof(self) -> dict[str, Any]:
        """What the trainer's loader found. UserError when the proof left nothing behind."""
        try:
            proof: dict[str, Any] = json.loads((self.path / "proof.json").read_bytes())
        except (OSError, ValueError):
            raise UserError(
                f"the proof wrote no result to {self.path / 'proof.json'}; its output is in proof.txt"
            ) from None
        return proof

    def forget_proof(self) -> None:
        """Remove what a proof prepared: it was made of exports that have changed."""
        shutil.rmtree(self.path / "data", ignore_errors=True)
        (self.path / "proof.json").unlink(missing_ok=True)


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """The settings that differ and make another model."""
    for name in (before.keys() | now.keys()) - _FREE_TO_CHANGE - {"arguments"}:
        if before.get(name) != now.get(name):
            yield name
    old, new = before["arguments"], now["arguments"]
    for name in (old.keys() | new.keys()) - _FREE_ARGUMENTS:
        if old.get(name) != new.get(name):
            yield f"arguments.{name}"


def _value(settings: Mapping[str, Any], name: str) -> Any:
    _, argument, key = name.rpartition("arguments.")
    return settings["arguments"].get(key) if argument else settings.get(name)
