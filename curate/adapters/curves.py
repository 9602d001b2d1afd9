"""Training curves: as text for a terminal, and as a picture (in the environment of a trainer, which has matplotlib).

    python -m curate.adapters.curves OUT.png TITLE=metrics.jsonl:KEY[,KEY...] ...

One panel for each TITLE. Points are JSON lines with ``step`` and, where it was logged, KEY.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

Point = tuple[float, float]
"""Step and value."""

_DOTS: Final = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille character: two columns of four dots, from the top (Unicode Standard 15, section 21.1)."""
_BRAILLE: Final = 0x2800

_COLOURS: Final = ("#1f5fa8", "#c2571a", "#2b8a4b", "#7a4fa3")
_SMOOTHED_FROM: Final = 40
"""Points from which a running mean is drawn over a curve."""


def chart(points: Sequence[Point], width: int = 80, height: int = 10) -> str:
    """A curve in ``height`` lines of at most ``width`` columns, and a line with the steps below; no colours.

    Points that fall into the same column are averaged; values that are not finite are left out. Without any point the
    text says so.
    """
    finite = sorted(point for point in points if all(map(math.isfinite, point)))
    if not finite:
        return "no points"
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    first, last = finite[0][0], finite[-1][0]
    labels = [_short(high), _short(low)]
    margin = max(map(len, labels))
    columns, rows = max(4, width - margin - 2), max(2, height)
    dots = _dots(finite, (first, last), (low, high), 2 * columns, 4 * rows)
    lines = []
    for row in range(rows):
        label = labels[0] if row == 0 else labels[1] if row == rows - 1 else ""
        # An empty braille cell is a space: some fonts show its eight dots as circles.
        cells = [_cell(dots, column, row) for column in range(columns)]
        lines.append(f"{label:>{margin}} ┤" + "".join(chr(_BRAILLE + cell) if cell else " " for cell in cells))
    ends = f"step {first:g}", f"{last:g}"
    lines.append(" " * (margin + 2) + ends[0] + ends[1].rjust(max(1 + len(ends[1]), columns - len(ends[0]))))
    return "\n".join(line.rstrip() for line in lines)


def _dots(
    points: Sequence[Point], steps: tuple[float, float], values: tuple[float, float], columns: int, rows: int
) -> set[tuple[int, int]]:
    """(column, row) of the dots of the curve, neighbouring points joined."""
    sums: dict[int, list[float]] = {}
    for step, value in points:
        column = _scaled(step, *steps, columns)
        total = sums.setdefault(column, [0.0, 0])
        total[0] += value
        total[1] += 1
    places = [(c, rows - 1 - _scaled(total / n, *values, rows)) for c, (total, n) in sorted(sums.items())]
    dots = set(places)
    for (left, start), (right, stop) in pairwise(places):
        pieces = max(right - left, abs(stop - start))
        dots |= {
            (left + round((right - left) * piece / pieces), start + round((stop - start) * piece / pieces))
            for piece in range(pieces)
        }
    return dots


def _scaled(value: float, low: float, high: float, size: int) -> int:
    return min(size - 1, int((value - low) / (high - low) * size)) if high > low else size // 2


def _cell(dots: set[tuple[int, int]], column: int, row: int) -> int:
    return sum(
        bit
        for across, bits in enumerate(_DOTS)
        for down, bit in enumerate(bits)
        if (2 * column + across, 4 * row + down) in dots
    )


def _short(value: float) -> str:
    return f"{value:.3g}"


class Curve(NamedTuple):
    """One line of a panel."""

    name: str
    points: list[Point]


def read_curves(specification: str) -> tuple[str, list[Curve]]:
    """The title and the curves of ``TITLE=metrics.jsonl:KEY,KEY``.

    Lines that do not hold a key, or are cut off, are passed over. Raises ValueError for another form, OSError when the
    file cannot be read.
    """
    title, equals, rest = specification.partition("=")
    path, colon, keys = rest.rpartition(":")
    if not (title and equals and path and colon and keys):
        raise ValueError(f"{specification!r} is no TITLE=metrics.jsonl:KEY")
    entries = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict) and "step" in entry:
            entries.append(entry)
    return title, [Curve(key, _points(entries, key)) for key in keys.split(",")]


def _points(entries: Sequence[dict[str, Any]], key: str) -> list[Point]:
    found = [(float(entry["step"]), float(entry[key])) for entry in entries if _is_number(entry.get(key))]
    return sorted(point for point in found if math.isfinite(point[1]))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def running_mean(points: Sequence[Point], window: int) -> list[Point]:
    """Each value averaged with those up to half a window before and behind it."""
    half = window // 2
    smooth = []
    for place, (step, _) in enumerate(points):
        near = [value for _, value in points[max(0, place - half) : place + half + 1]]
        smooth.append((step, sum(near) / len(near)))
    return smooth


def draw(target: Path, panels: Sequence[tuple[str, Sequence[Curve]]]) -> None:
    """Write a PNG with one panel beside the other, three in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = min(3, len(panels))
    down = -(-len(panels) // 3)
    figure = Figure(figsize=(5.2 * across, 3.8 * down), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for number, (title, curves) in enumerate(panels, 1):
        axes = figure.add_subplot(down, across, number)
        for curve, colour in zip(curves, _COLOURS * len(curves), strict=False):
            _draw_curve(axes, curve, colour, labelled=len(curves) > 1)
        axes.set_title(title, loc="left", fontweight="bold")
        axes.set_xlabel("step")
        axes.set_ylabel(curves[0].name.replace("_", " ") if len(curves) == 1 else "")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if not any(curve.points for curve in curves):
            axes.text(0.5, 0.5, "nothing was logged", ha="center", va="center", transform=axes.transAxes)
        elif len(curves) > 1:
            axes.legend(frameon=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target)


def _draw_curve(axes: Any, curve: Curve, colour: str, *, labelled: bool) -> None:
    if not curve.points:
        return
    label = curve.name.replace("_", " ") if labelled else None
    steps, values = zip(*curve.points, strict=True)
    if len(steps) < _SMOOTHED_FROM:
        axes.plot(steps, values, color=colour, linewidth=1.6, marker="o", markersize=3.5, label=label)
        return
    axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.35)
    smooth = running_mean(curve.points, max(5, len(steps) // 20))
    axes.plot(*zip(*smooth, strict=True), color=colour, linewidth=1.8, label=label)


def main(arguments: Sequence[str]) -> None:
    """Draw the panels that the command line names."""
    if len(arguments) < 2:
        raise SystemExit("usage: python -m curate.adapters.curves OUT.png TITLE=metrics.jsonl:KEY[,KEY...] ...")
    try:
        panels = [read_curves(specification) for specification in arguments[1:]]
    except (ValueError, OSError) as error:
        raise SystemExit(f"curves: {error}") from None
    draw(Path(arguments[0]), panels)


if __name__ == "__main__":
    main(sys.argv[1:])
