"""A stage in LLaMA-Factory's arguments, and the settings that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate.adapters.llamafactory.adapter import LlamaFactoryAdapter
from curate.adapters.llamafactory.arguments import as_yaml, flat, sections
from curate.adapters.llamafactory.data_plan import (
    DataPlan,
    PlannedExport,
    plan_data,
    read_plan,
    take_shares,
    write_plan,
)
from curate.adapters.llamafactory.refusals import REFUSED, REFUSED_IF_TRUE, STAGE_SETTING_OF, check_stage
from curate.adapters.stage import CptStage, SftStage, parse_stage
from curate.corpus import UserError

RUN = Path("/runs/one")


def stage(**entries: Any) -> CptStage | SftStage:
    content = {"stage": "cpt", "model": "Qwen/Qwen3-VL-4B-Instruct", "data": [{"path": "exports/cpt"}]}
    parsed = parse_stage(content | {"output": "runs/one", "batch_size": 64, "gpus": 8} | entries, "stage.yaml")
    assert isinstance(parsed, CptStage | SftStage)
    return parsed


def plan(*names: str, stage_name: Any = "cpt", validation_rows: int = 0) -> DataPlan:
    exports = [PlannedExport(name, f"/data/{name}", 100, 100, validation_rows) for name in names]
    return DataPlan(stage_name, exports, seed=0, cutoff_len=4096, batch_size=64)


def arguments(given: CptStage | SftStage, planned: DataPlan | None = None) -> dict[str, Any]:
    """What ends up in train.yaml, through the YAML itself."""
    written: dict[str, Any] = yaml.safe_load(as_yaml(sections(given, planned or plan("cpt"), RUN, workers=4)).strip())
    assert written == flat(sections(given, planned or plan("cpt"), RUN, workers=4))
    return written


def export(directory: Path, *, train: int, val: int = 0, cutoff_len: int = 2048) -> Path:
    directory.mkdir(parents=True)
    files = [{"split": "train", "rows": train}, *([{"split": "val", "rows": val}] if val else [])]
    (directory / "export.json").write_text(json.dumps({"kind": "medcurate-export", "files": files}))
    (directory / "train.yaml").write_text(f"cutoff_len: {cutoff_len}\n")
    return directory


class TestArguments:
    def test_pretraining_on_eight_gpus(self) -> None:
        found = arguments(stage(micro_batch_size=2, arguments={"learning_rate": 1e-5}))
        assert found["stage"] == "sft"  # never pt, which reads text only
        assert found["template"] == "qwen3_vl_cpt"
        assert (found["per_device_train_batch_size"], found["gradient_accumulation_steps"]) == (2, 4)
        assert found["bf16"] is True
        assert "use_cpu" not in found
        assert found["cutoff_len"] == 4096
        assert found["output_dir"] == "/runs/one/checkpoints"
        assert found["tokenized_path"] == "/runs/one/data/tokenized"
        assert (found["dataset"], found["dataset_dir"], found["media_dir"]) == (
            "medcurate_cpt",
            "/data/cpt",
            "/data/cpt",
        )
        assert found["learning_rate"] == 1e-5
        assert "eval_dataset" not in found

    def test_fine_tuning_on_the_cpu(self) -> None:
        given = stage(stage="sft", gpus=0, max_pixels=4096, seed=7)
        found = arguments(given, plan("sft", stage_name="sft"))
        assert (found["template"], found["dataset"]) == ("qwen3_vl_nothink", "medcurate_sft")
        assert (found["use_cpu"], found["bf16"], found["image_max_pixels"], found["seed"]) == (True, False, 4096, 7)

    @pytest.mark.parametrize(
        ("train", "frozen"),
        [
            (["projector", "language_model"], (True, False, False)),
            (["vision_encoder", "projector"], (False, False, True)),
            (["projector"], (True, False, True)),
            (["vision_encoder", "projector", "language_model"], (False, False, False)),
        ],
    )
    def test_what_is_frozen(self, train: list[str], frozen: tuple[bool, ...]) -> None:
        found = arguments(stage(train=train))
        assert found["finetuning_type"] == "full"
        parts = ("freeze_vision_tower", "freeze_multi_modal_projector", "freeze_language_model")
        assert tuple(found[part] for part in parts) == frozen
        assert "additional_target" not in found

    @pytest.mark.parametrize(
        ("train", "additional"),
        [
            (["language_model"], None),
            (["projector", "language_model"], "visual.merger"),
            (["vision_encoder", "projector", "language_model"], None),  # its layers get adapters, as the encoder's
        ],
    )
    def test_adapters_and_the_projector(self, train: list[str], additional: str | None) -> None:
        found = arguments(stage(train=train, lora={"rank": 4, "alpha": 8, "dropout": 0.1}))
        assert (found["finetuning_type"], found["lora_target"]) == ("lora", "all")
        assert (found["lora_rank"], found["lora_alpha"], found["lora_dropout"]) == (4, 8, 0.1)
        assert found.get("additional_target") == additional

    def test_several_exports_are_one_dataset_of_the_run(self) -> None:
        found = arguments(stage(), plan("a", "b", validation_rows=3))
        assert (found["dataset"], found["eval_dataset"]) == ("mixture", "mixture_val")
        assert found["dataset_dir"] == found["media_dir"] == "/runs/one/data/mixture"
        assert found["eval_strategy"] == "steps"

    def test_the_stage_s_arguments_win_over_defaults_and_keep_their_types(self) -> None:
        schedule = {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": "2e-6"}}
        found = arguments(
            stage(arguments=schedule | {"learning_rate": "1e-5", "save_steps": 50, "run_name": "1e", "bf16": None}),
            plan("cpt", validation_rows=1),
        )
        assert (found["learning_rate"], found["lr_scheduler_kwargs"]) == (1e-5, {"min_lr": 2e-6})
        assert (found["save_steps"], found["eval_steps"], found["run_name"], found["bf16"]) == (50, 50, "1e", True)

    def test_a_directory_becomes_absolute_and_a_hub_id_stays(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("model").mkdir()
        assert arguments(stage(model="model"))["model_name_or_path"] == str(tmp_path / "model")
        later = arguments(stage(model="runs/r/1-cpt/model"))["model_name_or_path"]
        assert later == str(tmp_path / "runs/r/1-cpt/model")
        assert arguments(stage())["model_name_or_path"] == "Qwen/Qwen3-VL-4B-Instruct"

    def test_deepspeed_s_file_is_found_from_the_configuration_s_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert arguments(stage(arguments={"deepspeed": "z2.json"}))["deepspeed"] == str(tmp_path / "z2.json")


class TestRefusals:
    @pytest.mark.parametrize("name", [*STAGE_SETTING_OF, *REFUSED, "stage"])
    def test_what_the_adapter_sets(self, name: str) -> None:
        with pytest.raises(UserError, match=f"arguments: {name} "):
            check_stage(stage(arguments={name: "x"}))

    def test_each_names_a_setting_that_exists(self) -> None:
        known = {*SftStage.model_fields, *(f"lora.{name}" for name in ("rank", "alpha", "dropout"))}
        assert set(STAGE_SETTING_OF.values()) <= known

    @pytest.mark.parametrize("name", list(REFUSED_IF_TRUE))
    def test_what_cannot_be_switched_on(self, name: str) -> None:
        check_stage(stage(arguments={name: False}))
        for value in (True, "true"):
            with pytest.raises(UserError, match=f"arguments: {name}: true cannot be used"):
                check_stage(stage(arguments={name: value}))

    @pytest.mark.parametrize("name", ["hf_hub_token", "hub_token", "swanlab_api_key", "swanlab_lark_secret"])
    def test_secrets(self, name: str) -> None:
        with pytest.raises(UserError, match="secret") as refused:
            check_stage(stage(arguments={name: "hf_very_private"}))
        assert "hf_very_private" not in str(refused.value)

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            ({"lora": {}, "train": ["projector"]}, "nothing to put adapters on"),
            ({"arguments": {"mask_history": True}}, "only the last text"),
            ({"arguments": {"learning_rate": "fast"}}, "must be a number"),
            ({"gpus": 0, "arguments": {"bf16": True}}, "needs a GPU"),
            ({"gpus": 0, "arguments": {"deepspeed": {}}}, "needs a GPU"),
            ({"arguments": {"deepspeed": "missing.json"}}, "missing.json, which cannot be read"),
            ({"arguments": {"deepspeed": {"zero_optimization": {"stage": 3}}}}, "stage3_gather_16bit_weights"),
            ({"arguments": {"mix_strategy": "interleave_under"}}, "no export has a share: it can be concat"),
            (
                {
                    "data": [{"path": "a", "share": 0.5}, {"path": "b", "share": 0.5}],
                    "arguments": {"mix_strategy": "x"},
                },
                "interleave_under or interleave_over",
            ),
        ],
    )
    def test_what_would_not_do_what_it_says(self, entries: dict[str, Any], message: str) -> None:
        with pytest.raises(UserError, match=message):
            check_stage(stage(**entries))

    def test_what_works(self) -> None:
        gathered = {"zero_optimization": {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}}
        check_stage(
            stage(arguments={"deepspeed": gathered, "max_steps": 3, "learning_rate": "1e-5", "add_tokens": "<x>"})
        )
        check_stage(stage(lora={}, train=["vision_encoder"]))


class TestShares:
    @pytest.mark.parametrize(
        ("rows", "shares", "strategy", "expected"),
        [
            ([100, 100], [0.5, 0.5], "interleave_under", [100, 100]),
            ([100, 1000], [0.5, 0.5], "interleave_under", [100, 100]),
            ([100, 1000], [0.5, 0.5], "interleave_over", [1000, 1000]),
            ([600, 100, 300], [0.5, 0.3, 0.2], "interleave_under", [167, 100, 67]),
            ([600, 100, 300], [0.5, 0.3, 0.2], "interleave_over", [750, 450, 300]),
        ],
    )
    def test_rows_of_each_export(
        self, rows: list[int], shares: list[float], strategy: Any, expected: list[int]
    ) -> None:
        assert take_shares(rows, shares, strategy) == expected

    def test_the_plan_survives_its_file(self, tmp_path: Path) -> None:
        a = export(tmp_path / "a", train=30, val=4, cutoff_len=3072)
        b = export(tmp_path / "b", train=10)
        planned = plan_data(
            stage(data=[{"path": str(a), "share": 0.6}, {"path": str(b), "share": 0.4}], seed=3), "interleave_over"
        )
        assert [(found.rows, found.take, found.validation_rows) for found in planned.exports] == [
            (30, 30, 4),
            (10, 20, 0),
        ]
        assert (planned.cutoff_len, planned.rows, planned.seed, planned.composed) == (3072, 50, 3, True)
        write_plan(planned, tmp_path / "data.json")
        assert read_plan(tmp_path / "data.json") == planned

    @pytest.mark.parametrize(
        ("rows", "share", "message"), [(0, 0.5, "no training rows"), (2, 0.0001, "less than one row")]
    )
    def test_an_export_without_rows(self, tmp_path: Path, rows: int, share: float, message: str) -> None:
        a, b = export(tmp_path / "a", train=rows), export(tmp_path / "b", train=20)
        with pytest.raises(UserError, match=message):
            plan_data(
                stage(data=[{"path": str(a), "share": share}, {"path": str(b), "share": 1 - share}]), "interleave_under"
            )

    def test_an_export_without_cutoff_len(self, tmp_path: Path) -> None:
        (export(tmp_path / "a", train=1) / "train.yaml").unlink()
        with pytest.raises(UserError, match=r"train\.yaml names no cutoff_len"):
            plan_data(stage(data=[{"path": str(tmp_path / "a")}]), "interleave_under")
        assert (
            plan_data(stage(data=[{"path": str(tmp_path / "a")}], cutoff_len=500), "interleave_under").cutoff_len == 500
        )


class TestCommands:
    def test_one_gpu_sees_only_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
        command = LlamaFactoryAdapter().train(stage(gpus=1), RUN)
        assert command.arguments == ("-m", "curate.adapters.llamafactory.launch", "/runs/one/config/train.yaml")
        assert command.variables["CUDA_VISIBLE_DEVICES"] == "3"

    @pytest.mark.parametrize(("gpus", "settings"), [(8, {}), (1, {"deepspeed": {"zero_optimization": {"stage": 2}}})])
    def test_several_gpus_or_deepspeed_start_with_torchrun(self, gpus: int, settings: dict[str, Any]) -> None:
        command = LlamaFactoryAdapter().train(stage(gpus=gpus, arguments=settings), RUN)
        assert command.arguments[:5] == ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(gpus))
        assert "CUDA_VISIBLE_DEVICES" not in command.variables

    def test_the_cpu_sees_no_gpu(self) -> None:
        adapter = LlamaFactoryAdapter()
        for command in (adapter.train(stage(gpus=0), RUN), adapter.prove(stage(), RUN), adapter.finish(stage(), RUN)):
            assert command is not None
            assert command.variables["CUDA_VISIBLE_DEVICES"] == ""
