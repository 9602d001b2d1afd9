"""Real GRPO with verl on a CPU: two steps with pictures, one more after a restart, and the model that comes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from verl_stages import colour_row, smoke_stage, write_export

from curate.adapters.adapter import Command
from curate.adapters.stage import GrpoStage
from curate.adapters.verl.adapter import VerlAdapter

# Random weights never write an answer in tags, so a reward of the team's own gives them something to tell apart.
REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **options):
    if "<answer>" in solution_str:
        return {"score": 1.0, "accuracy": 1.0, "format": 1.0}
    share = sum(map(ord, solution_str)) % 10 / 20
    return {"score": share, "accuracy": share, "format": 0.0}
"""


@dataclass(frozen=True)
class Trained:
    """A run that was started twice."""

    run: Path
    printed: str
    """What the second start printed."""


def run_command(command: Command, folder: Path) -> str:
    # Someone else's cluster, which a smoke run must not join.
    elsewhere = {"RAY_ADDRESS": "127.0.0.1:1"}
    variables = {**os.environ, **elsewhere, **command.variables, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, *command.arguments],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Trained:
    folder = tmp_path_factory.mktemp("grpo")
    (folder / "some_reward.py").write_text(REWARD)
    # All prompts have one length, and all responses reach theirs: the batches that verl alone cuts in the wrong places.
    rows = [colour_row(number) for number in range(8)]
    export = write_export(folder / "export", rows, rows[:4])
    run, adapter = folder / "run", VerlAdapter()

    def stage(steps: int) -> GrpoStage:
        return smoke_stage(
            tiny_model,
            run,
            export,
            steps=steps,
            mini_batch_size=2,
            micro_batch_size=4,
            validate_every=2,
            save_every=2,
            learning_rate=1e-3,
            reward={"module": "some_reward"},
        )

    adapter.check(stage(2))
    adapter.configure(stage(2), run)
    run_command(adapter.prove(stage(2), run), folder)
    assert json.loads((run / "proof.json").read_bytes())["problems"] == []
    assert adapter.total_steps(run) == 2
    run_command(adapter.train(stage(2), run), folder)
    # As a kill leaves it: the next checkpoint half there, and the tracker about to be written.
    (run / "checkpoints" / "global_step_4" / "actor").mkdir(parents=True)
    adapter.configure(stage(3), run)
    printed = run_command(adapter.train(stage(3), run), folder)
    finish = adapter.finish(stage(3), run)
    assert finish is not None
    run_command(finish, folder)
    return Trained(run, printed)


def test_metrics_over_both_starts(trained: Trained) -> None:
    found = {entry["step"]: entry for entry in VerlAdapter().metrics(trained.run)}
    assert sorted(found) == [0, 1, 2, 3]
    assert "Going on from step 2." in trained.printed
    assert all({"reward", "kl", "response_length", "seconds"} <= found[step].keys() for step in (1, 2, 3))
    # The second of the two updates of step 1 has left the reference model behind, but not far.
    assert 0 < found[1]["kl"] < 0.1
    assert all("val_accuracy" in found[step] for step in (0, 2, 3))
    assert any(found[step]["grad_norm"] > 0 for step in (1, 2, 3))


def test_the_log_probabilities_of_rollout_and_training_agree(trained: Trained) -> None:
    """Pictures, positions and weights reach both alike; verl compares them at every step."""
    logged = [json.loads(line)["data"] for line in (trained.run / "verl_logs" / "attempt-2.jsonl").open()]
    differences = [entry["training/rollout_probs_diff_max"] for entry in logged if "critic/score/mean" in entry]
    assert differences
    assert max(differences) < 0.02


def test_rollouts_are_kept_and_old_checkpoints_are_not(trained: Trained) -> None:
    line = json.loads((trained.run / "rollouts" / "1.jsonl").read_text().splitlines()[0])
    assert line["gts"] in ("A", "B", "C", "D")
    kept = sorted(path.name for path in (trained.run / "checkpoints").iterdir())
    assert kept == ["global_step_2", "global_step_3", "latest_checkpointed_iteration.txt"]


def test_the_merged_model_loads_complete_and_trained(trained: Trained, tiny_model: Path) -> None:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = trained.run / "model"
    merged, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert merged.dtype == torch.bfloat16
    assert not list(trained.run.glob(".model*"))
    assert AutoProcessor.from_pretrained(folder).image_processor.patch_size == 16
    before = AutoModelForImageTextToText.from_pretrained(tiny_model, dtype=torch.bfloat16).state_dict()
    changed = [name for name, weights in merged.state_dict().items() if not torch.equal(weights, before[name])]
    assert len(changed) > len(before) / 2
    assert any("visual.blocks" in name for name in changed)


def test_llamafactory_loads_the_merged_model(trained: Trained) -> None:
    from llamafactory.hparams import get_infer_args
    from llamafactory.model import load_model, load_tokenizer

    arguments, _, finetuning, _ = get_infer_args(
        {"model_name_or_path": str(trained.run / "model"), "template": "qwen3_vl_nothink", "infer_dtype": "float32"}
    )
    module = load_tokenizer(arguments)
    assert module["processor"] is not None
    assert load_model(module["tokenizer"], arguments, finetuning).config.model_type == "qwen3_vl"


def test_lora_trains_the_language_model_and_is_merged(tmp_path: Path, tiny_model: Path) -> None:
    """verl's merger leaves adapters beside the unchanged base; they must be in the weights of `model`."""
    import torch
    from safetensors.torch import load_file

    (tmp_path / "some_reward.py").write_text(REWARD)
    export = write_export(tmp_path / "export", [colour_row(number) for number in range(4)])
    run, adapter = tmp_path / "run", VerlAdapter()
    # Adapters begin at zero, so that a first step changes little; this rate shows in bfloat16.
    stage = smoke_stage(
        tiny_model,
        run,
        export,
        steps=2,
        learning_rate=0.05,
        group_size=4,
        lora={"rank": 4, "alpha": 8},
        reward={"module": "some_reward"},
    )
    adapter.configure(stage, run)
    run_command(adapter.train(stage, run), tmp_path)
    finish = adapter.finish(stage, run)
    assert finish is not None
    run_command(finish, tmp_path)
    before = load_file(tiny_model / "model.safetensors")
    after = load_file(run / "model" / "model.safetensors")
    assert before.keys() == after.keys()
    changed = [name for name in after if not torch.equal(before[name].to(torch.bfloat16), after[name])]
    assert changed
    assert all("language_model.layers" in name and name.endswith("proj.weight") for name in changed)
    assert not (run / "model" / "lora_adapter").exists()
