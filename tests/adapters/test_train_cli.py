"""`curate train` as far as it goes without a trainer: what it writes, and what it refuses before anything starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from adapters_support import fake_environment
from support.cli import Ran, curate

from curate import __version__

EXAMPLES = Path(__file__).parents[2] / "examples" / "raw"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with exports of the examples for each kind of stage."""
    folder = tmp_path_factory.mktemp("work")
    done = curate("score", EXAMPLES, cwd=folder)
    assert done.status == 0, done.err
    for name in ("llamafactory-cpt", "llamafactory-sft", "verl"):
        assert curate("export", "--format", name, cwd=folder).status == 0
    return folder


def write_stage(folder: Path, stage: str = "sft", **settings: object) -> Path:
    export = {"sft": "llamafactory-sft", "cpt": "llamafactory-cpt", "grpo": "verl"}[stage]
    content = {
        "stage": stage,
        "model": "Qwen/Qwen3-VL-4B-Instruct",
        "data": [{"path": f"exports/{export}"}],
        "output": str(folder / "run"),
        "batch_size": 8,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "stage.yaml"
    file.write_text(json.dumps({**content, **settings}))  # JSON is YAML
    return file


def train(work: Path, file: Path, *arguments: str | Path, **env: str) -> Ran:
    return curate("train", file, *arguments, cwd=work, env=env)


@pytest.mark.parametrize(
    ("stage", "config", "runs"),
    [
        ("cpt", "train.yaml", "curate.adapters.llamafactory.launch"),
        ("sft", "train.yaml", "curate.adapters.llamafactory.launch"),
        ("grpo", "overrides.txt", "curate.adapters.verl.launch"),
    ],
)
def test_a_dry_run_writes_the_configuration_and_the_command_and_needs_no_trainer(
    work: Path, tmp_path: Path, stage: str, config: str, runs: str
) -> None:
    done = train(work, write_stage(tmp_path, stage), "--dry-run", "seed=7", CURATE_VERL_ENV="/nowhere")
    assert done.status == 0, done.err
    assert runs in done.out
    run = tmp_path / "run"
    assert (run / "command.txt").read_text() == done.out
    assert "seed: 7" in (run / "stage.yaml").read_text()
    text = (run / "config" / config).read_text()
    assert "Qwen/Qwen3-VL-4B-Instruct" in text
    assert "pkg://curate.rewards" in text if stage == "grpo" else "stage: sft" in text
    assert not (run / "log.txt").exists()
    again = train(work, tmp_path / "stage.yaml", "--dry-run", "seed=8")
    assert again.status == 0, again.err
    assert "seed: 8" in (run / "stage.yaml").read_text()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data": [{"path": "exports/nowhere"}]}, "the export exports/nowhere does not exist; curate export"),
        ({"data": [{"path": "curated"}]}, "curated is no export"),
        ({"data": [{"path": "exports/verl"}]}, "is an export for verl, and stage sft trains on llamafactory-sft"),
        ({"data": [{"path": "exports/llamafactory-sft"}, {"path": "./exports/llamafactory-sft"}]}, "is named twice"),
        ({"arguments": {"hf_hub_token": "hf_0123456789abcdef0123"}}, "hf_hub_token"),
        ({"arguments": {"stage": "pt"}}, "stage"),
        ({"arguments": {"per_device_train_batch_size": 4}}, "micro_batch_size"),
        ({"arguments": {"packing": True}}, "packing"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    work: Path, tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    done = train(work, write_stage(tmp_path, **settings), "--dry-run")
    assert done.status == 2
    assert said in done.err
    assert "hf_0123456789abcdef0123" not in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "key", ["custom_reward_function.path", "reward_model.reward_manager", "algorithm.adv_estimator", "data.train_files"]
)
def test_keys_that_verl_would_ignore_or_that_are_ours_are_refused(work: Path, tmp_path: Path, key: str) -> None:
    done = train(work, write_stage(tmp_path, "grpo", arguments={key: "x"}), "--dry-run")
    assert done.status == 2
    assert key in done.err


def test_without_an_environment_the_command_that_makes_one_is_said(work: Path, tmp_path: Path) -> None:
    empty = fake_environment(tmp_path / "env")
    done = train(work, write_stage(tmp_path), "--environment", empty)
    assert done.status == 2
    assert "LLaMA-Factory is not installed in" in done.err
    assert "make_env.sh llamafactory" in done.err
    old = fake_environment(tmp_path / "old", llamafactory="0.9.3", medcurate=__version__)
    done = train(work, write_stage(tmp_path), CURATE_LLAMAFACTORY_ENV=str(old))
    assert done.status == 2
    assert "has LLaMA-Factory 0.9.3, and this adapter was proven with >=0.9.5,<0.9.6" in done.err


def test_an_export_with_errors_stops_before_the_trainer_is_started(work: Path, tmp_path: Path) -> None:
    environment = fake_environment(tmp_path / "env", llamafactory="0.9.5", medcurate=__version__)
    done = curate("export", "--format", "llamafactory-sft", "-o", tmp_path / "export", cwd=work)
    assert done.status == 0
    picture = next(path for path in (tmp_path / "export" / "images").rglob("*") if path.is_file())
    picture.unlink()
    file = write_stage(tmp_path, data=[{"path": str(tmp_path / "export")}])
    done = train(work, file, "--environment", environment)
    assert done.status == 1
    assert picture.name in done.err
    assert "1 error(s); nothing was started" in done.err
    assert not (tmp_path / "run" / "proof.txt").exists()


def test_a_trainer_that_does_not_start_is_told_with_its_last_error(work: Path, tmp_path: Path) -> None:
    # Nothing of the trainer is there but its name.
    environment = fake_environment(tmp_path / "env", llamafactory="0.9.5", medcurate=__version__)
    done = train(work, write_stage(tmp_path, gpus=0), "--environment", environment)
    assert done.status == 2
    assert "LLaMA-Factory cannot load this stage:" in done.err
    assert "No module named 'curate'" in done.err
    assert "proof.txt" in done.err
    assert "llamafactory==0.9.5" in (tmp_path / "run" / "packages.txt").read_text()


def test_a_stage_file_that_is_wrong(work: Path, tmp_path: Path) -> None:
    done = train(work, write_stage(tmp_path, modle="x"))
    assert done.status == 2
    assert "did you mean model?" in done.err
    done = train(work, write_stage(tmp_path), "batch_size")
    assert done.status == 2
    assert "'batch_size' is no KEY=VALUE" in done.err
