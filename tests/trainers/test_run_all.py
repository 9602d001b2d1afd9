"""`recipes/run_all.sh` with a real trainer: killed in the middle of a training, and run again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STAGE = """\
stage: sft
model: {model}
data: [{{path: exports/sft}}]
output: runs/small/1-sft
gpus: 0
batch_size: 2
max_pixels: 16384
arguments: {{max_steps: 8, save_steps: 2, learning_rate: 1.0e-3}}
"""


@pytest.fixture
def command(tmp_path: Path, tiny_model: Path) -> list[str]:
    """A recipe with one short stage, over the examples."""
    recipe = tmp_path / "small"
    recipe.mkdir()
    (recipe / "exports.txt").write_text(
        "sft --format llamafactory-sft\n"
        "heldout --format verl --where \"query_type = 'choice'\" --val-fraction 0 --system-prompt none\n"
    )
    (recipe / "1-sft.yaml").write_text(STAGE.format(model=tiny_model))
    judge = ["--judge-url", "demo", "--declare-deidentified", "dicom"]
    script = ["bash", ROOT / "recipes" / "run_all.sh", ROOT / "examples" / "raw"]
    options = ["--recipe", recipe, "-o", tmp_path / "w", "--bench", "--max-new-tokens 4", "--", *judge]
    return [str(part) for part in [*script, *options]]


def test_a_killed_run_goes_on_from_the_last_finished_step(command: list[str], tmp_path: Path) -> None:
    work = tmp_path / "w"
    environment = {**os.environ, "CURATE_LLAMAFACTORY_ENV": sys.prefix, "HF_HUB_OFFLINE": "1"}
    with (tmp_path / "first.txt").open("wb") as log:
        first = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        checkpoint = work / "runs" / "small" / "1-sft" / "checkpoints" / "checkpoint-2" / "trainer_state.json"
        end = time.monotonic() + 300
        while not checkpoint.exists() and first.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    assert checkpoint.exists(), (tmp_path / "first.txt").read_text()[-3000:]
    finished = {path.name: path.stat().st_mtime_ns for path in (work / "steps").iterdir() if path.name[0] != "."}
    assert sorted(finished) == ["export-heldout", "export-sft", "score"]

    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr[-3000:]
    for name, written in finished.items():
        assert f"{name}: done before" in again.stderr
        assert (work / "steps" / name).stat().st_mtime_ns == written
    run = json.loads((work / "runs" / "small" / "1-sft" / "run.json").read_bytes())
    assert run["state"] == "finished"
    log_text = (work / "runs" / "small" / "1-sft" / "log.txt").read_text()
    assert "checkpoint-" in log_text.partition("esume")[2]  # the second attempt began at a checkpoint
    steps = [json.loads(line)["step"] for line in (work / "runs/small/1-sft/metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 9))
    changed = {part["part"]: part["changed"] for part in run["weights"]["parts"]}
    assert changed["vision_encoder"] == 0
    assert min(changed["projector"], changed["language_model"]) > 0
    bench = json.loads((work / "results" / "bench" / "bench.json").read_bytes())
    assert [model["model"] for model in bench["models"]] == ["before", "1-sft"]

    def run_again() -> tuple[int, str]:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    stage, step = tmp_path / "small" / "1-sft.yaml", work / "steps" / "train-1-sft"
    text = stage.read_text()
    stage.write_text(text.replace("max_steps: 8", "max_steps: 6"))
    status, said = run_again()
    assert (status, "train-1-sft was done in" in said, "before a file that it names was changed" in said) == (
        2,
        True,
        True,
    )
    step.unlink()
    status, said = run_again()
    assert (status, "train-1-sft ended with status 2" in said) == (2, True), said  # its run has other settings

    stage.write_text(text)
    status, said = run_again()
    assert status == 0, said
    assert "bench: again, since a step before it was done again" in said
