"""Take a stage from its description to a trained model: check, prove, train, finish; each step once, in this order."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from curate.adapters.adapter import Adapter, Command
from curate.adapters.disk import check_disk
from curate.adapters.environments import TITLES, Trainer, TrainerEnvironment, find_environment
from curate.adapters.exports import (
    Fingerprint,
    changes,
    check_exports,
    exports_of,
    fingerprint,
    fingerprint_of_model,
)
from curate.adapters.last_error import last_error
from curate.adapters.process import Ended, run_logged
from curate.adapters.run_directory import RunDirectory
from curate.adapters.stage import Stage, absolute_model
from curate.corpus import UserError

if TYPE_CHECKING:
    from curate.sources.validate import Report

TRAINER: Final[dict[str, Trainer]] = {"cpt": "llamafactory", "sft": "llamafactory", "grpo": "verl"}
"""The trainer of each stage."""

OnProgress = Callable[[Sequence[Mapping[str, Any]], int | None], None]
"""Called with what training has logged so far and the steps of the whole, while it runs."""


class DataProblemsError(UserError):
    """The data of a stage would stop the training, or be dropped from it without a word."""

    status = 1

    def __init__(self, problems: Sequence[Mapping[str, Any]]) -> None:
        """``problems`` have ``file``, ``row`` and ``message``."""
        super().__init__(f"{len(problems):,} problem(s) that training would stop at, or drop without a word")
        self.problems = problems


def adapter_of(stage: Stage) -> Adapter:
    """The adapter of the trainer that ``stage`` runs on."""
    if TRAINER[stage.stage] == "verl":
        from curate.adapters.verl.adapter import VerlAdapter

        return VerlAdapter()
    from curate.adapters.llamafactory.adapter import LlamaFactoryAdapter

    return LlamaFactoryAdapter()


@dataclass
class Training:
    """A run that is held open. Its steps can be taken again after an interruption; what is done is not done again."""

    stage: Stage
    adapter: Adapter
    run: RunDirectory

    @property
    def title(self) -> str:
        """The trainer's name for people."""
        return TITLES[TRAINER[self.stage.stage]]

    def is_finished(self) -> bool:
        """Whether the run is done, with these settings on these exports. Raises UserError when it was with others."""
        if self.run.state != "finished":
            return False
        self.run.begin(self.stage)
        return self.is_proven()

    def configure(self) -> None:
        """Write the trainer's configuration and the command, from the stage alone. Nothing is started."""
        self.run.begin(self.stage)
        self.adapter.configure(self.stage, self.run.path)
        self.run.write("stage.yaml", yaml.safe_dump(self.stage.model_dump(mode="json"), sort_keys=False))
        if self.run.state is None:
            self.run.advance("configured")

    def command_line(self, command: Command, python: str | Path) -> str:
        """A command as one could type it."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in command.variables.items()]
        return " ".join([*variables, shlex.join([str(python), *command.arguments])])

    def write_command(self, python: str | Path) -> str:
        """Keep the command of the training in ``command.txt``, and return it."""
        text = self.command_line(self.adapter.train(self.stage, self.run.path), python)
        self.run.write("command.txt", text + "\n")
        return text

    def find_environment(self, named: Path | None = None) -> TrainerEnvironment:
        """The trainer's environment, with its package versions kept in ``packages.txt``."""
        trainer = TRAINER[self.stage.stage]
        environment = find_environment(trainer, named or self.stage.environment, self.adapter.versions)
        versions = [f"{name}=={version}" for name, version in sorted(environment.packages.items(), key=_caseless)]
        self.run.write("packages.txt", "\n".join([f"python=={environment.python_version}", *versions]) + "\n")
        return environment

    def check_machine(self, environment: TrainerEnvironment) -> None:
        """Raise UserError when this machine has too few GPUs, or the environment lacks what training imports."""
        needed = self.adapter.needed(self.stage)
        if self.run.state in ("trained", "finished") or not (self.stage.gpus or needed):
            return  # a model is made from its last checkpoint on any machine
        modules = [f"{module}={advice}" for module, advice in needed.items()]
        command = Command(("-m", "curate.adapters.machine", str(self.stage.gpus), *modules))
        ended = self._run(command, environment, self.run.log)
        if ended.status:
            raise UserError(f"this stage cannot be trained here: {last_error(ended.lines, ended.status)}")

    def validate(self) -> Report:
        """Check the exports as `curate validate` does."""
        from curate.sources.validate import ValidateOptions, validate

        return validate(exports_of(self.stage), ValidateOptions(None, {}, (), decode=False, limit=20))

    def is_proven(self) -> bool:
        """Whether the exports and the model were proven for this run and are still the same.

        Raises UserError when they have changed after training began: what comes out would be of neither content.
        """
        if self.run.state in (None, "configured"):
            return False
        changed = changes(self.run.exports(), self._fingerprints())
        if changed and self.run.record["attempts"]:
            raise UserError(
                f"{changed[0]} has changed since it was proven for {self.run.path}, where training has begun; name "
                "another output to train on it as it is now, or remove that directory"
                + (f" ({len(changed) - 1} more file(s) have changed)" if len(changed) > 1 else "")
            )
        return not changed

    def prove(self, environment: TrainerEnvironment) -> dict[str, Any]:
        """Load the exports as training will, in the trainer's environment, and return what was found.

        Raises DataProblemsError for rows that training would stop at or lose, UserError when the proof cannot run.
        """
        before = self._fingerprints()
        # First, so that a proof that fails leaves no trace of an earlier one.
        self.run.advance("configured", exports={})
        self.run.forget_proof()
        ended = self._run(self.adapter.prove(self.stage, self.run.path), environment, self.run.path / "proof.txt")
        if ended.status:
            raise UserError(
                f"{self.title} cannot load this stage: {last_error(ended.lines, ended.status)}\n"
                f"All it said: {self.run.path / 'proof.txt'}"
            )
        proof = self.run.proof()
        if proof["problems"]:
            raise DataProblemsError(proof["problems"])
        after = self._fingerprints()
        if changed := changes(before, after):
            raise UserError(
                f"{changed[0]} changed while it was being proven; run the command again when it is complete"
            )
        self.run.advance("proven", exports=after, seconds={"proof": round(ended.seconds, 1)})
        return proof

    def train(self, environment: TrainerEnvironment, on_progress: OnProgress, on_line: Callable[[str], None]) -> None:
        """Train to the end, going on from the last checkpoint.

        Raises UserError with the trainer's last error, or when the disk is too small; KeyboardInterrupt when stopped.
        """
        if self.run.state in ("trained", "finished"):
            return
        check_disk(self.run.path, self.run.proof()["parameters"])
        started = time.monotonic()

        def tick() -> None:
            on_progress(self.adapter.metrics(self.run.path), self.adapter.total_steps(self.run.path))

        self.run.note_attempt("begun", 0)
        try:
            command = self.adapter.train(self.stage, self.run.path)
            ended = self._run(command, environment, self.run.log, on_line=on_line, on_tick=tick)
        except KeyboardInterrupt:
            self._end_attempt("interrupted", started)
            raise
        if ended.status:
            reason = last_error(ended.lines, ended.status)
            self._end_attempt(f"failed: {reason}", started)
            raise UserError(
                f"{self.title} stopped: {reason}\nIts whole output: {self.run.log}. When the cause is mended, the same "
                "command goes on from the last checkpoint."
            )
        self._end_attempt("trained", started)
        seconds = sum(attempt["seconds"] for attempt in self.run.record["attempts"])
        self.run.advance("trained", seconds=self.run.record["seconds"] | {"training": round(seconds, 1)})

    def finish(self, environment: TrainerEnvironment) -> None:
        """Make the model, the curves and the comparison of weights."""
        if self.run.state == "finished":
            return
        command = self.adapter.finish(self.stage, self.run.path)
        started = time.monotonic()
        if command is not None:
            self._run_or_raise(command, environment, "make the model from the last checkpoint")
        if not (self.run.model / "config.json").is_file():
            raise UserError(f"{self.title} ended well and left no model in {self.run.model}; see {self.run.log}")
        self.run.write_metrics(list(self.adapter.metrics(self.run.path)))
        self._draw(environment)
        weights = self._compare(environment)
        seconds = self.run.record["seconds"] | {"finish": round(time.monotonic() - started, 1)}
        self.run.advance("finished", seconds=seconds, weights=weights)

    def _end_attempt(self, outcome: str, started: float) -> None:
        self.run.record["attempts"].pop()
        self.run.note_attempt(outcome, time.monotonic() - started)

    def _draw(self, environment: TrainerEnvironment) -> None:
        """The curves as a picture, by the plotting library that comes with the trainer."""
        keys = "reward,val_accuracy" if self.stage.stage == "grpo" else "loss"
        panel = f"{self.stage.stage.upper()}={self.run.metrics}:{keys}"
        command = Command(("-m", "curate.adapters.curves", str(self.run.path / "curves.png"), panel))
        self._run_or_raise(command, environment, "draw the curves")

    def _compare(self, environment: TrainerEnvironment) -> dict[str, Any] | None:
        """Which parts of the model have changed, and by how much; None for a hub's model that is not in the cache."""
        target = self.run.path / "weights.json"
        before = absolute_model(self.stage.model)
        arguments = ("-m", "curate.adapters.weights", before, str(self.run.model), "--json", str(target))
        ended = self._run(Command(arguments), environment, self.run.log)
        if ended.status and not Path(before).is_dir():
            return None
        self._raise_if_failed(ended, "compare the weights")
        compared: dict[str, Any] = json.loads(target.read_bytes())
        return compared

    def _run_or_raise(self, command: Command, environment: TrainerEnvironment, purpose: str) -> None:
        self._raise_if_failed(self._run(command, environment, self.run.log), purpose)

    def _raise_if_failed(self, ended: Ended, purpose: str) -> None:
        if ended.status:
            raise UserError(
                f"{self.title} could not {purpose}: {last_error(ended.lines, ended.status)}\n"
                f"Its whole output: {self.run.log}. The training itself is done and kept."
            )

    def _run(
        self,
        command: Command,
        environment: TrainerEnvironment,
        log: Path,
        *,
        on_line: Callable[[str], None] | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> Ended:
        arguments: list[str | Path] = [environment.python, *command.arguments]
        return run_logged(arguments, log, variables=command.variables, on_line=on_line, on_tick=on_tick)

    def _fingerprints(self) -> dict[str, Fingerprint]:
        exports = {str(path): fingerprint(path) for path in exports_of(self.stage)}
        return exports | {self.stage.model: fingerprint_of_model(self.stage.model)}


def _caseless(item: tuple[str, str]) -> str:
    return item[0].lower()


@contextmanager
def open_training(stage: Stage) -> Iterator[Training]:
    """Hold the run directory of a stage. Raises UserError for settings or exports that cannot work; starts nothing."""
    adapter = adapter_of(stage)
    check_exports(stage)
    adapter.check(stage)
    with RunDirectory(stage.output).held() as run:
        yield Training(stage, adapter, run)
