"""The rows of the inputs in chunks: all of them, in order, however they are cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.pictures import distinct

from curate.sources.inputs import Inputs
from curate.sources.readers import BadRow, Line, Row


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for folder, rows in (("a", 700), ("b", 1), ("c", 0), ("d", 90)):
        (tmp_path / folder).mkdir()
        lines = [json.dumps({"image": "0.png", "text": f"{folder} {row}"}) for row in range(rows)]
        (tmp_path / folder / "rows.jsonl").write_text("\n".join(lines))
    for number in range(5):
        (tmp_path / "b" / f"{number}.png").write_bytes(distinct(number))
        (tmp_path / "b" / f"{number}.txt").write_text(f"Picture {number}.")
    return tmp_path


def read(raw: Path, skip: int, seconds: float) -> tuple[list[tuple[str, Line | Row | BadRow]], list[int]]:
    """All rows with their files, and the sizes of the chunks when each takes so long."""
    inputs = Inputs([raw], (raw,), {})
    rows, sizes = [], []
    for chunk in inputs.chunks(skip):
        rows += [(part.file, row) for part in chunk.files for row in part.rows]
        sizes.append(chunk.rows)
        inputs.adapt(chunk.rows, seconds)
    assert sum(sizes) == len(rows)
    return rows, sizes


@pytest.mark.parametrize("skip", [0, 1, 16, 699, 700, 703, 10_000])
def test_rows_are_the_same_in_chunks_of_any_size(raw: Path, skip: int) -> None:
    rows, large = read(raw, 0, 0.001)
    assert len(rows) == 700 + 1 + 5 + 1 + 90
    for seconds in (0.001, 5.0):
        assert read(raw, skip, seconds)[0] == rows[skip:]
    _, small = read(raw, 0, 5.0)
    assert max(large) > 200
    assert set(small[1:]) == {1}, "a row that takes seconds is worth a process' while"


def test_large_rows_are_few_in_a_chunk(tmp_path: Path) -> None:
    lines = [json.dumps({"image": "0.png", "text": f"{row}" * 5_000_000}) for row in range(6)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    rows, sizes = read(tmp_path, 0, 0.001)
    assert [row.number for _, row in rows] == [1, 2, 3, 4, 5, 6]
    assert max(sizes) == 2
