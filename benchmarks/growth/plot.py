"""Time and memory over the number of samples, as an SVG that needs no library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from growth.watch import Run

_WIDTH, _HEIGHT, _LEFT, _TOP = 300, 220, 70, 30


def plot(found: Mapping[int, Mapping[str, Run]], steps: Sequence[str], path: Path) -> None:
    """Two panels: seconds (both axes logarithmic, with the straight line of linear growth) and peak memory in MiB."""
    sizes = list(found)
    seconds = [sum(found[size][step].wall for step in steps) for size in sizes]
    memory = [max(found[size][step].peak for step in steps) / 2**20 for size in sizes]
    linear = [seconds[-1] * size / sizes[-1] for size in sizes]
    panels = [
        _panel(0, "seconds", sizes, [("measured", "#1f5fa8", seconds), ("linear", "#999999", linear)], (1, 10_000)),
        _panel(
            1, "peak memory, MiB", sizes, [("measured", "#1f5fa8", memory), ("limit", "#b03030", [1536] * len(sizes))]
        ),
    ]
    width, height = 2 * (_WIDTH + _LEFT + 20), _HEIGHT + _TOP + 50
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(panels)}</svg>\n'
    )


def _panel(
    place: int,
    title: str,
    sizes: Sequence[int],
    lines: Sequence[tuple[str, str, Sequence[float]]],
    logarithmic: tuple[float, float] | None = None,
) -> str:
    left, span = place * (_WIDTH + _LEFT + 20) + _LEFT, math.log10(sizes[-1] / sizes[0]) or 1.0
    low, high = logarithmic or (0.0, 1600.0)

    def across(size: int) -> float:
        return left + _WIDTH * math.log10(size / sizes[0]) / span

    def up(value: float) -> float:
        share = math.log10(value / low) / math.log10(high / low) if logarithmic else value / high
        return _TOP + _HEIGHT * (1 - share)

    ticks = [10**power for power in range(5)] if logarithmic else list(range(0, 1601, 400))
    parts = [f'<text x="{left}" y="18" font-weight="bold">{title}</text>']
    for tick in ticks:
        y = up(tick)
        parts.append(f'<line x1="{left}" x2="{left + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:,}</text>')
    for size in sizes:
        parts.append(f'<text x="{across(size):.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{size:,}</text>')
    for number, (name, colour, values) in enumerate(lines):
        points = " ".join(f"{across(size):.1f},{up(value):.1f}" for size, value in zip(sizes, values, strict=True))
        dashes = "" if name == "measured" else ' stroke-dasharray="5 4"'
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts.append(f'<text x="{left + 10 + 90 * number}" y="{_TOP + _HEIGHT + 38}" fill="{colour}">{name}</text>')
    return "".join(parts)
