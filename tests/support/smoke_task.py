"""The smoke recipe's task through the real pipeline: made, scored, exported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support.cli import curate

RECIPE = Path(__file__).resolve().parents[2] / "recipes" / "smoke"


def make_task(out: Path, *options: str) -> Path:
    """Run the recipe's script."""
    subprocess.run([sys.executable, RECIPE / "make_task.py", out, *options], check=True, capture_output=True)
    return out


def export_lines() -> dict[str, list[str]]:
    """The recipe's exports: options of `curate export` by name, read as the shell reads them."""
    import shlex

    lines = (RECIPE / "exports.txt").read_text().splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return {words[0]: words[1:] for words in split if words}


def export_task(directory: Path, *names: str, rows: tuple[int, int, int] = (16, 8, 16)) -> dict[str, Path]:
    """The recipe's exports of these names, from a task of so many train, held-out and SFT rows."""
    counts = zip(("--train", "--heldout", "--sft"), map(str, rows), strict=True)
    make_task(directory / "raw", *[word for pair in counts for word in pair])
    assert curate("score", directory / "raw", "-o", directory / "curated").status == 0
    found = {}
    for name in names:
        ran = curate("export", directory / "curated", *export_lines()[name], "-o", directory / name)
        assert ran.status == 0, ran.err
        found[name] = directory / name
    return found
