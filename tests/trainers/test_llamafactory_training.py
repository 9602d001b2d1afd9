"""LLaMA-Factory trains through the adapter: proven, killed, resumed, finished, and only the named parts change."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.cli import curate

from curate.adapters.adapter import Command
from curate.adapters.llamafactory.adapter import LlamaFactoryAdapter
from curate.adapters.stage import Stage, parse_stage

EXAMPLES = Path(__file__).parents[2] / "examples" / "raw"
ADAPTER = LlamaFactoryAdapter()


@dataclass(frozen=True)
class Run:
    """A stage that was trained to its end."""

    directory: Path
    stage: Stage
    output: dict[str, str]
    """What each command printed."""

    @property
    def proof(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.directory / "proof.json").read_text())
        return found


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples as exports for both stages, documents with validation rows."""
    work = tmp_path_factory.mktemp("exports")
    assert curate("score", EXAMPLES, "-o", work / "curated").status == 0
    for name, options in (("cpt", ("--val-fraction", "0.2")), ("sft", ())):
        written = curate("export", work / "curated", "--format", f"llamafactory-{name}", "-o", work / name, *options)
        assert written.status == 0, written.err
    return work


def describe(model: Path, export: Path, output: Path, **entries: Any) -> Stage:
    """A stage small enough for a test: pictures of 64 tokens, on the CPU."""
    content = {"model": str(model), "data": [{"path": str(export)}], "output": str(output), "gpus": 0}
    return parse_stage(content | {"max_pixels": 256 * 256, "cutoff_len": 4096} | entries, "stage.yaml")


def prepare(stage: Stage) -> Path:
    ADAPTER.check(stage)
    directory = stage.output.absolute()
    directory.mkdir(parents=True)
    ADAPTER.configure(stage, directory)
    return directory


def start(command: Command, log: Path) -> subprocess.Popen[bytes]:
    """The command as `curate train` starts it."""
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *command.arguments],
            env={**os.environ, **command.variables},
            stdout=file,
            stderr=subprocess.STDOUT,
        )


def finished(command: Command | None, log: Path) -> str:
    assert command is not None
    process = start(command, log)
    assert process.wait(timeout=300) == 0, log.read_text()[-3000:]
    return log.read_text()


def take(stage: Stage) -> Run:
    """Prove, train and finish."""
    directory = prepare(stage)
    output = {}
    for step, command in (("prove", ADAPTER.prove), ("train", ADAPTER.train), ("finish", ADAPTER.finish)):
        output[step] = finished(command(stage, directory), directory / f"{step}.log")
        if step == "prove":
            assert json.loads((directory / "proof.json").read_text())["problems"] == []
    return Run(directory, stage, output)


def changed_weights(before: Path, after: Path) -> set[str]:
    """Names of the tensors that differ; both models must have the same ones, of the same shapes."""
    import torch
    from safetensors.torch import load_file

    old, new = load_file(before / "model.safetensors"), load_file(after / "model.safetensors")
    assert {name: tensor.shape for name, tensor in old.items()} == {name: tensor.shape for name, tensor in new.items()}
    return {name for name in old if not torch.equal(old[name], new[name])}


def part_of(weight: str) -> str:
    """As LLaMA-Factory divides Qwen3-VL: the DeepStack mergers belong to the vision encoder."""
    if "visual" in weight:
        return "projector" if "visual.merger" in weight else "vision_encoder"
    return "language_model"


@pytest.fixture(scope="module")
def pretrained(tiny_model: Path, exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Continual pretraining that was killed on its way, with half a checkpoint left behind."""
    stage = describe(
        tiny_model,
        exports / "cpt",
        tmp_path_factory.mktemp("cpt") / "run",
        stage="cpt",
        batch_size=4,
        micro_batch_size=2,
        arguments={
            "learning_rate": "1e-3",
            "max_steps": 12,
            "save_steps": 2,
            "eval_steps": 12,
            "lr_scheduler_type": "cosine_with_min_lr",
            "lr_scheduler_kwargs": {"min_lr": "1e-4"},
            "warmup_ratio": 0.25,
        },
    )
    directory = prepare(stage)
    output = {"prove": finished(ADAPTER.prove(stage, directory), directory / "prove.log")}
    checkpoints = directory / "checkpoints"
    process = start(ADAPTER.train(stage, directory), directory / "killed.log")
    deadline = time.monotonic() + 200
    while not (checkpoints / "checkpoint-2" / "trainer_state.json").exists():
        assert process.poll() is None, (directory / "killed.log").read_text()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    last = max(checkpoints.glob("checkpoint-*/trainer_state.json"), key=lambda path: path.stat().st_mtime).parent
    half = checkpoints / "checkpoint-11"
    shutil.copytree(last, half)
    (half / "trainer_state.json").unlink()
    (half / "model.safetensors").write_bytes((last / "model.safetensors").read_bytes()[:5000])
    output["train"] = finished(ADAPTER.train(stage, directory), directory / "train.log")
    output["finish"] = finished(ADAPTER.finish(stage, directory), directory / "finish.log")
    return Run(directory, stage, output)


@pytest.fixture(scope="module")
def tuned(pretrained: Run, exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Adapters on the pretrained model, merged."""
    return take(
        describe(
            pretrained.directory / "model",
            exports / "sft",
            tmp_path_factory.mktemp("sft") / "run",
            stage="sft",
            batch_size=2,
            lora={"rank": 4, "alpha": 8},
            arguments={"learning_rate": 1e-2, "max_steps": 2, "save_steps": 1},
        )
    )


class TestPretraining:
    def test_the_proof_shows_what_is_learned(self, pretrained: Run, exports: Path) -> None:
        proof = pretrained.proof
        assert proof["problems"] == []
        assert proof["rows"] == {str(exports / "cpt"): 17}
        titles = [example["title"].split()[0] for example in proof["examples"]]
        assert titles == ["caption", "interleaved"]
        assert all("<|im_start|>" not in example["text"] for example in proof["examples"])
        assert all(example["text"].endswith("<|endoftext|>") for example in proof["examples"])
        assert proof["facts"]["optimiser steps"] == 12
        assert 0 < proof["parameters"]["trained"] < proof["parameters"]["total"]
        assert proof["facts"]["tokens with loss"] < proof["facts"]["tokens"]

    def test_training_reads_what_the_proof_has_tokenised(self, pretrained: Run) -> None:
        assert f"Loaded tokenized dataset from {pretrained.directory}/data/tokenized" in pretrained.output["train"]
        assert "Running tokenizer" in pretrained.output["prove"]
        assert "Running tokenizer" not in pretrained.output["train"]
        assert not (pretrained.directory / "data" / "cache").exists()

    def test_a_killed_training_goes_on_from_its_last_whole_checkpoint(self, pretrained: Run) -> None:
        log = (pretrained.directory / "checkpoints" / "trainer_log.jsonl").read_text().splitlines()
        steps = [entry["current_steps"] for entry in map(json.loads, log) if "loss" in entry]
        assert steps.count(1) == 1  # not from the beginning
        assert steps.count(12) == 1
        assert "checkpoint-11 " not in pretrained.output["train"]
        metrics = ADAPTER.metrics(pretrained.directory)
        assert [point["step"] for point in metrics] == list(range(1, 13))
        assert ADAPTER.total_steps(pretrained.directory) == 12
        assert "eval_loss" in metrics[-1]
        assert metrics[-1]["loss"] < metrics[0]["loss"]

    def test_the_schedule_reaches_its_lowest_rate_and_not_zero(self, pretrained: Run) -> None:
        rates = [point["learning_rate"] for point in ADAPTER.metrics(pretrained.directory)]
        assert rates[0] < rates[3] == max(rates) == pytest.approx(1e-3)
        assert 1e-4 < rates[-1] < 1.5e-4

    def test_only_projector_and_language_model_change(self, pretrained: Run, tiny_model: Path) -> None:
        changed = changed_weights(tiny_model, pretrained.directory / "model")
        assert {part_of(weight) for weight in changed} == {"projector", "language_model"}
        assert sum("visual.merger" in weight for weight in changed) == 6

    def test_the_model_is_whole_and_answers_as_its_base_does(self, pretrained: Run, tiny_model: Path) -> None:
        model = pretrained.directory / "model"
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "processor_config.json"):
            assert (model / name).read_bytes() == (tiny_model / name).read_bytes()
        configuration = json.loads((model / "config.json").read_text())
        assert configuration["dtype"] == "float32"
        assert configuration["text_config"]["use_cache"] is True
        assert not list((pretrained.directory / "checkpoints").glob("*.safetensors"))
        assert not (model / "optimizer.pt").exists()

    def test_finishing_again_changes_nothing(self, pretrained: Run, tmp_path: Path) -> None:
        weights = pretrained.directory / "model" / "model.safetensors"
        before = weights.stat()
        finished(ADAPTER.finish(pretrained.stage, pretrained.directory), tmp_path / "log")
        assert weights.stat().st_mtime_ns == before.st_mtime_ns


class TestAdapters:
    def test_they_are_merged_into_projector_and_language_model_only(self, tuned: Run, pretrained: Run) -> None:
        changed = changed_weights(pretrained.directory / "model", tuned.directory / "model")
        assert {part_of(weight) for weight in changed} == {"projector", "language_model"}
        assert not any("embed" in weight or "norm.weight" in weight for weight in changed if "visual" not in weight)

    def test_the_merged_model_needs_no_adapters(self, tuned: Run, pretrained: Run) -> None:
        model, base = tuned.directory / "model", pretrained.directory / "model"
        assert {path.name for path in model.iterdir()} == {path.name for path in base.iterdir()}
        assert (model / "tokenizer_config.json").read_bytes() == (base / "tokenizer_config.json").read_bytes()

    def test_conversations_teach_what_the_assistant_says(self, tuned: Run) -> None:
        (example,) = tuned.proof["examples"]
        assert example["title"].startswith("conversation ")
        assert example["text"].endswith("<|im_end|>\n")
        assert "<image" not in example["text"]
