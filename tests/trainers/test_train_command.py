"""`curate train` with the real LLaMA-Factory: what a run leaves, how it goes on, what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hand_made_exports import png
from support.cli import Ran, curate

SECRET = "wandb-0123456789abcdef"
ARGUMENTS = {"max_steps": 3, "save_steps": 1, "learning_rate": 1.0e-3}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of six conversations, of which five have a picture."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "raw").mkdir()
    rows = []
    for number, colour in enumerate(("red", "green", "blue", "white", "grey", None)):
        turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": f"Colour {colour}, number {number}."}]
        row: dict[str, object] = {"conversations": turns}
        if colour:
            (folder / "raw" / f"{colour}.png").write_bytes(png(colour=colour))
            turns[0]["value"] = "<image>What?"
            row["image"] = f"{colour}.png"
        rows.append(row)
    (folder / "raw" / "rows.json").write_text(json.dumps(rows))
    assert curate("score", folder / "raw", "-o", folder / "curated").status == 0
    options = ("--format", "llamafactory-sft", "--ignore-rule", "near_blank", "-o", folder / "sft")
    done = curate("export", folder / "curated", *options)
    assert done.status == 0, done.err
    return folder / "sft"


def stage_of(folder: Path, export: Path, model: Path, **settings: object) -> Path:
    """A stage file of a few steps whose run directory is ``folder/run``."""
    content = {"stage": "sft", "model": str(model), "data": [{"path": str(export)}], "output": str(folder / "run")}
    content |= {"gpus": 0, "batch_size": 2, "max_pixels": 16384, "arguments": ARGUMENTS, **settings}
    file = folder / "stage.yaml"
    file.write_text(json.dumps(content))
    return file


def train(file: Path, *arguments: str) -> Ran:
    environment = {"CURATE_LLAMAFACTORY_ENV": sys.prefix, "WANDB_API_KEY": SECRET}
    return curate("train", file, *arguments, env=environment)


def record(run: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((run / "run.json").read_bytes())
    return content


@pytest.fixture(scope="module")
def finished(exported: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    folder = tmp_path_factory.mktemp("finished")
    return folder, train(stage_of(folder, exported, tiny_model), "--json")


def test_a_run_leaves_all_that_tells_what_it_was(finished: tuple[Path, Ran], exported: Path) -> None:
    folder, ran = finished
    assert ran.status == 0, ran.err
    run = folder / "run"
    assert ran.json() == record(run)
    assert ran.json()["state"] == "finished"
    assert sorted(ran.json()["exports"][str(exported)]) == [
        "dataset_info.json",
        "images/",
        "train.parquet",
        "train.yaml",
    ]
    assert [attempt["outcome"] for attempt in ran.json()["attempts"]] == ["trained"]
    changed = {part["part"]: part["changed"] for part in ran.json()["weights"]["parts"]}
    assert changed["vision_encoder"] == 0
    assert min(changed["projector"], changed["language_model"]) > 0
    assert "llamafactory==0.9.5" in (run / "packages.txt").read_text()
    assert "curate.adapters.llamafactory.launch" in (run / "command.txt").read_text()
    assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1, 2, 3]
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (run / "model" / "model.safetensors").exists()
    proof = json.loads((run / "proof.json").read_bytes())
    assert proof["rows"] == {str(exported): 6}
    assert any("Colour" in example["text"] for example in proof["examples"])
    for told in ("Proven with LLaMA-Factory's own loader", "Running: ", "Loss by step", "What was trained"):
        assert told in ran.err


def test_no_secret_is_in_a_run(finished: tuple[Path, Ran]) -> None:
    folder, ran = finished
    holding = [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert holding == []
    assert SECRET not in ran.err + ran.out


def test_run_again_it_does_nothing(finished: tuple[Path, Ran]) -> None:
    folder, _ = finished
    log = (folder / "run" / "log.txt").read_bytes()
    again = train(folder / "stage.yaml")
    assert again.status == 0
    assert "Nothing to do" in again.err
    assert (folder / "run" / "log.txt").read_bytes() == log


@pytest.mark.parametrize("state", ["proven", "trained"])
def test_killed_after_the_last_step_it_is_finished_by_the_next_run(
    state: str, exported: Path, finished: tuple[Path, Ran], tiny_model: Path, tmp_path: Path
) -> None:
    """With the model not yet made, or made and not yet noted."""
    shutil.copytree(finished[0] / "run", tmp_path / "run")
    left = record(tmp_path / "run") | {"state": state}
    left["stage"] = {**left["stage"], "output": str(tmp_path / "run")}  # type: ignore[dict-item]
    (tmp_path / "run" / "run.json").write_text(json.dumps(left))
    if state == "proven":
        shutil.rmtree(tmp_path / "run" / "model")
    again = train(stage_of(tmp_path, exported, tiny_model))
    assert again.status == 0, again.err
    assert record(tmp_path / "run")["state"] == "finished"
    wanted = (finished[0] / "run" / "model" / "model.safetensors").read_bytes()
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == wanted


def test_a_trainer_that_fails_is_told_with_its_last_error_and_goes_on_when_it_is_mended(
    exported: Path, tiny_model: Path, tmp_path: Path
) -> None:
    file = stage_of(tmp_path, exported, tiny_model)
    assert train(file, "--prove").status == 0
    tokenized = tmp_path / "run" / "data" / "tokenized" / "train"
    (tokenized / "state.json").rename(tmp_path / "state.json")
    failed = train(file)
    assert failed.status == 2
    first = next(line for line in failed.err.splitlines() if line.startswith("Error:"))
    assert first.startswith("Error: LLaMA-Factory stopped: FileNotFoundError: "), first
    assert "state.json" in first
    assert f"Its whole output: {tmp_path / 'run' / 'log.txt'}" in failed.err
    (attempt,) = record(tmp_path / "run")["attempts"]  # type: ignore[misc]
    assert attempt["outcome"].startswith("failed: FileNotFoundError")  # type: ignore[index]
    (tmp_path / "state.json").rename(tokenized / "state.json")
    assert train(file).status == 0


def test_an_export_that_has_changed_since_it_was_proven(exported: Path, tiny_model: Path, tmp_path: Path) -> None:
    export = tmp_path / "sft"
    shutil.copytree(exported, export)
    file = stage_of(tmp_path, export, tiny_model)
    assert train(file, "--prove").status == 0
    picture = next(path for path in (export / "images").rglob("*.png"))
    picture.write_bytes(png((320, 240), "yellow"))
    # Nothing was trained yet, so it is proven anew.
    assert "Proven with" in train(file, "--prove").err
    shutil.rmtree(tmp_path / "run")
    shutil.rmtree(export)
    shutil.copytree(exported, export)
    assert train(file).status == 0
    picture.write_bytes(png((320, 240), "yellow"))
    refused = train(file)
    assert refused.status == 2
    assert f"{export}/images/ has changed since it was proven for" in refused.err
    assert "name another output to train on it as it is now" in refused.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 9 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=9m", "curate", str(place)], capture_output=True, check=False
    )
    if mounted.returncode or os.geteuid():
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_too_small_a_disk_is_told_before_the_training(
    exported: Path, tiny_model: Path, tmp_path: Path, small_disk: Path
) -> None:
    ran = train(stage_of(tmp_path, exported, tiny_model, output=str(small_disk / "run")))
    assert ran.status == 2, ran.err
    assert "MB free, and its checkpoints and model take about" in ran.err
    assert "Proven with" in ran.err
    assert not (small_disk / "run" / "log.txt").exists()
