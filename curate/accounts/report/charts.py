"""Charts as inline SVG: no script, colours from the style sheet, and the numbers in words beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from curate.accounts.report.histogram import Axis, Histogram
from curate.accounts.report.markup import Html, breakable, figure, shortened, tag
from curate.accounts.report.thresholds import Threshold

_WIDTH: Final = 360
_SIDE: Final = 10
_PLOT: Final = 96
_LANE: Final = 14
"""Height of the line of text that a threshold's name takes above the bars."""
_MOST_THRESHOLDS: Final = 4
_HAIR: Final = 1.5
"""Height of the lowest bar: a single sample among a million is still seen."""


def histogram(data: Histogram, thresholds: Sequence[Threshold], label: str, *, decided: bool) -> Html:
    """Bars of kept samples with the dropped ones on top, and a line at each threshold.

    It is dashed, and nothing is shaded, where the comparison is a part of a rule.
    """
    drawn = list(thresholds)[:_MOST_THRESHOLDS]
    top = 4 + _LANE * len(drawn)
    base = top + _PLOT
    bars = data.counts.shape[1]
    wide = (_WIDTH - 2 * _SIDE) / bars
    tallest = max(1, int(data.counts.sum(axis=0).max()))
    shapes: list[Html] = []
    for position in range(bars):
        x, y = _SIDE + position * wide, float(base)
        for group, name in ((0, "kept" if decided else "all"), (1, "dropped")):
            number = int(data.counts[group, position])
            if number:
                height = max(_HAIR, number / tallest * _PLOT)
                y -= height
                shapes.append(_rectangle(x + wide * 0.06, y, wide * 0.88, height, name))
    lines = [_threshold(threshold, data.axis, 4 + _LANE * place, base) for place, threshold in enumerate(drawn)]
    axis = tag("line", class_="axis", x1=_SIDE, x2=_WIDTH - _SIDE, y1=base, y2=base)
    return tag(
        "svg",
        _shades(drawn, data.axis, base),
        axis,
        shapes,
        lines,
        _ticks(data.axis, base),
        viewBox=f"0 0 {_WIDTH} {base + 18}",
        role="img",
        aria_label=label,
    )


def _rectangle(x: float, y: float, width: float, height: float, name: str) -> Html:
    return tag("rect", class_=name, x=f"{x:.1f}", y=f"{y:.1f}", width=f"{width:.1f}", height=f"{height:.1f}")


def _threshold(threshold: Threshold, axis: Axis, text_top: float, base: float) -> list[Html]:
    value = _line(threshold, axis)
    place = _SIDE + axis.place(value) * (_WIDTH - 2 * _SIDE)
    low, high = float(axis.edges[0]), float(axis.edges[-1])
    anchor = "end" if place > _WIDTH * 0.6 else "start"
    words = shortened(f"{threshold.rule} {threshold.sign} {threshold.value:g}", 44)
    name_class = "threshold part" if threshold.part else "threshold"
    if not low <= value <= high:
        words = f"← {words}" if value < low else f"{words} →"
    x = place + (-4 if anchor == "end" else 4)
    name = tag("text", words, class_="threshold-name", x=f"{x:.1f}", y=text_top + 9, text_anchor=anchor)
    if not low <= value <= high:
        return [name]
    return [tag("line", class_=name_class, x1=f"{place:.1f}", x2=f"{place:.1f}", y1=text_top + 2, y2=base), name]


def _shades(thresholds: Sequence[Threshold], axis: Axis, base: float) -> list[Html]:
    """The sides on which rules drop by one comparison alone, each shaded once."""
    low, high = float(axis.edges[0]), float(axis.edges[-1])
    drawn = [(t, _line(t, axis)) for t in thresholds if not t.part and low <= _line(t, axis) <= high]
    below = [axis.place(value) for threshold, value in drawn if threshold.sign in ("<", "<=")]
    above = [axis.place(value) for threshold, value in drawn if threshold.sign in (">", ">=")]
    wide = _WIDTH - 2 * _SIDE
    shades = [_rectangle(_SIDE, base - _PLOT, max(below) * wide, _PLOT, "shaded")] if below else []
    if above:
        start = min(above) * wide
        shades.append(_rectangle(_SIDE + start, base - _PLOT, wide - start, _PLOT, "shaded"))
    return shades


def _line(threshold: Threshold, axis: Axis) -> float:
    """Where a threshold is drawn: among bars of single numbers between two of them, on the side that stays."""
    if not axis.whole:
        return threshold.value
    return threshold.value + (-0.5 if threshold.sign in ("<", ">=") else 0.5)


def _ticks(axis: Axis, base: float) -> list[Html]:
    ticks = []
    values = _tick_values(axis)
    for position, value in enumerate(values):
        anchor = "start" if position == 0 else "end" if position == len(values) - 1 else "middle"
        x = _SIDE + axis.place(value) * (_WIDTH - 2 * _SIDE)
        if axis.whole and len(axis.edges) <= 12:
            anchor = "middle"
        ticks.append(tag("text", figure(value), class_="tick", x=f"{x:.1f}", y=base + 13, text_anchor=anchor))
    return ticks


def _tick_values(axis: Axis) -> list[float]:
    low, high = float(axis.edges[0]), float(axis.edges[-1])
    if axis.whole:
        first, last = round(low + 0.5), round(high - 0.5)
        step = max(1, math.ceil((last - first) / 6))
        return [float(value) for value in range(first, last + 1, step)]
    if axis.logarithmic:
        return [_rounded(10 ** (math.log10(low) + part / 4 * math.log10(high / low))) for part in range(5)]
    edges = axis.edges
    step = max(1, math.ceil((len(edges) - 1) / 5))
    values = [float(value) for value in edges[::step]]
    return values if values[-1] == high or len(values) < 3 else [*values[:-1], high]


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def numbers_of(data: Histogram, *, decided: bool) -> Html:
    """The same as a table, for who cannot see bars: a row for each that is not empty."""
    edges, axis = data.axis.edges, data.axis
    rows = []
    for position in range(data.counts.shape[1]):
        kept, dropped = (int(number) for number in data.counts[:, position])
        if kept or dropped:
            name = f"{figure(edges[position])} – {figure(edges[position + 1])}"
            if axis.whole and edges[position + 1] - edges[position] == 1:
                name = figure(edges[position] + 0.5)
            rows.append((name, kept, dropped) if decided else (name, kept))
    head = ("value", "kept", "dropped") if decided else ("value", "samples")
    return tag("details", tag("summary", "Numbers"), table(head, rows, label="Samples by value"))


def bar(parts: Sequence[tuple[str, float]], whole: float) -> Html:
    """A bar of coloured lengths out of ``whole``; the numbers stand beside it in the text."""
    lengths = [
        tag("i", class_=name, style=f"width:{max(0.6, 100 * value / whole):.2f}%")
        for name, value in parts
        if value > 0 and whole > 0
    ]
    return tag("span", lengths, class_="bar", aria_hidden="true")


def value_bars(rows: Iterable[tuple[str, int, int]], *, decided: bool) -> Html:
    """For each value a bar of its samples, kept and dropped apart, as a table."""
    body = list(rows)
    longest = max((kept + dropped for _, kept, dropped in body), default=1)
    lines = []
    for name, kept, dropped in body:
        lengths = bar([("kept" if decided else "all", kept), ("dropped", dropped)], longest)
        line: list[object] = [tag("bdi", breakable(shortened(name, 60))), lengths, kept + dropped]
        lines.append([*line, dropped] if decided else line)
    head = ("value", "", "samples", *(["dropped"] if decided else []))
    return table(head, lines, numbers=(2, 3), label="Samples by value", class_="bars")


def interval(low: float, high: float, share: float, needed: float | None, *, dropped: bool) -> Html:
    """An interval of a share between 0 and 1, with the share that is asked for."""
    width, middle = 240, 12

    def at(value: float) -> str:
        return f"{6 + min(1.0, max(0.0, value)) * (width - 12):.1f}"

    name = "dropped" if dropped else "kept"
    parts = [
        tag("line", class_="axis", x1=at(0), x2=at(1), y1=middle, y2=middle),
        tag("line", class_=f"interval {name}", x1=at(low), x2=at(high), y1=middle, y2=middle),
        tag("circle", class_=name, cx=at(share), cy=middle, r=4.5),
    ]
    if needed is not None:
        parts.append(tag("line", class_="threshold", x1=at(needed), x2=at(needed), y1=1, y2=23))
    label = f"{share:.1%} pass; between {low:.1%} and {high:.1%}" + (f"; asked {needed:.1%}" if needed else "")
    return tag("svg", parts, viewBox=f"0 0 {width} 24", role="img", aria_label=label, class_="interval")


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    label: str,
    numbers: Sequence[int] | None = None,
    class_: str | None = None,
    secondary: Sequence[int] = (),
    narrow: bool = False,
) -> Html:
    """A table in a frame that scrolls by itself when it is too wide.

    ``numbers`` are the right-aligned columns, by default all but the first; ``secondary`` those left out on a phone;
    a ``narrow`` table is no wider than what is in it.
    """
    right = set(range(1, len(head)) if numbers is None else numbers)
    small = set(secondary)

    def style(position: int) -> str | None:
        names = [name for name, places in (("n", right), ("wide", small)) if position in places]
        return " ".join(names) or None

    header = [tag("th", name, scope="col", class_=style(position)) for position, name in enumerate(head)]
    body = []
    for row in rows:
        cells = [tag("th", row[0], scope="row", class_=style(0))]
        cells += [tag("td", cell, class_=style(position)) for position, cell in enumerate(row[1:], 1)]
        body.append(tag("tr", cells))
    whole = tag("table", tag("thead", tag("tr", header)), tag("tbody", body), class_=class_)
    return tag("div", whole, class_="frame narrow" if narrow else "frame", tabindex=0, role="region", aria_label=label)
