"""The proof before a GRPO run: real verl over small files with one fault each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hand_made_exports import embedded, png
from verl_stages import colour_row, smoke_stage, write_export

from curate.adapters.verl.adapter import VerlAdapter
from curate.adapters.verl.prove import prove

ROWS = [colour_row(number) for number in range(8)]


def proof_of(model: Path, run: Path, *exports: Path, **entries: Any) -> dict[str, Any]:
    stage = smoke_stage(model, run, *exports, **entries)
    VerlAdapter().check(stage)
    VerlAdapter().configure(stage, run)
    return prove(run)


def test_two_good_exports(tiny_model: Path, tmp_path: Path) -> None:
    first = write_export(tmp_path / "first", ROWS, ROWS[:2])
    without_picture = {**colour_row(4, prompt="Which letter is first?"), "images": []}
    second = write_export(tmp_path / "second", [without_picture, *ROWS[:3]])
    proof = proof_of(tiny_model, tmp_path / "run", first, second, epochs=2, validate_every=1)
    assert proof["problems"] == []
    assert proof["rows"] == {str(first): 8, str(second): 4}
    assert proof["facts"]["optimiser steps"] == 6
    assert proof["facts"]["rows"] == 12
    assert 64 < proof["facts"]["longest prompt, tokens"] <= 200  # a 64 x 64 picture is scaled up to 64 tokens here
    assert proof["parameters"]["trained"] == proof["parameters"]["total"] > 300_000
    [example] = proof["examples"]
    assert example["title"] == f"query 1 of {first}/train.parquet"
    assert "<|image_pad|> x 64 " in example["text"]
    assert example["text"].endswith("reference: A")


def test_rows_that_verl_would_leave_out_without_a_word(tiny_model: Path, tmp_path: Path) -> None:
    good = write_export(tmp_path / "good", ROWS)
    long, broken, uneven = (colour_row(number) for number in range(3))
    long["prompt"][-1]["content"] += " Why?" * 200
    broken["images"] = embedded(png((64, 64))[:60])
    uneven["prompt"][-1]["content"] += "<image>"
    bad = write_export(tmp_path / "bad", [*ROWS[:2], long, broken, ROWS[3], uneven])
    proof = proof_of(tiny_model, tmp_path / "run", good, bad)
    assert proof["rows"] == {str(good): 8, str(bad): 3}
    found = {problem["row"]: problem["message"] for problem in proof["problems"]}
    assert {problem["file"] for problem in proof["problems"]} == {f"{bad}/train.parquet"}
    assert sorted(found) == [3, 4, 6]
    assert "tokens, 64 of them for pictures" in found[3]
    assert "max_prompt_length is 200" in found[3]
    assert "UnidentifiedImageError" in found[4] or "truncated" in found[4]
    assert "AssertionError" in found[6]


REWARDS = {
    "raises": "raise ValueError('no such unit')",
    "none": "return None",
    "no_score": "return {'accuracy': 1.0}",
    "constant": "return 1.0",
    "asynchronous": "return {'score': float(len(solution_str) > 0)}",
}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("raises", "the reward raises ValueError: no such unit"),
        ("none", "the reward returns None, which is no number"),
        ("no_score", "a dict without 'score': accuracy"),
        ("constant", "<answer>B</answer> scores 1, no more than an empty one"),
        ("asynchronous", None),
    ],
)
def test_a_teams_own_reward(
    name: str, says: str | None, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is good for rows whose reference is A; the others meet its fault."""
    definition = "async def" if name == "asynchronous" else "def"
    (tmp_path / f"reward_{name}.py").write_text(
        f"{definition} compute_score(data_source, solution_str, ground_truth, extra_info=None, **options):\n"
        "    if ground_truth == 'A':\n        return {'score': float(len(solution_str) > 0)}\n"
        f"    {REWARDS[name]}\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    export = write_export(tmp_path / "export", [*ROWS[::4], ROWS[1], ROWS[4], ROWS[0]])
    proof = proof_of(tiny_model, tmp_path / "run", export, reward={"module": f"reward_{name}"})
    if says is None:
        assert proof["problems"] == []
    else:
        [problem] = proof["problems"]
        assert (problem["file"], problem["row"]) == (f"{export}/train.parquet", 3)
        assert says in problem["message"]


def test_what_stops_a_run_as_a_whole(tiny_model: Path, tmp_path: Path) -> None:
    export = write_export(tmp_path / "export", ROWS[:3])
    [problem] = proof_of(tiny_model, tmp_path / "few", export)["problems"]
    assert "batch_size is 4, and there are 3 rows" in problem["message"]
    [problem] = proof_of(
        tiny_model, tmp_path / "none", export, batch_size=2, micro_batch_size=4, reward={"module": "no.such"}
    )["problems"]
    assert "the reward no.such can't be loaded: ModuleNotFoundError" in problem["message"]
    (export / "train.parquet").write_bytes(b"PAR1 and no more")
    [problem] = proof_of(tiny_model, tmp_path / "torn", export)["problems"]
    assert problem["file"] == f"{export}/train.parquet"
    assert "verl can't read" in problem["message"]


def test_a_stage_for_gpus_is_proven_without_any_and_not_trained(tiny_model: Path, tmp_path: Path) -> None:
    export, run = write_export(tmp_path / "export", ROWS), tmp_path / "run"
    stage = smoke_stage(tiny_model, run, export, gpus=2, rollout="vllm", micro_batch_size=1)
    VerlAdapter().configure(stage, run)
    command = VerlAdapter().prove(stage, run)  # in a process of its own, which starts others to decode pictures
    variables = {**os.environ, **command.variables}
    subprocess.run([sys.executable, *command.arguments], env=variables, check=True, timeout=300)
    proof = json.loads((run / "proof.json").read_bytes())
    assert proof["problems"] == []
    assert proof["rows"] == {str(export): 8}
    needed = VerlAdapter().needed(stage)
    modules = [f"{module}={advice}" for module, advice in needed.items()]
    done = subprocess.run(
        [sys.executable, "-m", "curate.adapters.machine", "2", *modules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "gpus is 2, and PyTorch sees 0 on this machine" in done.stderr
    assert "vllm is not installed in the trainer's environment: pip install 'verl[vllm]' there" in done.stderr
    assert "flash_attn is not installed" in done.stderr


def test_more_faults_than_a_person_reads_are_counted(tiny_model: Path, tmp_path: Path) -> None:
    rows = [colour_row(number, prompt="<image><image>two?") for number in range(25)]
    proof = proof_of(tiny_model, tmp_path / "run", write_export(tmp_path / "export", [*ROWS, *rows]))
    assert [problem["row"] for problem in proof["problems"]] == [*range(9, 29), None]
    assert proof["problems"][-1]["message"] == "and 5 more rows have problems of this kind"
