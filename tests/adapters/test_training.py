"""The steps of a run, with a stand-in for the trainer: what an earlier proof may still be good for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from curate.adapters.adapter import Command
from curate.adapters.environments import TrainerEnvironment
from curate.adapters.run_directory import RunDirectory
from curate.adapters.stage import Stage, parse_stage
from curate.adapters.train import DataProblemsError, Training
from curate.corpus import UserError

ENVIRONMENT = TrainerEnvironment(Path(sys.executable), "3", {})
PROOF = """
import json, sys
from pathlib import Path
export, run = map(Path, sys.argv[1:])
bad = "bad" in (export / "train.parquet").read_text()
problems = [{"file": str(export), "row": 1, "message": "it is bad"}] if bad else []
(run / "proof.json").write_text(json.dumps({"problems": problems, "parameters": {}}))
"""


class Stub:
    """Proves that an export does not say `bad`."""

    trainer, versions = "stub", ""

    def check(self, stage: Stage) -> None: ...

    def configure(self, stage: Stage, run: Path) -> None: ...

    def needed(self, stage: Stage) -> Mapping[str, str]:
        return {"no_such_module": "there is none"} if stage.gpus else {}

    def prove(self, stage: Stage, run: Path) -> Command:
        return Command(("-c", PROOF, str(stage.data[0].path), str(run)))

    def train(self, stage: Stage, run: Path) -> Command:
        return Command(("-c", ""))

    def finish(self, stage: Stage, run: Path) -> Command | None:
        return None

    def metrics(self, run: Path) -> Sequence[Mapping[str, Any]]:
        return []

    def total_steps(self, run: Path) -> int | None:
        return None


@pytest.fixture
def export(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "export.json").write_text(json.dumps({"kind": "medcurate-export", "format": "verl"}))
    (folder / "train.parquet").write_text("good")
    return folder


def training(run: RunDirectory, export: Path, **settings: object) -> Training:
    content = {"stage": "grpo", "model": "m", "data": [{"path": str(export)}], "output": str(run.path), "batch_size": 8}
    begun = Training(parse_stage({**content, **settings}, "stage.yaml"), Stub(), run)
    begun.configure()
    return begun


def test_a_proof_that_fails_leaves_nothing_of_an_earlier_one(export: Path, tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").held() as run:
        begun = training(run, export)
        begun.prove(ENVIRONMENT)
        assert begun.is_proven()
        (export / "train.parquet").write_text("bad")
        assert not begun.is_proven()
        with pytest.raises(DataProblemsError):
            begun.prove(ENVIRONMENT)
        (export / "train.parquet").write_text("good")
        assert not begun.is_proven()  # what the trainer would read was prepared from the bad one


def test_what_a_stage_validates_on_is_proven_too(export: Path, tmp_path: Path) -> None:
    validation = tmp_path / "validation"
    validation.mkdir()
    (validation / "val.parquet").write_text("one")
    with RunDirectory(tmp_path / "run").held() as run:
        begun = training(run, export, validation=str(validation))
        begun.prove(ENVIRONMENT)
        run.note_attempt("begun", 0)
        (validation / "val.parquet").write_text("two")
        with pytest.raises(UserError, match=r"validation/val.parquet has changed since it was proven"):
            begun.is_proven()


def test_a_machine_that_cannot_train_is_told_before_anything_takes_long(export: Path, tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").held() as run:
        begun = training(run, export)
        with pytest.raises(
            UserError, match=r"cannot be trained here: .*no_such_module is not installed .*there is none"
        ):
            begun.check_machine(ENVIRONMENT)
        assert begun.stage.gpus == 1
        run.advance("trained")
        begun.check_machine(ENVIRONMENT)  # to make the model of the last checkpoint takes no GPU
