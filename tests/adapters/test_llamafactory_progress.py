"""What a training has logged, and which checkpoint it goes on from."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from curate.adapters.llamafactory.checkpoints import last_whole_checkpoint
from curate.adapters.llamafactory.progress import LOG, read_metrics, read_total_steps


def entry(step: int, **values: float) -> str:
    return json.dumps({"current_steps": step, "total_steps": 9, **values})


class TestMetrics:
    def test_before_anything_is_logged(self, tmp_path: Path) -> None:
        assert read_metrics(tmp_path / "missing") == []
        assert read_total_steps(tmp_path) is None

    def test_loss_and_evaluation_of_a_step_are_one_point(self, tmp_path: Path) -> None:
        lines = [
            entry(1, loss=2.0, lr=0.1, epoch=0.5),
            entry(2, loss=1.5),
            entry(2, eval_loss=1.7),
            entry(9, epoch=1.0),
        ]
        (tmp_path / LOG).write_text("\n".join(lines) + "\n")
        assert read_metrics(tmp_path) == [
            {"step": 1, "loss": 2.0, "learning_rate": 0.1, "epoch": 0.5},
            {"step": 2, "loss": 1.5, "eval_loss": 1.7},
        ]
        assert read_total_steps(tmp_path) == 9

    def test_a_resumed_attempt_replaces_what_it_does_again(self, tmp_path: Path) -> None:
        before = [entry(step, loss=float(step)) for step in (1, 2, 3, 4)]
        after = [entry(3, loss=30.0), entry(5, loss=50.0)]
        (tmp_path / LOG).write_text("\n".join([*before, *after]))
        assert [(point["step"], point["loss"]) for point in read_metrics(tmp_path)] == [
            (1, 1),
            (2, 2),
            (3, 30),
            (5, 50),
        ]

    def test_half_lines_and_rubbish_are_left_out(self, tmp_path: Path) -> None:
        killed = entry(2, loss=1.0)[:20]
        (tmp_path / LOG).write_bytes(
            f"{entry(1, loss=2.0)}\n{killed}{entry(2, loss=1.0)}\n[]\n\n{entry(3, loss=0.5)}\n".encode() + b'{"cur\xff'
        )
        assert [point["step"] for point in read_metrics(tmp_path)] == [1, 3]


def checkpoint(directory: Path, step: int) -> Path:
    """As transformers writes one."""
    path = directory / f"checkpoint-{step}"
    path.mkdir(parents=True)
    header = json.dumps({"__metadata__": {"format": "pt"}, "w": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}})
    (path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode() + b"1234")
    with zipfile.ZipFile(path / "optimizer.pt", "w") as file:
        file.writestr("data", "moments")
    (path / "trainer_state.json").write_text("{}")
    return path


class TestLastWholeCheckpoint:
    def test_the_highest_number_not_the_last_name(self, tmp_path: Path) -> None:
        assert last_whole_checkpoint(tmp_path / "missing") is None
        checkpoint(tmp_path, 9)
        last = checkpoint(tmp_path, 10)
        (tmp_path / "checkpoint-best").mkdir()
        assert last_whole_checkpoint(tmp_path) == last

    def test_half_written_ones_are_passed_over(self, tmp_path: Path) -> None:
        first = checkpoint(tmp_path, 1)
        (checkpoint(tmp_path, 2) / "trainer_state.json").unlink()
        (checkpoint(tmp_path, 3) / "trainer_state.json").write_text('{"epoch":')
        cut = checkpoint(tmp_path, 4) / "model.safetensors"
        cut.write_bytes(cut.read_bytes()[:-1])
        moments = checkpoint(tmp_path, 5) / "optimizer.pt"
        moments.write_bytes(moments.read_bytes()[:-5])
        (checkpoint(tmp_path, 6) / "rng_state_3.pth").write_bytes(b"")
        (checkpoint(tmp_path, 7) / "model.safetensors").write_bytes(b"\x01")
        assert last_whole_checkpoint(tmp_path) == first
