"""What verl has logged, and which checkpoint is whole: files as killed and resumed runs leave them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.adapters.verl.checkpoints import last_step, settle
from curate.adapters.verl.metrics import next_log, read_metrics


def log(run: Path, *lines: tuple[int, dict[str, Any]], tail: str = "") -> None:
    text = "".join(json.dumps({"step": step, "data": data}) + "\n" for step, data in lines)
    next_log(run).write_text(text + tail, encoding="utf-8")


def test_names_and_validation(tmp_path: Path) -> None:
    log(
        tmp_path,
        (0, {"val-aux/a/accuracy/mean@1": 0.25, "val-aux/a/format/mean@1": 1.0, "val-core/a/reward/mean@1": 0.325}),
        (1, {"critic/score/mean": 0.5, "response_length/mean": 4.0, "perf/time_per_step": 2.0, "other": "text"}),
    )
    assert read_metrics(tmp_path) == [
        {"step": 0, "val_accuracy": 0.25, "val_format": 1.0, "val_reward": 0.325},
        {"step": 1, "reward": 0.5, "response_length": 4.0, "seconds": 2.0},
    ]


def test_sources_with_slashes_are_averaged_and_named(tmp_path: Path) -> None:
    log(tmp_path, (5, {"val-aux/hub/a/accuracy/mean@1": 0.2, "val-aux/b/accuracy/mean@1": 0.6}))
    [entry] = read_metrics(tmp_path)
    assert entry == {"step": 5, "val_accuracy": pytest.approx(0.4), "val_accuracy/hub/a": 0.2, "val_accuracy/b": 0.6}


def test_a_resumed_run_replaces_the_steps_after_its_checkpoint(tmp_path: Path) -> None:
    steps = [(step, {"critic/score/mean": step / 10}) for step in range(1, 9)]
    log(tmp_path, *steps, tail='{"step": 9, "data": {"critic/sc')
    # It went on from step 5, validated there first, and was killed after step 6.
    log(tmp_path, (5, {"val-aux/a/accuracy/mean@1": 0.5}), (6, {"critic/score/mean": 0.9}))
    found = {entry["step"]: entry for entry in read_metrics(tmp_path)}
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    assert found[5] == {"step": 5, "reward": 0.5, "val_accuracy": 0.5}
    assert found[6]["reward"] == 0.9


def test_no_log_and_empty_logs(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    log(tmp_path, tail="\n[1]\nnull\n")
    assert read_metrics(tmp_path) == []
    assert next_log(tmp_path).name == "attempt-2.jsonl"


def checkpoint(folder: Path, step: int, *, whole: bool = True) -> None:
    actor = folder / f"global_step_{step}" / "actor"
    actor.mkdir(parents=True)
    if whole:
        (actor / "model_world_size_1_rank_0.pt").touch()


@pytest.mark.parametrize(
    ("tracker", "whole", "half", "expected"),
    [
        (None, [], [], None),
        (None, [], [10], None),  # killed while saving for the first time
        ("10", [10], [20], 10),  # killed while saving step 20
        ("20", [10, 20], [], 20),
        ("", [10, 20], [], 20),  # killed while naming step 20, which is whole
        ("10", [], [10], None),  # its shards are gone
    ],
)
def test_settling(tmp_path: Path, tracker: str | None, whole: list[int], half: list[int], expected: int | None) -> None:
    for step in whole:
        checkpoint(tmp_path, step)
    for step in half:
        checkpoint(tmp_path, step, whole=False)
    if tracker is not None:
        (tmp_path / "latest_checkpointed_iteration.txt").write_text(tracker)
    assert last_step(tmp_path) == expected
    assert settle(tmp_path) == expected
    names = [f"global_step_{expected}", "latest_checkpointed_iteration.txt"] if expected else []
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    if expected:
        assert (tmp_path / "latest_checkpointed_iteration.txt").read_text() == str(expected)


def test_no_folder_of_checkpoints(tmp_path: Path) -> None:
    assert settle(tmp_path / "none") is None
