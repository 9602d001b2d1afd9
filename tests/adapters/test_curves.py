"""Curves as text, and what is read from metrics files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from curate.adapters.curves import chart, read_curves, running_mean


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_chart_fits_its_width_and_height_and_has_no_colours(width: int) -> None:
    lines = chart([(step, math.sin(step / 9)) for step in range(300)], width, 8).splitlines()
    assert len(lines) == 9
    assert all(len(line) <= width for line in lines)
    assert "\x1b" not in "".join(lines)
    assert lines[0].lstrip().startswith("1 ┤")
    assert lines[7].lstrip().startswith("-1 ┤")
    assert lines[8].split() == ["step", "0", "299"]


def _height_in_column(lines: list[str], column: int) -> int:
    """The lowest line, counted from the top, that has dots in this column."""
    return max(number for number, line in enumerate(lines) if len(line) > column and line[column] > "\u2800")


def test_a_rising_curve_rises_and_has_no_gaps() -> None:
    lines = chart([(0, 0.0), (10, 1.0)], 40, 6).splitlines()[:-1]
    first = lines[0].index("┤") + 1
    heights = [_height_in_column(lines, column) for column in range(first, 40 - 2)]
    assert heights == sorted(heights, reverse=True)
    assert (heights[0], heights[-1]) == (5, 0)


def test_a_constant_a_single_point_no_point_and_values_that_are_not_finite() -> None:
    assert chart([(1, 0.5), (2, 0.5)], 40, 4).count("0.5 ┤") == 2
    assert len(chart([(3, 7.0)], 40, 4).splitlines()) == 5
    assert chart([], 40, 4) == chart([(1, math.nan), (2, math.inf)], 40, 4) == "no points"
    assert chart([(1, 0.0), (2, math.nan), (3, 1.0)], 40, 4) == chart([(1, 0.0), (3, 1.0)], 40, 4)


def test_half_lines_and_lines_without_the_key_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "metrics=1.jsonl"
    file.write_text('{"step": 2, "loss": 1.5}\n{"step": 1, "loss": 2, "x": "y"}\n{"loss": 9}\n7\n{"step": 3, "lo')
    assert read_curves(f"CPT={file}:loss,x")[0] == "CPT"
    loss, other = read_curves(f"CPT={file}:loss,x")[1]
    assert (loss.name, loss.points, other.points) == ("loss", [(1.0, 2.0), (2.0, 1.5)], [])
    with pytest.raises(ValueError, match="no TITLE="):
        read_curves("metrics.jsonl")


def test_the_running_mean_keeps_a_line_and_its_ends() -> None:
    line = [(step, 2.0 * step) for step in range(20)]
    assert running_mean(line, 5)[2:-2] == line[2:-2]
    assert len(running_mean(line, 5)) == 20
