"""`curate bench` on answers that are there already: scores, tables, comparison, and what it refuses. No trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from support.cli import Ran, curate
from support.smoke_task import export_task

from curate.evals.protocol import answers_file, name_models, open_data

ROWS = 8


@pytest.fixture(scope="module")
def heldout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight held-out rows, two for each letter."""
    return export_task(tmp_path_factory.mktemp("task"), "heldout", rows=(4, ROWS, 16))["heldout"]


def model(directory: Path, weights: bytes = b"weights") -> Path:
    directory.mkdir(parents=True)
    (directory / "config.json").write_text("{}")
    (directory / "model.safetensors").write_bytes(weights)
    return directory


def references(heldout: Path) -> list[str]:
    rows = pq.read_table(heldout / "train.parquet", columns=["reward_model"]).to_pylist()
    return [row["reward_model"]["ground_truth"] for row in rows]


def save_answers(output: Path, directory: Path, heldout: Path, said: list[dict[str, Any]]) -> Path:
    """As the answering process leaves them."""
    (named,) = name_models([str(directory)])
    file = answers_file(output, named, open_data(heldout), 16)
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"protocol": {"decoding": "greedy", "commit": None}}]
    lines += [{"row": row, "id": str(row), "tokens": 4, "stopped": True, **line} for row, line in enumerate(said, 1)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def bench(cwd: Path, *arguments: str | Path) -> Ran:
    return curate("bench", *arguments, "--max-new-tokens", "16", cwd=cwd)


def test_scores_tables_and_the_comparison(heldout: Path, tmp_path: Path) -> None:
    before, after = model(tmp_path / "before"), model(tmp_path / "grpo" / "model", b"others")
    truth = references(heldout)
    save_answers(tmp_path / "bench", before, heldout, [{"response": "<answer>A</answer>"}] * ROWS)
    said: list[dict[str, Any]] = [{"response": f"<answer>{letter}</answer>"} for letter in truth]
    said[1] = {"response": "<answer>mauve</answer>"}
    said[2] = {"response": "yellow, I would say", "stopped": False, "tokens": 16}
    save_answers(tmp_path / "bench", after, heldout, said)

    ran = bench(tmp_path, "before", "grpo/model", "--data", heldout, "--json")

    assert ran.status == 0, ran.err
    results = ran.json()
    assert results == json.loads((tmp_path / "bench" / "bench.json").read_text())
    first, second = results["models"]
    assert (first["model"], second["model"]) == ("before", "grpo")
    assert (first["total"]["rows"], first["total"]["accuracy"]) == (ROWS, 0.25)
    right = sum(place not in (1, 2) for place in range(ROWS))
    assert second["total"]["accuracy"] == right / ROWS
    assert (second["total"]["format"], second["total"]["unread"], second["total"]["cut_off"]) == (7 / 8, 1, 1)
    assert second["total"]["low"] < right / ROWS < second["total"]["high"]
    assert second["total"]["mean_tokens"] == (7 * 4 + 16) / 8
    (compared,) = results["comparisons"]
    worse = sum(truth[place] == "A" for place in (1, 2))
    better = sum(truth[place] != "A" for place in range(ROWS) if place not in (1, 2))
    assert (compared["model"], compared["against"]) == ("grpo", "before")
    assert (compared["better"], compared["worse"]) == (better, worse)
    assert compared["difference"] == pytest.approx(right / ROWS - 0.25)
    text = " ".join(ran.err.split())
    assert "before 8 0.250" in text
    assert f"grpo {better} {worse}" in text
    protocol = results["protocol"]
    assert protocol["data"]["rows"] == protocol["data"]["asked"] == ROWS
    assert protocol["models"][1]["asked"]["decoding"] == "greedy"


def test_a_row_that_failed_counts_as_wrong_and_gives_status_1(heldout: Path, tmp_path: Path) -> None:
    """The model's environment does not exist, so the failed row cannot be asked again: only --limit leaves it out."""
    directory = model(tmp_path / "m")
    said: list[dict[str, Any]] = [{"response": f"<answer>{letter}</answer>"} for letter in references(heldout)]
    said[-1] = {"error": "the picture is truncated"}
    save_answers(tmp_path / "bench", directory, heldout, said)

    ran = bench(tmp_path, "m", "--data", heldout, "--environment", tmp_path)

    assert ran.status == 2
    assert "has no Python" in ran.err
    assert bench(tmp_path, "m", "--data", heldout, "--limit", "7").status == 0


def test_answers_of_another_model_or_file_are_not_taken(heldout: Path, tmp_path: Path) -> None:
    directory = model(tmp_path / "m")
    file = save_answers(tmp_path / "bench", directory, heldout, [{"response": "<answer>A</answer>"}] * ROWS)
    (directory / "model.safetensors").write_bytes(b"trained further")
    (named,) = name_models([str(directory)])
    assert answers_file(tmp_path / "bench", named, open_data(heldout), 16) != file
    assert bench(tmp_path, "m", "--data", heldout, "--environment", tmp_path).status == 2
    (directory / "model.safetensors").write_bytes(b"weights")
    (directory / "optimizer.pt").write_bytes(b"of no account")
    assert bench(tmp_path, "m", "--data", heldout).status == 0


def test_a_damaged_line_is_told_and_a_half_one_at_the_end_is_no_answer(heldout: Path, tmp_path: Path) -> None:
    directory = model(tmp_path / "m")
    file = save_answers(tmp_path / "bench", directory, heldout, [{"response": "<answer>A</answer>"}] * ROWS)
    lines = file.read_bytes()
    file.write_bytes(lines + b'{"row": 1, "resp')
    assert bench(tmp_path, "m", "--data", heldout).status == 0
    file.write_bytes(lines.replace(b'{"row": 3,', b"\0\0\0", 1))
    ran = bench(tmp_path, "m", "--data", heldout)
    assert ran.status == 2
    assert f"{file.name}:4 is damaged" in "".join(ran.err.split("\n"))


def test_what_it_refuses(heldout: Path, tmp_path: Path) -> None:
    model(tmp_path / "m")
    model(tmp_path / "run" / "model")
    model(tmp_path / "other" / "m")
    (tmp_path / "no-weights").mkdir()
    (tmp_path / "no-weights" / "config.json").write_text("{}")
    both = tmp_path / "both"
    both.mkdir()
    for name in ("train.parquet", "val.parquet"):
        (both / name).write_bytes((heldout / "train.parquet").read_bytes())
    (tmp_path / "other.parquet").write_bytes(b"PAR1")
    for arguments, message in (
        (["m", "--data", "nowhere"], "nowhere does not exist"),
        (["./nothing", "--data", heldout], "./nothing is no model"),
        (["run", "--data", heldout], "did you mean run/model?"),
        (["no-weights", "--data", heldout], "holds no weights"),
        (["m", "other/m", "--data", heldout], "two models would be called m; give names"),
        (["m", "--data", "both"], "name the one that no model was trained on: --data both/val.parquet"),
        (["m", "--data", "other.parquet"], "other.parquet is no readable Parquet file"),
        (["m", "--data", heldout, "--relative-tolerance", "-1"], "relative_tolerance is -1.0"),
    ):
        ran = bench(tmp_path, *arguments, "--environment", tmp_path / "no-environment")
        assert ran.status == 2, ran.err
        assert message in " ".join(ran.err.split())
