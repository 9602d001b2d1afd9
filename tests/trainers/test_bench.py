"""`curate bench` with real models: the answers of a greedy rollout, resumed, and rows that cannot be answered."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.cli import COMMAND, curate
from support.smoke_task import RECIPE, export_task

from curate.evals.messages import build_prompt, whole_tokens

ROWS = 12
ENVIRONMENT = ("--environment", sys.executable)


@pytest.fixture(scope="module")
def heldout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_task(tmp_path_factory.mktemp("task"), "heldout", rows=(4, ROWS, 16))["heldout"]


@pytest.fixture(scope="module")
def smoke_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe's own model."""
    directory = tmp_path_factory.mktemp("model") / "base"
    subprocess.run([sys.executable, RECIPE / "make_model.py", directory], check=True, capture_output=True)
    return directory


def answers(output: Path) -> list[dict[str, Any]]:
    (file,) = (output / "answers").glob("*.jsonl")
    return [entry for line in file.read_text().splitlines() if "row" in (entry := json.loads(line))]


def test_the_model_s_tokenizer_makes_answers_short(smoke_model: Path) -> None:
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(smoke_model)
    answer = "<answer>B</answer>"
    tokens = processor.tokenizer.encode(answer)
    assert processor.tokenizer.convert_ids_to_tokens(tokens) == ["<answer>", "B", "</answer>"]
    assert processor.tokenizer.decode(tokens, skip_special_tokens=True) == answer


def test_a_random_model_is_asked_once_and_batches_do_not_change_its_answers(
    heldout: Path, smoke_model: Path, tmp_path: Path
) -> None:
    said = []
    for size in ("1", "5"):
        output = tmp_path / size
        command = ["bench", smoke_model, "--data", heldout, "--max-new-tokens", "6", "-o", output, "--json"]
        ran = curate(*command, "--batch-size", size, *ENVIRONMENT)
        assert ran.status == 0, ran.err
        (found,) = ran.json()["models"]
        assert (found["model"], found["total"]["rows"], found["total"]["failed"]) == ("base", ROWS, 0)
        assert found["total"]["accuracy"] == 0  # random weights do not even find the form
        assert ran.json()["protocol"]["models"][0]["asked"]["dtype"] == "float32"
        said.append([(entry["row"], entry["id"], entry["response"]) for entry in answers(output)])
    assert said[0] == said[1]
    assert [row for row, _, _ in said[0]] == list(range(1, ROWS + 1))
    again = curate(*command, "--environment", tmp_path / "nowhere")
    assert again.status == 0, again.err  # nothing is left to ask, so no environment is looked for


def test_killed_it_goes_on_where_it_was(heldout: Path, smoke_model: Path, tmp_path: Path) -> None:
    command = ["bench", smoke_model, "--data", heldout, "--max-new-tokens", "6", "-o", tmp_path / "bench"]
    command += ["--batch-size", "1", *ENVIRONMENT]
    process = subprocess.Popen(list(map(str, [*COMMAND, *command])), stderr=subprocess.DEVNULL, start_new_session=True)
    for _ in range(600):
        found = list((tmp_path / "bench").glob("answers/*.jsonl"))
        if found and found[0].read_bytes().count(b"\n") >= 4:
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # The kernel ends the answering process with its parent; until it has, the file may still grow.
    (file,) = (tmp_path / "bench").glob("answers/*.jsonl")
    for _ in range(100):
        size = file.stat().st_size
        time.sleep(0.3)
        if file.stat().st_size == size:
            break
    kept = file.read_bytes()
    assert kept.count(b"\n") >= 4
    with file.open("ab") as opened:
        opened.write(b'{"row": 12, "respo')

    ran = curate(*command)

    assert ran.status == 0, ran.err
    assert file.read_bytes().startswith(kept)
    assert sorted(entry["row"] for entry in answers(tmp_path / "bench")) == list(range(1, ROWS + 1))


def test_rows_that_cannot_be_answered_are_told_and_asked_again(
    heldout: Path, smoke_model: Path, tmp_path: Path
) -> None:
    table = pq.read_table(heldout / "train.parquet")
    rows = table.to_pylist()
    rows[2]["images"][0]["bytes"] = rows[2]["images"][0]["bytes"][:200]
    rows[5]["prompt"][0]["content"] = "No placeholder"
    rows[7]["prompt"][0]["content"] += " and" * 40_000
    data = tmp_path / "data.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), data)
    command = ["bench", smoke_model, "--data", data, "--max-new-tokens", "4", "-o", tmp_path / "bench", *ENVIRONMENT]

    ran = curate(*command, "--json")

    assert ran.status == 1
    (found,) = ran.json()["models"]
    assert (found["total"]["rows"], found["total"]["failed"]) == (ROWS, 3)
    problems = sorted(found["problems"], key=lambda problem: int(problem.split(":")[1]))
    assert "data.parquet:3: " in problems[0]
    assert "truncated" in problems[0]
    assert problems[1] == "data.parquet:6: the prompt has 0 <image> for 1 picture(s)"
    assert "data.parquet:8: " in problems[2]
    assert "more than the 32768 the model can hold" in problems[2]
    assert "Failed rows count as wrong" in ran.err
    assert curate(*command).status == 1
    asked = [entry["row"] for entry in answers(tmp_path / "bench")]
    assert sorted(asked) == sorted([*range(1, ROWS + 1), 3, 6, 8])


def test_a_model_that_does_not_load_is_told_with_its_last_error(
    heldout: Path, smoke_model: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(smoke_model, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:1000])
    ran = curate("bench", "broken", "--data", heldout, *ENVIRONMENT, cwd=tmp_path)
    assert ran.status == 2
    assert "broken" in ran.err
    assert "could not be asked" in ran.err
    assert "everything it printed is in" in ran.err


def test_prompts_and_pictures_are_those_of_verl_s_rollout(heldout: Path, smoke_model: Path, tmp_path: Path) -> None:
    """Among them a large picture, a palette picture and a transparent one."""
    import io

    from hydra import compose, initialize_config_module
    from PIL import Image
    from verl.utils import hf_processor, hf_tokenizer

    from curate.adapters.verl.loader import load, prompt_of

    table = pq.read_table(heldout / "train.parquet")
    rows = table.to_pylist()[:4]
    for row, (mode, size) in zip(rows, (("RGB", (1500, 900)), ("RGBA", (90, 130)), ("P", (64, 200))), strict=False):
        file = io.BytesIO()
        Image.effect_noise(size, 90).convert(mode).save(file, "PNG")
        row["images"][0]["bytes"] = file.getvalue()
    rows[3]["prompt"].insert(0, {"role": "system", "content": "Be brief."})
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), tmp_path / "data.parquet")

    with initialize_config_module(config_module="verl.trainer.config", version_base=None):
        settings = compose("ppo_trainer", overrides=["data.image_patch_size=16", "data.max_prompt_length=512"]).data
    processor = hf_processor(str(smoke_model))
    loaded = load([tmp_path / "data.parquet"], settings, hf_tokenizer(str(smoke_model)), processor)
    assert len(loaded.rows) == 4
    for number, row in enumerate(rows):
        theirs = prompt_of(loaded.dataset, loaded.rows[number])
        ours = build_prompt(row, processor.image_processor.patch_size)
        assert [picture.tobytes() for picture in ours.pictures] == [picture.tobytes() for picture in theirs.images]
        text = processor.apply_chat_template(ours.messages, add_generation_prompt=True, tokenize=False)
        tokens = processor(text=[text], images=ours.pictures)["input_ids"][0]
        assert processor.tokenizer.decode(tokens) == theirs.text


def test_sizes_are_those_of_qwen_vl_utils() -> None:
    from qwen_vl_utils.vision_process import smart_resize

    for width in range(28, 3000, 97):
        for height in range(28, 3000, 89):
            theirs = smart_resize(height, width, factor=32, min_pixels=4096, max_pixels=589_824)
            ours = whole_tokens(width, height, token=32, least=4096, most=589_824)
            assert ours in (theirs[::-1], (max(32, theirs[1]), max(32, theirs[0])))
