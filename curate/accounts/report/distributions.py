"""Sections with a chart for every score and signal."""

from __future__ import annotations

from collections import Counter
from typing import Final

from curate.accounts.report.charts import histogram, numbers_of, value_bars
from curate.accounts.report.markup import Html, count, figure, marked, shortened, tag
from curate.accounts.report.material import Material
from curate.accounts.report.measures import Measure
from curate.accounts.report.section import Section, absent, section

_MOST_VALUES: Final = 12
_MEANING: Final = 240


def scores(material: Material) -> Section:
    """What the judge gave."""
    measures = [measure for measure in material.measures if measure.judged]
    if not measures or not material.tally.scored:
        return absent("scores", "Scores", "No sample was judged: curate score CORPUS --judge asks a judge.")
    return section("scores", "Scores", _key(material), _grid(material, measures))


def signals(material: Material) -> Section:
    """What was measured."""
    measures = [measure for measure in material.measures if not measure.judged and measure.form != "names"]
    if not material.tally.measured:
        return absent("signals", "Signals", "No sample was measured: curate score CORPUS measures them.")
    return section("signals", "Signals", _key(material), _grid(material, measures))


def names(material: Material) -> Section | None:
    """What samples are: kinds, languages, licences, modalities."""
    measures = [measure for measure in material.measures if not measure.judged and measure.form == "names"]
    charts = _grid(material, measures)
    return section("values", "Kinds and other values", _key(material), charts) if charts else None


def _key(material: Material) -> Html | None:
    if not material.decided:
        return None
    marks = [tag("span", tag("i", class_=name), name) for name in ("kept", "dropped")]
    threshold = tag("span", tag("i", class_="threshold"), "threshold of a rule; it drops on the shaded side")
    part = tag("span", tag("i", class_="threshold part"), "part of a rule that asks for more than this")
    return tag("p", marks, threshold, part, class_="key")


def _grid(material: Material, measures: list[Measure]) -> Html:
    charts = [chart for measure in measures if (chart := _chart(material, measure)) is not None]
    return tag("div", charts, class_="charts") if charts else Html("")


def _chart(material: Material, measure: Measure) -> Html | None:
    if measure.form == "numbers":
        return _numbers(material, measure)
    counts = material.tally.names.get(measure.column)
    values = _values(counts) if counts else []
    if not values or (len(values) == 1 and values[0][0] == _NONE):
        return None
    shown = values[:_MOST_VALUES]
    rest = values[_MOST_VALUES:]
    if rest:
        shown.append((f"{count(len(rest))} more", sum(kept for _, kept, _ in rest), sum(n for _, _, n in rest)))
    return _figure(measure, value_bars(shown, decided=material.decided), None, None)


_NONE: Final = "no\u00a0value"


def _values(counts: Counter[tuple[str | None, int]]) -> list[tuple[str, int, int]]:
    """Values with kept and dropped samples, the most frequent first and those without a value last."""
    names = {value for value, _ in counts}
    rows = [(_NONE if name is None else name or "(empty)", counts[(name, 0)], counts[(name, 1)]) for name in names]
    return sorted(rows, key=lambda row: (row[0] == _NONE, -row[1] - row[2], row[0]))


def _numbers(material: Material, measure: Measure) -> Html | None:
    data = material.tally.histograms.get(measure.column)
    if data is None or not data.known:
        return None
    thresholds = [threshold for threshold in material.thresholds if threshold.column == measure.column]
    told = [f"{figure(data.low)} to {figure(data.high)}", f"mean {figure(data.mean)}"]
    median = material.tally.medians.get(measure.column)
    if median is not None:
        about = "" if material.tally.medians_exact else "about "
        told.append(f"median {about}{figure(median)}")
    if data.missing:
        told.append(f"{count(data.missing)} without a value")
    if data.axis.logarithmic:
        told.append("logarithmic axis")
    low, high = float(data.axis.edges[0]), float(data.axis.edges[-1])
    if data.low < low or data.high > high:
        told.append("the outermost bars hold what lies beyond")
    dropped = int(data.counts[1].sum())
    label = f"Histogram of {measure.title}: {count(data.known)} samples, {', '.join(told)}"
    if material.decided:
        label += f"; {count(dropped)} dropped"
    label += "".join(f"; threshold {threshold}" for threshold in thresholds)
    drawing = histogram(data, thresholds, label, decided=material.decided)
    return _figure(measure, drawing, "; ".join(told), numbers_of(data, decided=material.decided))


def _figure(measure: Measure, drawing: Html, told: str | None, more: Html | None) -> Html:
    title = tag("span", measure.title, class_="column")
    unit = tag("span", measure.unit, class_="unit") if measure.unit else None
    caption = tag(
        "figcaption",
        tag("h3", title, " ", unit),
        tag("p", marked(shortened(measure.meaning, _MEANING)), class_="meaning") if measure.meaning else None,
    )
    return tag("figure", caption, drawing, tag("p", told, class_="told") if told else None, more)
