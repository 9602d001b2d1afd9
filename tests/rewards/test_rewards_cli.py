"""``curate reward`` as a command."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.cli import curate

CHOICES = ["Lung", "Liver", "Spleen"]


def answer(text: str) -> str:
    return f"<think>t</think><answer>{text}</answer>"


def saved(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def organ(name: str, *responses: str, **more: Any) -> dict[str, Any]:
    base = {"id": name, "data_source": "slake", "answer": "B", "query_type": "choice", "choices": CHOICES}
    return {**base, "responses": list(responses), **more}


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    return saved(
        tmp_path / "responses.jsonl",
        organ("mixed", answer("B"), answer("A"), answer("A"), answer("A")),
        organ("all right", answer("Liver"), answer("(B)")),
        organ("all wrong", answer("A"), "A"),
        {"data_source": "rad", "answer": "是", "query_type": "yes_no", "response": answer("是的")},
    )


def test_summary(responses: Path) -> None:
    before = sorted(responses.parent.iterdir())
    ran = curate("reward", responses)
    assert (ran.status, ran.out) == (0, "")
    assert "choice" in ran.err
    assert "66.7% of 3 groups have no spread in accuracy" in ran.err
    assert "all wrong" in ran.err
    assert "+1.50" in ran.err
    assert "Responses without a group: 1" in ran.err
    assert sorted(responses.parent.iterdir()) == before


def test_json(responses: Path) -> None:
    ran = curate("reward", responses, "--json")
    result = ran.json()
    assert result["responses"] == 9
    choice, yes_no = result["slices"]
    assert (choice["query_type"], choice["source"], choice["responses"]) == ("choice", "slake", 8)
    assert (choice["format"], choice["accuracy"]) == (7 / 8, 3 / 8)
    assert choice["score"] == pytest.approx(0.1 * 7 / 8 + 0.9 * 3 / 8)
    assert (yes_no["source"], yes_no["score"]) == ("rad", 1.0)
    assert sum(part["responses"] for part in result["histogram"]) == 9
    assert result["groups"]["share_no_spread_in_accuracy"] == pytest.approx(2 / 3)
    assert result["groups"]["no_spread_in_score"] == 1
    assert result["groups"]["sizes"] == {"2": 2, "4": 1}
    assert result["problems"] == []


def test_scores_of_each_response(responses: Path, tmp_path: Path) -> None:
    ran = curate("reward", responses, "-o", tmp_path / "out" / "scores.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text("utf-8").splitlines()]
    assert ran.status == 0
    assert [row["score"] for row in rows] == [1.0, 0.1, 0.1, 0.1, 1.0, 1.0, 0.1, 0.0, 1.0]
    assert [row["advantage"] for row in rows[:4]] == pytest.approx([1.5, -0.5, -0.5, -0.5])
    assert [row["advantage"] for row in rows[4:6]] == [0.0, 0.0]
    assert rows[8]["advantage"] is None
    assert (rows[8]["pred"], rows[8]["query_type"], rows[8]["row"]) == ("是的", "yes_no", 4)


def test_parquet_with_null_filled_choices(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(
        [
            organ("a", answer("Liver"), choices={"A": "Lung", "B": "Liver"}),
            organ("b", answer("Knee"), choices={"A": "Hip", "B": "Knee", "C": "Elbow"}),
        ]
    )
    pq.write_table(table, tmp_path / "r.parquet")
    ran = curate("reward", tmp_path / "r.parquet", "--json")
    assert (ran.status, ran.json()["slices"][0]["accuracy"]) == (0, 1.0)


def test_rows_with_problems(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "r.jsonl",
        organ("good", answer("B"), answer("A")),
        organ("lost", answer("B"), answer="E"),
        organ("other", answer("B"), query_type="essay"),
        organ("silent", answer="B"),
    )
    with path.open("a") as file:
        file.write("{broken\n")
    ran = curate("reward", path)
    assert ran.status == 1
    assert "4 row(s) with a problem" in ran.err
    assert f"{path}:2: 'E' is no choice answer among the options A, B, C" in ran.err
    assert f"{path}:3: no reward is known for query_type 'essay'" in ran.err
    assert f"{path}:4: there is no response" in ran.err
    assert f"{path}:5: it is not valid JSON" in ran.err


def test_nothing_to_score(tmp_path: Path) -> None:
    ran = curate("reward", saved(tmp_path / "r.jsonl", {"a": 1}), "--json")
    assert (ran.status, ran.json()["responses"]) == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format-weight", "0.5"], "must sum to 1"),
        (["--query-type", "essay"], "no reward is known for query_type 'essay'"),
        (["-o", "responses.jsonl"], "is read as well"),
        (["--prompts", "broken.parquet"], "is no readable Parquet file"),
    ],
)
def test_what_cannot_run(responses: Path, arguments: list[str], message: str) -> None:
    (responses.parent / "broken.parquet").write_bytes(b"PAR1 nothing more")
    content = responses.read_bytes()
    ran = curate("reward", "responses.jsonl", *arguments, cwd=responses.parent)
    assert ran.status == 2
    assert message in ran.err
    assert responses.read_bytes() == content


def test_rollout_dumps_with_the_file_that_was_trained_on(tmp_path: Path) -> None:
    row = {
        "data_source": "slake",
        "prompt": [{"role": "user", "content": "<image>\nWhich organ is this?"}],
        "images": [{"bytes": b"\x89PNG", "path": None}],
        "reward_model": {"style": "rule", "ground_truth": "B"},
        "extra_info": {
            "index": 0,
            "query_type": "choice",
            "answers": ["B"],
            "choices": [{"label": label, "text": text} for label, text in zip("ABC", CHOICES, strict=True)],
        },
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "train.parquet")
    shown = "user\n\nWhich organ is this?\nassistant\n"
    for step in (1, 2):
        lines = [
            {"input": shown, "output": answer(said), "gts": "B", "score": score, "step": step, "uid": f"u_{n}_0"}
            for n, (said, score) in enumerate([("Liver", 1.0), ("Lung", 0.1)])
        ]
        saved(tmp_path / f"{step}.jsonl", *lines)
    dumps = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]

    bare = curate("reward", *dumps)
    assert (bare.status, "--query-type names one" in bare.err) == (1, True)

    named = curate("reward", *dumps, "--query-type", "choice", "--json")
    assert named.status == 0
    assert "2 of 4 responses got another score than the one recorded there" in named.err

    full = curate("reward", *dumps, "--prompts", tmp_path / "train.parquet", "--json")
    assert full.status == 0
    assert full.json()["recorded"] == {"responses": 4, "differing": 0}
    assert full.json()["slices"][0]["source"] == "slake"
    assert full.json()["groups"]["sizes"] == {"2": 2}


def test_bad_rows_of_the_file_that_was_trained_on_are_reported(responses: Path, tmp_path: Path) -> None:
    row = {
        "data_source": "rad",
        "prompt": [{"role": "user", "content": "Is it?"}],
        "reward_model": {},
        "extra_info": {},
    }
    prompts = saved(tmp_path / "train.jsonl", row)
    with prompts.open("a") as file:
        file.write("{broken\n[1]\n")
    ran = curate("reward", responses, "--prompts", prompts, "--json")
    assert (ran.status, ran.json()["responses"]) == (1, 9)
    assert "2 row(s) with a problem" in ran.err
    first, second = ran.json()["problems"]
    assert first.startswith(f"{prompts}:2: it is not valid JSON")
    assert second.startswith(f"{prompts}:3: a row must be a JSON object")


def test_a_hostile_source_name_is_shown_as_text(tmp_path: Path) -> None:
    ran = curate("reward", saved(tmp_path / "r.jsonl", organ("a", answer("B"), data_source="\u001b[31m[bold]x")))
    assert ran.status == 0
    assert "\u001b" not in ran.err
    assert "[bold]x" in ran.err


def test_types_of_a_team(tmp_path: Path) -> None:
    (tmp_path / "team_rewards.py").write_text(
        "from curate.rewards import register\n\n"
        "@register('length')\n"
        "def length(answer, references, context):\n"
        "    return min(len(answer) / len(references[0]), 1.0)\n"
    )
    path = saved(tmp_path / "r.jsonl", organ("a", answer("ab"), answer="abcd", query_type="length"))
    assert curate("reward", path).status == 1
    ran = curate("reward", path, "--json", env={"CURATE_REWARDS": "team_rewards", "PYTHONPATH": str(tmp_path)})
    assert (ran.status, ran.json()["slices"][0]["accuracy"]) == (0, 0.5)
    lost = curate("reward", path, env={"CURATE_REWARDS": "no_such_module"})
    assert (lost.status, "no_such_module" in lost.err) == (2, True)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "r.parquet").write_bytes(b"PAR1")
    ran = curate("reward", tmp_path / "r.parquet")
    assert ran.status == 1
    assert f"{tmp_path / 'r.parquet'}: reading stopped" in ran.err
