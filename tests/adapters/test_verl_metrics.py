"""What verl has logged, and which checkpoint is whole: files as killed and resumed runs leave them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.adapters.verl.checkpoints import last_step, settle
from curate.adapters.verl.merge import merge
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


TRACKER = "latest_checkpointed_iteration.txt"


def shard(path: Path) -> None:
    """A ZIP archive, as PyTorch's files are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"weights" * 100)


def checkpoint(checkpoints: Path, step: int, ranks: int = 2) -> Path:
    folder = checkpoints / f"global_step_{step}"
    for rank in range(ranks):
        for kind in ("model", "optim", "extra_state"):
            shard(folder / "actor" / f"{kind}_world_size_{ranks}_rank_{rank}.pt")
    shard(folder / "data.pt")
    return folder


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])


def remains(checkpoints: Path) -> list[str]:
    return sorted(path.name for path in checkpoints.iterdir())


@pytest.mark.parametrize(
    ("tracker", "whole", "expected"),
    [
        (None, [], None),
        ("20", [10, 20], 20),
        ("", [10, 20], 20),  # killed while naming step 20, which is whole
        ("10", [10, 20], 10),  # killed before it named step 20
        ("20", [10], 10),  # step 20 was removed, since it had diverged
        (None, [10, 20], 20),  # the tracker was not copied along
        ("10", [20], 20),
    ],
)
def test_settling(tmp_path: Path, tracker: str | None, whole: list[int], expected: int | None) -> None:
    for step in whole:
        checkpoint(tmp_path, step)
    if tracker is not None:
        (tmp_path / TRACKER).write_text(tracker)
    assert last_step(tmp_path) == expected
    assert settle(tmp_path) == expected
    kept = [f"global_step_{step}" for step in whole if expected is not None and step <= expected]
    assert remains(tmp_path) == [*kept, *([TRACKER] if expected else [])]
    if expected:
        assert (tmp_path / TRACKER).read_text() == str(expected)


@pytest.mark.parametrize(
    "damaged",
    ["actor/model_world_size_2_rank_1.pt", "actor/optim_world_size_2_rank_0.pt", "data.pt"],
)
@pytest.mark.parametrize("damage", [cut_off, Path.unlink])
@pytest.mark.parametrize("tracker", ["150", None])
def test_a_damaged_step_gives_way_to_the_whole_one_before_it(
    tmp_path: Path, damaged: str, damage: Callable[[Path], None], tracker: str | None
) -> None:
    checkpoint(tmp_path, 100)
    damage(checkpoint(tmp_path, 150) / damaged)
    if tracker:
        (tmp_path / TRACKER).write_text(tracker)
    assert settle(tmp_path) == 100
    assert remains(tmp_path) == ["global_step_100", TRACKER]
    assert (tmp_path / TRACKER).read_text() == "100"


def test_without_a_whole_step_training_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "global_step_10" / "actor").mkdir(parents=True)  # killed while saving for the first time
    cut_off(checkpoint(tmp_path, 20) / "data.pt")
    (tmp_path / TRACKER).write_text("20")
    assert settle(tmp_path) is None
    assert remains(tmp_path) == []
    assert settle(tmp_path / "none") is None


@pytest.mark.parametrize(("keep", "left"), [(1, [30]), (2, [20, 30]), (5, [10, 20, 30]), (-1, [10, 20, 30])])
def test_steps_of_earlier_starts_are_kept_as_verl_keeps_its_own(tmp_path: Path, keep: int, left: list[int]) -> None:
    for step in (10, 20, 30):
        checkpoint(tmp_path, step)
    assert settle(tmp_path, keep) == 30
    assert remains(tmp_path) == [*(f"global_step_{step}" for step in left), TRACKER]


def test_a_model_is_never_made_from_another_step_than_training_ended_with(tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoints", 100)
    (tmp_path / "checkpoints" / TRACKER).write_text("150")
    with pytest.raises(SystemExit, match=r"saved step 150 last, .*no whole checkpoint of it; .* write 100 into"):
        merge(tmp_path)
