#!/usr/bin/env python3
"""Make the model that the smoke recipe trains: a tiny Qwen3-VL with random weights and a tokenizer of its own.

It needs no download. The vocabulary is learned from the texts under examples/raw and from the task, so that they cost
few tokens on a CPU; the answer tags are one token each, as `<think>` is for Qwen3. Pictures have 4 to 16 tokens:
anything above 128 x 128 pixels is scaled down by the processor, in LLaMA-Factory and in verl alike.

    .venv-train/bin/python recipes/smoke/make_model.py DIRECTORY [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from make_task import LETTERS, QUESTION, RAW

from curate.adapters.tiny_qwen3_vl import VOCABULARY_TEXT, TinySize, build_tiny_qwen3_vl

TOKENS = ("<think>", "</think>", "<answer>", "</answer>")


def texts() -> list[str]:
    """What the recipe's stages read, the task often enough for each of its words to be a token."""
    found = [*VOCABULARY_TEXT, *[QUESTION] * 50, *list(LETTERS) * 50]
    for path in sorted(RAW.rglob("*")):
        if path.suffix == ".txt":
            found.append(path.read_text(encoding="utf-8"))
        elif path.suffix == ".json":
            found += _strings(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix == ".jsonl":
            for line in path.read_text(encoding="utf-8").splitlines():
                found += _strings(json.loads(line))
    return found


def _strings(value: Any) -> Iterator[str]:
    """The texts in a record, without its pictures."""
    if isinstance(value, str):
        if " " in value and not value.startswith("data:"):
            yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the tiny model of the smoke recipe.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hidden-size", type=int, default=64, help="of the language model, a multiple of 16")
    parser.add_argument("--layers", type=int, default=2, help="of the language model and of the vision encoder")
    given = parser.parse_args()
    size = TinySize(given.hidden_size, given.layers, vocabulary=1600, min_pixels=64 * 64, max_pixels=128 * 128)
    # Whole or not there at all: a stage that finds half a model would fail with the trainer's message instead of ours.
    unfinished = given.directory.with_name(f"{given.directory.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    build_tiny_qwen3_vl(unfinished, seed=given.seed, size=size, texts=texts(), tokens=TOKENS)
    shutil.rmtree(given.directory, ignore_errors=True)
    print(unfinished.rename(given.directory))
