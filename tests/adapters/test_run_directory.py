"""The run directory: begun once, resumed with the same settings, and never mixed with something else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from curate.adapters.disk import bytes_needed, check_disk
from curate.adapters.exports import changes, fingerprint, fingerprint_of_model
from curate.adapters.run_directory import RunDirectory
from curate.adapters.stage import Stage, parse_stage
from curate.corpus import UserError


def stage(**settings: object) -> Stage:
    content = {"stage": "sft", "model": "m", "data": [{"path": "e"}], "output": "run", "batch_size": 8}
    return parse_stage({**content, **settings}, "stage.yaml")


def test_a_run_is_taken_up_where_it_was_left(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").held() as run:
        run.begin(stage())
        run.advance("proven", exports={"e": {"a": "b"}})
    with RunDirectory(tmp_path / "run").held() as run:
        assert run.state == "proven"
        assert run.exports() == {"e": {"a": "b"}}
        run.begin(stage(environment="/elsewhere"))  # where the trainer lies changes nothing of what comes out


def test_settings_that_make_another_model_need_another_run_once_training_has_begun(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").held() as run:
        run.begin(stage())
        run.advance("proven", exports={})
        run.begin(stage(seed=1))
        assert run.state is None  # it is proven anew, and nothing is lost
        run.advance("proven", exports={})
        run.note_attempt("begun", 0)
        for settings, message in (
            ({"seed": 2, "max_pixels": 10000}, r"begun with other settings: max_pixels, seed .*Name another output"),
            (
                {"arguments": {"learning_rate": 1e-5}},
                r"other settings: arguments.learning_rate .*was None and is now 1e",
            ),
        ):
            with pytest.raises(UserError, match=message):
                run.begin(stage(**{"seed": 1, **settings}))


def test_what_a_smaller_gpu_needs_may_change_at_any_time(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").held() as run:
        run.begin(stage(micro_batch_size=4))
        run.advance("proven", exports={})
        run.note_attempt("failed: CUDA out of memory", 9)
        run.begin(stage(micro_batch_size=1, arguments={"save_steps": 10}))
        assert run.state == "proven"
        assert run.record["stage"]["micro_batch_size"] == 1


def test_a_directory_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is no training run"), RunDirectory(tmp_path).held():
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(UserError, match="is a file"), RunDirectory(tmp_path / "notes.txt").held():
        pass


def test_one_process_holds_a_run(tmp_path: Path) -> None:
    with (
        RunDirectory(tmp_path / "run").held(),
        pytest.raises(UserError, match=f"in use by process {os.getpid()}"),
        RunDirectory(tmp_path / "run").held(),
    ):
        pass


def test_a_fingerprint_sees_data_and_pictures_and_not_the_time_of_the_export(tmp_path: Path) -> None:
    export = tmp_path / "export"
    (export / "images" / "ab").mkdir(parents=True)
    (export / "train.parquet").write_bytes(b"rows")
    (export / "export.json").write_text('{"at": "yesterday"}')
    picture = export / "images" / "ab" / "abcd.png"
    picture.write_bytes(b"pixels")
    before = {"export": fingerprint(export)}
    (export / "export.json").write_text('{"at": "today"}')
    assert changes(before, {"export": fingerprint(export)}) == []
    picture.write_bytes(b"fewer")
    assert changes(before, {"export": fingerprint(export)}) == ["export/images/"]
    picture.write_bytes(b"pixels")
    (export / "train.parquet").write_bytes(b"ROWS")
    (export / "val.parquet").write_bytes(b"new")
    assert changes(before, {"export": fingerprint(export)}) == ["export/train.parquet", "export/val.parquet"]


def test_the_disk_must_hold_the_checkpoints(tmp_path: Path) -> None:
    parameters = {"total": 1000, "trained": 100, "bytes_per_parameter": 2}
    assert bytes_needed(parameters) == 3 * (2000 + 1200) + 2000
    adapters = {**parameters, "in_checkpoint": 100, "checkpoints_kept": 1}
    assert bytes_needed(adapters) == 2 * (200 + 1200) + 2000
    check_disk(tmp_path, parameters)
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(UserError, match=r"GB free, and its checkpoints and model take about .* name an output"):
        check_disk(tmp_path, {**parameters, "total": free})
    for name in ("data", "checkpoints"):  # the first is no part of what is needed
        (tmp_path / name).mkdir()
        with (tmp_path / name / "file").open("wb") as file:
            file.truncate(3 * free)
        if name == "data":
            with pytest.raises(UserError, match="GB free"):
                check_disk(tmp_path, {**parameters, "total": free // 3})
        else:
            check_disk(tmp_path, {**parameters, "total": free // 3})


def test_a_fingerprint_sees_another_model_in_the_same_place(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = {"m": fingerprint_of_model(str(tmp_path))}
    os.utime(tmp_path / "model.safetensors", (1, 1))
    assert changes(before, {"m": fingerprint_of_model(str(tmp_path))}) == ["m/model.safetensors"]
    assert fingerprint_of_model("Qwen/Qwen3-VL-4B-Instruct") == {}
