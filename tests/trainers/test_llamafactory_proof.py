"""What a proof finds before anything is trained, with LLaMA-Factory's own loader."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from hand_made_exports import Document, png, write_llamafactory_export

from curate.adapters.llamafactory.adapter import LlamaFactoryAdapter
from curate.adapters.llamafactory.arguments import flat, sections
from curate.adapters.llamafactory.data_plan import DataPlan, PlannedExport, read_plan
from curate.adapters.llamafactory.loader import open_trainer
from curate.adapters.llamafactory.mixture import compose
from curate.adapters.llamafactory.prove import prove
from curate.adapters.stage import SftStage, parse_stage

ADAPTER = LlamaFactoryAdapter()

Write = Callable[..., Path]


@pytest.fixture
def sft_export(tmp_path: Path) -> Write:
    """Writes conversations as `curate export` does, with any fault."""

    def write(name: str, documents: list[Document]) -> Path:
        directory = write_llamafactory_export(tmp_path / name, documents)
        (directory / "data.parquet").rename(directory / "train.parquet")
        information = (directory / "dataset_info.json").read_text().replace("data.parquet", "train.parquet")
        (directory / "dataset_info.json").write_text(information)
        files = [{"path": "train.parquet", "split": "train", "rows": len(documents)}]
        (directory / "export.json").write_text(json.dumps({"kind": "medcurate-export", "files": files}))
        return directory

    return write


def configured(model: Path, output: Path, *exports: Path, **entries: Any) -> Path:
    """The run directory of a stage that is ready to be proven."""
    shares = entries.pop("shares", [None] * len(exports))
    data = [{"path": str(path), "share": share} for path, share in zip(exports, shares, strict=True)]
    content = {"stage": "sft", "model": str(model), "data": data, "output": str(output), "gpus": 0, "batch_size": 2}
    stage = parse_stage(content | {"max_pixels": 256 * 256} | entries, "stage.yaml")
    ADAPTER.check(stage)
    output.mkdir()
    ADAPTER.configure(stage, output)
    return output


def turns(question: str, answer: str = "Red.") -> tuple[str, ...]:
    return (question, answer)


class TestFaults:
    """Each is named by file and row before training; the training would drop the row, or stop at it."""

    def test_sound_rows(self, tiny_model: Path, tmp_path: Path, sft_export: Write) -> None:
        export = sft_export("sound", [(turns("<image>What?"), [png()], ""), (turns("Why?"), [], "Be brief.")])
        proof = prove(configured(tiny_model, tmp_path / "run", export))
        assert proof["problems"] == []
        assert proof["rows"] == {str(export): 2}
        assert proof["facts"]["rows"] == 2

    def test_turns_out_of_order_and_placeholders_without_picture(
        self, tiny_model: Path, tmp_path: Path, sft_export: Write
    ) -> None:
        export = sft_export(
            "bad",
            [
                (turns("<image>What?"), [png()], ""),
                (("One?", "One.", "Two?"), [], ""),
                (turns("A literal <image>?"), [], ""),
            ],
        )
        proof = prove(configured(tiny_model, tmp_path / "run", export))
        found = [(problem["file"], problem["row"]) for problem in proof["problems"]]
        assert found == [(f"{export}/train.parquet", 2), (f"{export}/train.parquet", 3)]
        assert "sample-1" in proof["problems"][0]["message"]
        assert "drops the row" in proof["problems"][0]["message"]
        assert "<image>" in proof["problems"][1]["message"]

    def test_a_missing_picture(self, tiny_model: Path, tmp_path: Path, sft_export: Write) -> None:
        export = sft_export("gone", [(turns("<image>Red?"), [png()], ""), (turns("<image>"), [png(colour="blue")], "")])
        missing = pq.read_table(export / "train.parquet").to_pylist()[1]["images"][0]
        (export / missing).unlink()
        (problem,) = prove(configured(tiny_model, tmp_path / "run", export))["problems"]
        assert (problem["file"], problem["row"]) == (f"{export}/train.parquet", 2)
        assert missing in problem["message"]

    def test_a_corrupt_picture(self, tiny_model: Path, tmp_path: Path, sft_export: Write) -> None:
        documents = [(turns("<image>Red?"), [png()], ""), (turns("<image>Half?"), [png(colour="blue")[:-900]], "")]
        run = configured(tiny_model, tmp_path / "run", export := sft_export("corrupt", documents))
        (problem,) = prove(run)["problems"]
        assert (problem["file"], problem["row"]) == (f"{export}/train.parquet", 2)
        assert "cannot be read" in problem["message"]
        assert not (run / "data" / "tokenized").exists()

    def test_a_row_that_reaches_cutoff_len(self, tiny_model: Path, tmp_path: Path, sft_export: Write) -> None:
        export = sft_export("long", [(turns("<image>What?"), [png()], ""), (turns("Why?", "Because. " * 90), [], "")])
        (problem,) = prove(configured(tiny_model, tmp_path / "run", export, cutoff_len=128))["problems"]
        assert (problem["file"], problem["row"]) == (f"{export}/train.parquet", 2)
        assert "reaches cutoff_len 128" in problem["message"]

    def test_a_picture_in_the_assistant_s_turn(self, tiny_model: Path, tmp_path: Path, sft_export: Write) -> None:
        export = sft_export("shown", [(turns("Show it.", "<image>There."), [png()], "")])
        (problem,) = prove(configured(tiny_model, tmp_path / "run", export))["problems"]
        assert problem["row"] == 1
        assert "image tokens carry loss" in problem["message"]

    def test_an_image_token_spelled_out_in_a_text(self, tiny_model: Path, tmp_path: Path, sft_export: Write) -> None:
        export = sft_export("spelled", [(turns("<image>What is <|image_pad|>?"), [png()], "")])
        (problem,) = prove(configured(tiny_model, tmp_path / "run", export))["problems"]
        assert problem["row"] == 1
        assert "its text spells one out" in problem["message"]

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            (
                {"arguments": {"learning_rat": 1}},
                "learning_rat is no argument of LLaMA-Factory; did you mean learning_rate",
            ),
            (
                {"model": "runs/none/1-cpt/model"},
                "model: the directory .* does not exist; train the stage that makes it",
            ),
            ({"arguments": {"lr_scheduler_type": "cosin"}}, "LLaMA-Factory refuses the configuration: .*cosin"),
        ],
    )
    def test_settings(
        self, tiny_model: Path, tmp_path: Path, sft_export: Write, entries: dict[str, Any], message: str
    ) -> None:
        model = entries.get("model", tiny_model)
        run = configured(
            model,
            tmp_path / "run",
            sft_export("one", [(turns("Why?"), [], "")]),
            arguments=entries.get("arguments", {}),
        )
        with pytest.raises(SystemExit, match=message):
            prove(run)


class TestMixtures:
    @pytest.fixture
    def exports(self, sft_export: Write) -> tuple[Path, Path]:
        with_pictures: list[Document] = [(turns(f"<image>{n}?", f"A{n}."), [png()], "") for n in range(6)]
        with_pictures[2:2] = [(turns("Why?", "Text."), [], "")]
        return sft_export("a", with_pictures), sft_export("b", [(turns(f"{n}?", f"B{n}."), [], "") for n in range(10)])

    @pytest.mark.parametrize(
        ("strategy", "shares", "rows"),
        [
            ("interleave_under", [0.7, 0.3], [7, 3]),
            ("interleave_over", [0.2, 0.8], [7, 28]),
            (None, [None, None], [7, 10]),
        ],
    )
    def test_shares_hold_and_pictures_are_found(
        self, tiny_model: Path, tmp_path: Path, exports: tuple[Path, Path], strategy: str | None, shares: Any, rows: Any
    ) -> None:
        settings = {"mix_strategy": strategy} if strategy else {}
        run = configured(tiny_model, tmp_path / "run", *exports, shares=shares, arguments=settings)
        proof = prove(run)
        assert proof["problems"] == []
        assert proof["rows"] == {str(export): count for export, count in zip(exports, rows, strict=True)}
        with open_trainer(yaml.safe_load((run / "config" / "train.yaml").read_text())) as trainer:
            texts = Counter(trainer.row(row).trained_text[0] for row in trainer.datasets()["train_dataset"])
        assert (texts["A"] + texts["T"], texts["B"]) == tuple(rows)

    def test_rows_with_pictures_come_first_and_faults_are_traced_to_their_export(
        self, tiny_model: Path, tmp_path: Path, exports: tuple[Path, Path]
    ) -> None:
        run = configured(tiny_model, tmp_path / "run", exports[1], exports[0], cutoff_len=64)
        problems = prove(run)["problems"]
        assert [(problem["file"], problem["row"]) for problem in problems] == [
            (f"{exports[0]}/train.parquet", row) for row in (1, 2, 4, 5, 6, 7)
        ]
        composed = pq.read_table(run / "data" / "mixture" / "train.parquet").to_pylist()
        assert [bool(row["images"]) for row in composed] == [True] * 6 + [False] * 11

    def test_the_seed_chooses_the_rows(self, tiny_model: Path, tmp_path: Path, exports: tuple[Path, Path]) -> None:
        chosen = []
        for number, seed in enumerate((1, 1, 2)):
            run = configured(tiny_model, tmp_path / f"run{number}", *exports, shares=[0.7, 0.3], seed=seed)
            compose(read_plan(run / "config" / "data.json"), run / "data")
            chosen.append(
                pq.read_table(run / "data" / "mixture" / "train.parquet", columns=["id", "export"]).to_pylist()
            )
        assert chosen[0] == chosen[1] != chosen[2]


class TestTrainedParts:
    """`train` and `lora` mark what they say, on the real module names."""

    @pytest.mark.parametrize(
        ("train", "lora"),
        [
            (train, lora)
            for lora in (None, {"rank": 2, "alpha": 4})
            for train in (
                ["language_model"],
                ["projector", "language_model"],
                ["vision_encoder"],
                ["vision_encoder", "projector"],
                ["vision_encoder", "language_model"],
                ["vision_encoder", "projector", "language_model"],
                ["projector"],
            )
            if not (lora and train == ["projector"])  # refused
        ],
    )
    def test_parts(self, tiny_model: Path, tmp_path: Path, train: list[str], lora: dict[str, int] | None) -> None:
        content = {"stage": "sft", "model": str(tiny_model), "data": [{"path": "x"}], "output": "x", "gpus": 0}
        stage = parse_stage(content | {"batch_size": 1, "train": train, "lora": lora}, "stage.yaml")
        assert isinstance(stage, SftStage)
        ADAPTER.check(stage)
        with open_trainer(arguments_of(stage, tmp_path)) as trainer:
            model = trainer.model_without_weights()
        trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert {part_of(name) for name in trained} == set(train)
        if lora:
            assert all("lora_" in name or "modules_to_save" in name for name in trained)


def part_of(weight: str) -> str:
    if "visual" in weight:
        return "projector" if "visual.merger" in weight else "vision_encoder"
    return "language_model"


def arguments_of(stage: SftStage, run: Path) -> dict[str, Any]:
    exports = [PlannedExport(str(data.path), str(data.path), 10, 10, 1) for data in stage.data]
    plan = DataPlan(stage.stage, exports, seed=0, cutoff_len=stage.cutoff_len or 2048, batch_size=stage.batch_size)
    return flat(sections(stage, plan, run, workers=1))
