"""The trainers' own loaders read exports of the shapes that `curate export` writes, and their faults show."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hand_made_exports import (
    VGA,
    VGA_TOKENS,
    Document,
    embedded,
    png,
    verl_row,
    write_cpt_export,
    write_llamafactory_export,
    write_verl_file,
)
from verl_loader import load_split

from curate.adapters.llamafactory.loader import load_export
from curate.adapters.llamafactory.raw_template import RAW_TEMPLATES
from curate.adapters.tiny_qwen3_vl import END_OF_TEXT, build_tiny_qwen3_vl


class TestTinyModel:
    def test_the_same_seed_gives_the_same_weights_and_another_seed_others(self, tmp_path: Path) -> None:
        weights = [
            (build_tiny_qwen3_vl(tmp_path / name, seed=seed) / "model.safetensors").read_bytes()
            for name, seed in (("a", 1), ("b", 1), ("c", 2))
        ]
        assert weights[0] == weights[1] != weights[2]

    def test_any_text_survives_the_tokenizer(self, tiny_model: Path) -> None:
        from transformers import AutoTokenizer

        text = "T2-weighted, 0.5 µg/ml — naïve 影像\r\n\n  <|image_pad|><|im_end|>"
        tokenizer = AutoTokenizer.from_pretrained(tiny_model)
        assert tokenizer.decode(tokenizer.encode(text)) == text


class TestSupervisedFineTuning:
    def test_text_only_one_image_and_several_images_in_several_turns(self, tiny_model: Path, tmp_path: Path) -> None:
        red, blue = png(), png(colour="blue")
        export = write_llamafactory_export(
            tmp_path / "export",
            [
                (("What is edema?", "Swelling."), [], ""),
                (("<image>What is shown?", "A red field."), [red], ""),
                (("<image>\n<image>Compare.", "Two.", "And <image>?", "Three."), [red, blue, red], "Be brief."),
            ],
        )

        loaded = load_export(export, tiny_model)

        assert [row.trained_text for row in loaded.rows] == [
            "Swelling.<|im_end|>\n",
            "A red field.<|im_end|>\n",
            "Two.<|im_end|>\nThree.<|im_end|>\n",
        ]
        assert [row.image_tokens for row in loaded.rows] == [0, VGA_TOKENS, 3 * VGA_TOKENS]
        assert [row.image_tokens_in_loss for row in loaded.rows] == [0, 0, 0]
        # An empty system text adds no system turn, and LLaMA-Factory adds none of its own.
        assert loaded.rows[0].text == (
            "<|im_start|>user\nWhat is edema?<|im_end|>\n<|im_start|>assistant\nSwelling.<|im_end|>\n"
        )
        assert [row.text.count("<|im_start|>system") for row in loaded.rows] == [0, 0, 1]
        assert loaded.rows[2].text.startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
        assert all(len(row.input_ids) < loaded.cutoff_len for row in loaded.rows)
        assert math.isfinite(loaded.loss([0]))  # a batch without any image
        assert math.isfinite(loaded.loss([0, 1, 2]))

    def test_a_file_of_text_only_rows(self, tiny_model: Path, tmp_path: Path) -> None:
        documents: list[Document] = [((f"Question {n}?", f"Answer {n}."), [], "") for n in range(3)]

        loaded = load_export(write_llamafactory_export(tmp_path / "export", documents), tiny_model)

        assert [row.trained_text for row in loaded.rows] == [f"Answer {n}.<|im_end|>\n" for n in range(3)]
        assert math.isfinite(loaded.loss([0, 1, 2]))

    def test_one_export_s_default_system_does_not_leak_into_the_next(self, tiny_model: Path, tmp_path: Path) -> None:
        documents: list[Document] = [(("Question?", "Answer."), [], ""), (("Question?", "Answer."), [], "Its own.")]
        spoken = write_llamafactory_export(tmp_path / "spoken", documents, settings="default_system: For all.\n")
        silent = write_llamafactory_export(tmp_path / "silent", documents)

        spoken_rows, silent_rows = load_export(spoken, tiny_model).rows, load_export(silent, tiny_model).rows

        assert spoken_rows[0].text.startswith("<|im_start|>system\nFor all.<|im_end|>")
        assert spoken_rows[1].text.startswith("<|im_start|>system\nIts own.<|im_end|>")
        assert silent_rows[0].text.startswith("<|im_start|>user\n")


class TestContinualPretraining:
    @pytest.mark.parametrize("template", list(RAW_TEMPLATES))
    def test_all_text_is_trained_no_image_token_is_and_there_is_no_chat_markup(
        self, tiny_model: Path, tmp_path: Path, template: str
    ) -> None:
        loaded = load_export(write_cpt_export(tmp_path / "export", template=template), tiny_model)

        assert [row.trained_text for row in loaded.rows] == [
            f"Text alone comes first.{END_OF_TEXT}",
            f"A red field.{END_OF_TEXT}",
            f"Before.  Between.  After.{END_OF_TEXT}",
        ]
        assert [row.image_tokens for row in loaded.rows] == [0, VGA_TOKENS, 3 * VGA_TOKENS]
        assert [row.image_tokens_in_loss for row in loaded.rows] == [0, 0, 0]
        image = "<|vision_start|>" + "<|image_pad|>" * VGA_TOKENS + "<|vision_end|>"
        assert loaded.rows[2].text == f"Before. {image} Between. {image}{image} After.{END_OF_TEXT}"
        assert math.isfinite(loaded.loss([0]))
        assert math.isfinite(loaded.loss([0, 1, 2]))

    def test_the_launcher_trains_from_any_working_directory(self, tiny_model: Path, tmp_path: Path) -> None:
        export = write_cpt_export(tmp_path / "export")
        settings = {"model_name_or_path": tiny_model, "max_steps": 2, "per_device_train_batch_size": 2, "use_cpu": True}
        settings |= {"bf16": False, "report_to": "none", "logging_steps": 1}
        overrides = [f"{key}={value}" for key, value in settings.items()]
        command = [sys.executable, "-m", "curate.adapters.llamafactory.launch", str(export / "train.yaml"), *overrides]

        finished = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)

        assert finished.returncode == 0, finished.stderr
        results = json.loads((export / "checkpoints" / "all_results.json").read_text())
        assert math.isfinite(results["train_loss"])
        assert (export / "checkpoints" / "model.safetensors").stat().st_size > 0
        # The raw template is for training only: the checkpoint still chats as its base model does.
        assert (export / "checkpoints" / "chat_template.jinja").read_text() == (
            tiny_model / "chat_template.jinja"
        ).read_text()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [([], "usage:"), (["nowhere/train.yaml"], "not a YAML file that exists"), ([__file__], "not a YAML file")],
    )
    def test_the_launcher_says_what_it_needs(self, arguments: list[str], message: str) -> None:
        command = [sys.executable, "-m", "curate.adapters.llamafactory.launch", *arguments]

        finished = subprocess.run(command, capture_output=True, text=True, check=False)

        assert finished.returncode == 1
        assert message in finished.stderr
        assert "Traceback" not in finished.stderr


class TestWhatAProofCatches:
    """Faults that an export could have, and where each of them shows: none of these loads as if it were whole."""

    def test_llamafactory_drops_a_row_whose_turns_do_not_alternate(self, tiny_model: Path, tmp_path: Path) -> None:
        documents: list[Document] = [(("One?", "One.", "Two?"), [], ""), (("Three?", "Three."), [], "")]

        loaded = load_export(write_llamafactory_export(tmp_path / "export", documents), tiny_model)

        assert [row.trained_text for row in loaded.rows] == ["Three.<|im_end|>\n"]

    def test_llamafactory_refuses_a_placeholder_without_an_image(self, tiny_model: Path, tmp_path: Path) -> None:
        export = write_llamafactory_export(tmp_path / "export", [(("The tag <image>?", "Yes."), [], "")])

        with pytest.raises(ValueError, match="number of images does not match"):
            load_export(export, tiny_model)

    def test_llamafactory_stops_at_a_truncated_image(self, tiny_model: Path, tmp_path: Path) -> None:
        image = png()
        export = write_llamafactory_export(
            tmp_path / "export", [(("<image>What?", "Red."), [image[: len(image) // 2]], "")]
        )

        with pytest.raises(OSError, match="truncated"):
            load_export(export, tiny_model)

    def test_a_row_cut_inside_an_image_has_no_loss(self, tiny_model: Path, tmp_path: Path) -> None:
        export = write_llamafactory_export(tmp_path / "export", [(("<image>What?", "Red."), [png()], "")])

        loaded = load_export(export, tiny_model, {"cutoff_len": 128})

        assert len(loaded.rows[0].input_ids) == loaded.cutoff_len
        with pytest.raises(RuntimeError, match="shape mismatch"):
            loaded.loss([0])

    def test_an_image_in_an_assistant_s_turn_is_in_the_loss(self, tiny_model: Path, tmp_path: Path) -> None:
        export = write_llamafactory_export(tmp_path / "export", [(("Show it.", "<image>There."), [png()], "")])

        assert load_export(export, tiny_model).rows[0].image_tokens_in_loss == VGA_TOKENS

    def test_verl_drops_unreadable_rows_in_silence(self, tiny_model: Path, tmp_path: Path) -> None:
        rows = [
            verl_row(0, "<image>Whole?", embedded(png()), "A"),
            verl_row(1, "<image>Truncated?", embedded(png()[:60]), "A"),
            verl_row(2, "<image><image>One missing?", embedded(png()), "A"),
            verl_row(3, "<image>A literal <video>?", embedded(png()), "A"),
        ]

        loaded = load_split(write_verl_file(tmp_path / "train.parquet", rows), tiny_model)

        assert [prompt.extra_info["index"] for prompt in loaded.prompts] == [0]


class TestReinforcementLearning:
    def test_embedded_images_and_text_only_rows(self, tiny_model: Path, tmp_path: Path) -> None:
        rows = [
            verl_row(0, "What is edema?", [], "swelling"),
            verl_row(1, "<image>What is shown?", embedded(png()), "A"),
            verl_row(2, "First <image> then\n<image>Same?", embedded(png(), png((320, 320), "blue")), "B"),
        ]
        for name, part in (("train.parquet", rows), ("val.parquet", rows[:2])):
            loaded = load_split(write_verl_file(tmp_path / name, part), tiny_model)

            assert len(loaded.prompts) == len(part)
            assert [prompt.data_source for prompt in loaded.prompts] == ["medcurate/chest"] * len(part)
            assert [prompt.ground_truth for prompt in loaded.prompts] == ["swelling", "A", "B"][: len(part)]
            assert [prompt.extra_info for prompt in loaded.prompts] == [row["extra_info"] for row in part]
            # 320 x 320 pixels are 10 x 10 blocks.
            assert [prompt.image_tokens for prompt in loaded.prompts] == [0, VGA_TOKENS, VGA_TOKENS + 100][: len(part)]
            assert {key: len(value) for key, value in loaded.batch.items()} == dict.fromkeys(loaded.batch, len(part))
            assert set(loaded.batch) >= {"raw_prompt", "data_source", "reward_model", "extra_info", "index"}
        first, _, third = load_split(tmp_path / "train.parquet", tiny_model).prompts
        assert [image.size for image in third.images] == [VGA, (320, 320)]
        assert [image.getpixel((0, 0)) for image in third.images] == [(255, 0, 0), (0, 0, 255)]
        assert first.text == (
            "<|im_start|>system\nBe brief.<|im_end|>\n"
            "<|im_start|>user\nWhat is edema?<|im_end|>\n<|im_start|>assistant\n"
        )

    def test_a_file_of_text_only_rows(self, tiny_model: Path, tmp_path: Path) -> None:
        rows = [verl_row(index, f"Question {index}?", [], "yes") for index in range(3)]

        loaded = load_split(write_verl_file(tmp_path / "train.parquet", rows), tiny_model)

        assert [prompt.images for prompt in loaded.prompts] == [[], [], []]

    def test_images_by_absolute_path(self, tiny_model: Path, tmp_path: Path) -> None:
        (tmp_path / "red.png").write_bytes(png())
        rows = [
            verl_row(0, "What is edema?", [], "swelling"),
            verl_row(1, "<image>What?", [str(tmp_path / "red.png")], "A"),
        ]

        path = write_verl_file(tmp_path / "train.parquet", rows, images=pa.list_(pa.string()))

        assert [prompt.image_tokens for prompt in load_split(path, tiny_model).prompts] == [0, VGA_TOKENS]

    def test_a_list_of_accepted_answers_arrives_as_a_list(self, tiny_model: Path, tmp_path: Path) -> None:
        rows = [verl_row(0, "Name one.", [], ["edema", "oedema"]), verl_row(1, "<image>?", embedded(png()), ["A"])]

        path = write_verl_file(tmp_path / "train.parquet", rows, ground_truth=pa.list_(pa.string()))
        loaded = load_split(path, tiny_model)

        assert [prompt.ground_truth for prompt in loaded.prompts] == [["edema", "oedema"], ["A"]]
        assert loaded.batch["reward_model"][0] == {"style": "rule", "ground_truth": ["edema", "oedema"]}

    def test_a_large_image_is_dropped_as_too_long_unless_its_cell_bounds_it(
        self, tiny_model: Path, tmp_path: Path
    ) -> None:
        image = png((3000, 2000))  # 5828 tokens unbounded, of which the loader allows 4096
        bounded = pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string(), "max_pixels": pa.int64()}))
        rows = [
            verl_row(0, "<image>?", [{"bytes": image, "path": None, "max_pixels": None}], "A"),
            verl_row(1, "<image>?", [{"bytes": image, "path": None, "max_pixels": 768 * 768}], "A"),
        ]

        loaded = load_split(write_verl_file(tmp_path / "train.parquet", rows, images=bounded), tiny_model)

        assert [prompt.extra_info["index"] for prompt in loaded.prompts] == [1]
        assert loaded.prompts[0].image_tokens <= 768 * 768 // 32**2
