"""The smoke recipe's task says what it claims to: chance is exactly a quarter, and only the picture tells."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
from support.cli import curate
from support.smoke_task import RECIPE, export_lines, export_task, make_task


def test_the_same_seed_makes_the_same_task_and_another_seed_another(tmp_path: Path) -> None:
    content = []
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        made = make_task(tmp_path / name, "--seed", seed, "--train", "8", "--heldout", "4", "--sft", "16")
        content.append({path.relative_to(made): path.read_bytes() for path in sorted(made.rglob("*.*"))})
    assert content[0] == content[1] != content[2]


def test_labels_for_sft_say_nothing_about_the_pictures_and_queries_are_balanced(tmp_path: Path) -> None:
    exports = export_task(tmp_path, "sft", "grpo", "heldout", rows=(16, 8, 32))
    queries = {name: pq.read_table(exports[name] / "train.parquet").to_pylist() for name in ("grpo", "heldout")}
    assert [len(rows) for rows in queries.values()] == [16, 8]
    for rows in queries.values():
        answers = Counter(row["reward_model"]["ground_truth"] for row in rows)
        assert answers == dict.fromkeys("ABCD", len(rows) // 4)
    pictures = [row["images"][0]["bytes"] for rows in queries.values() for row in rows]
    assert len(set(pictures)) == 24
    records = json.loads((tmp_path / "raw" / "task-sft" / "sft.json").read_text())
    said = Counter(record["conversations"][1]["value"] for record in records)
    assert said == {f"<answer>{letter}</answer>": 8 for letter in "ABCD"}
    pairs = Counter((_colour(tmp_path / "raw" / "task-sft" / record["image"]), record["conversations"][1]["value"])
                    for record in records)  # fmt: skip
    assert set(pairs.values()) == {2}
    assert len(pairs) == 16


def _colour(path: Path) -> str:
    """The colour map, by the channels that are strong in the picture."""
    from PIL import Image, ImageStat

    with Image.open(path) as picture:
        red, green, blue = ImageStat.Stat(picture.convert("RGB")).mean
    if blue > max(red, green):
        return "blue"
    return (
        "yellow"
        if abs(red - green) < 0.3 * max(red, green) and blue < 0.8 * green
        else "red"
        if red > green
        else "green"
    )


def test_conversations_and_queries_have_the_same_prompt(tmp_path: Path) -> None:
    exports = export_task(tmp_path, "sft", "grpo")
    (sft,) = {row["messages"][0]["content"] for row in pq.read_table(exports["sft"] / "train.parquet").to_pylist()}
    prompts = [row["prompt"] for row in pq.read_table(exports["grpo"] / "train.parquet").to_pylist()]
    assert all(prompt == [{"role": "user", "content": sft}] for prompt in prompts)


def test_held_out_pictures_come_from_other_pictures() -> None:
    import sys

    sys.path.insert(0, str(RECIPE))
    try:
        import make_task as script  # type: ignore[import-not-found]
    finally:
        sys.path.remove(str(RECIPE))
    assert not set(script.TRAIN_PICTURES) & set(script.HELDOUT_PICTURES)
    for name in (*script.TRAIN_PICTURES, *script.HELDOUT_PICTURES):
        assert (script.RAW / name).is_file()


def test_nothing_of_the_whole_task_is_dropped_by_the_selection(tmp_path: Path) -> None:
    """At the recipe's own sizes, with the examples beside it, as run_all.sh does."""
    import shutil

    raw = shutil.copytree(RECIPE.parents[1] / "examples" / "raw", tmp_path / "raw")
    make_task(raw)
    assert curate("score", raw, "-o", tmp_path / "curated").status == 0
    rows = {}
    for name, options in export_lines().items():
        ran = curate("export", tmp_path / "curated", *options, "-o", tmp_path / name, "--json")
        assert ran.status == 0, ran.err
        rows[name] = [pq.read_metadata(path).num_rows for path in sorted((tmp_path / name).glob("*.parquet"))]
    assert rows["grpo"] == [192]
    assert rows["heldout"] == [64]
    sft = pq.read_table(tmp_path / "sft" / "train.parquet", columns=["source"])["source"].to_pylist()
    assert Counter(sft)["task-sft"] == 192
    assert Counter(sft)["instructions"] > 0
    assert rows["cpt"][0] > 20
