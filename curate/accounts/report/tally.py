"""One pass over a corpus, shard by shard: everything that a report counts, in memory that does not grow with it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.accounts.report.exported import Exported
from curate.accounts.report.histogram import Axis, Groups, Histogram, choose_axis, whole_axis
from curate.accounts.report.measures import Measure
from curate.accounts.report.rejected import Rejected
from curate.accounts.report.selection import Selection, other_samples
from curate.accounts.report.thresholds import Threshold
from curate.corpus import Corpus
from curate.select.facts import read_facts

Progress = Callable[[int, int], None]

KEPT_EXAMPLES: Final = ""
"""Stands for no rule: samples that are kept."""

_LOOKED_AT: Final = 16
"""Shards, spread evenly over the corpus, from which axes and medians are found."""
_MOST_VALUES: Final = 2_000
"""Different values of a column of names that are counted apart."""
_NAMED_ALIKE: Final = "(more values)"


@dataclass
class Tally:
    """What is counted."""

    samples: int = 0
    measured: int = 0
    scored: int = 0
    kept: int = 0
    copies: int = 0
    identified: int = 0
    """Samples from DICOM files without a mark of de-identification."""
    exported: int = 0
    """Samples in at least one export."""
    by_source: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """For each subset the same counts, and those of each export under its label."""
    by_rule: Counter[str] = field(default_factory=Counter)
    rule_sources: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    score_sums: Counter[str] = field(default_factory=Counter)
    """Sum of the judge's scores by subset, in billionths (:data:`SCORE_PARTS`)."""
    repeated: Counter[int] = field(default_factory=Counter)
    """Kept samples by how often they are exported."""
    histograms: dict[str, Histogram] = field(default_factory=dict)
    medians: dict[str, float] = field(default_factory=dict)
    medians_exact: bool = True
    """Whether they are of all samples, not of some shards."""
    names: dict[str, Counter[tuple[str | None, int]]] = field(default_factory=lambda: defaultdict(Counter))
    """For a column of names, flags or lists: samples by value and by group, 0 kept and 1 dropped."""
    chosen: dict[str, list[str]] = field(default_factory=dict)
    """For each rule, and :data:`KEPT_EXAMPLES`, ids of the samples that are shown, in the order of their draw."""


@dataclass
class Counted:
    """A :class:`Tally` in the making."""

    corpus: Corpus
    selection: Selection | None
    measures: Sequence[Measure]
    exports: Sequence[Exported]
    rejected: Rejected
    examples: int
    seed: int
    tally: Tally = field(default_factory=Tally)
    _places: frozenset[str] = frozenset()
    """Where rejects come from."""
    _drawn: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))

    def run(self, thresholds: Sequence[Threshold], progress: Progress | None = None) -> Tally:
        """Find the axes from some shards, then count all."""
        shards = self.corpus.shards()
        self._places = self.rejected.places
        self._find_axes(shards, thresholds)
        for number, shard in enumerate(shards):
            self._add(number, shard)
            if progress is not None:
                progress(number + 1, len(shards))
        self.tally.chosen = {rule: [name for _, name in drawn] for rule, drawn in self._drawn.items()}
        self.tally.by_rule = Counter(dict(most_first(self.tally.by_rule)))
        return self.tally

    def _find_axes(self, shards: Sequence[Path], thresholds: Sequence[Threshold]) -> None:
        whole = {m.column: m.whole for m in self.measures if m.form == "numbers" and not m.judged}
        found: dict[str, list[npt.NDArray[np.float64]]] = {column: [] for column in whole}
        measured = [shard for shard in shards if self.corpus.facts_shard("signals", shard).exists()]
        looked_at = measured[:: max(1, -(-len(measured) // _LOOKED_AT))] if whole else []
        self.tally.medians_exact = len(looked_at) == len(measured)
        for shard in looked_at:
            frame = read_facts(self.corpus, shard, list(whole))
            for column, parts in found.items():
                values = _numbers(frame[column])
                parts.append(values[np.isfinite(values)])
        for column, parts in found.items():
            values = np.concatenate(parts) if parts else np.empty(0)
            if values.size:
                drawn = [threshold.value for threshold in thresholds if threshold.column == column]
                axis = choose_axis(values, whole=whole[column], thresholds=drawn)
                self.tally.histograms[column] = Histogram(axis)
                self.tally.medians[column] = float(np.median(values))
        for measure in self.measures:
            if measure.judged and measure.form == "numbers":
                axis = whole_axis(0, 5) if measure.whole else Axis(np.arange(0, 5.01, 0.25))
                self.tally.histograms[measure.column] = Histogram(axis)

    def _add(self, number: int, shard: Path) -> None:
        frame, measured = self._facts(shard)
        if self.selection is None:
            decided = pl.DataFrame({"kept": [True]}).select(pl.col("kept").repeat_by(len(frame)).explode())
            decided = decided.with_columns(rule=pl.lit(None, pl.String), copies=pl.lit(1, pl.Int32))
        else:
            rows = self.selection.rows(number)
            if not rows["id"].equals(frame["id"]):
                raise other_samples(self.selection.path)
            decided = rows.select("kept", "rule", "copies")
        frame = frame.hstack(decided).with_columns(
            measured=pl.lit(measured),
            scored=pl.col("judge_score").is_not_null(),
            identified=pl.col("privacy") == "identified",
        )
        groups: Groups = (~frame["kept"]).cast(pl.Int8).to_numpy()
        self._count(frame)
        if self.rejected.by_file:
            self.rejected.learn(frame.select("file", "source", "identified"), self._places)
        for measure in self.measures:
            if measure.column not in frame.columns:
                continue
            if measure.form == "numbers":
                if measure.column in self.tally.histograms:
                    self.tally.histograms[measure.column].add(_numbers(frame[measure.column]), groups)
            else:
                self._count_names(measure, frame)
        self._draw(frame)

    def _facts(self, shard: Path) -> tuple[pl.DataFrame, bool]:
        own = ["id", "kind", "source", "license", "query_type", "privacy"]
        columns = {measure.column for measure in self.measures} | {"judge_score", *own}
        measured = self.corpus.facts_shard("signals", shard).exists()
        if measured:
            frame = read_facts(self.corpus, shard, columns)
        else:
            frame = pl.read_parquet(shard, columns=own).with_columns(judge_score=pl.lit(None, pl.Float64))
        if self.rejected.by_file:
            frame = frame.hstack(pl.read_parquet(shard, columns=["file"]))
        return frame, measured

    def _count(self, frame: pl.DataFrame) -> None:
        tally = self.tally
        flags = ["measured", "scored", "kept", "copies", "identified"]
        if self.exports:
            held = {export.label: export.holds(frame) for export in self.exports}
            frame = frame.with_columns(series.alias(f"in {label}") for label, series in held.items())
            frame = frame.with_columns(exported=pl.any_horizontal([f"in {label}" for label in held]))
            flags += ["exported", *(f"in {label}" for label in held)]
        sums = [pl.len().alias("samples"), _EXACT_SCORE.sum(), *(pl.col(name).sum() for name in flags)]
        for row in frame.group_by("source").agg(sums).iter_rows(named=True):
            source = row.pop("source")
            tally.score_sums[source] += row.pop("judge_score")
            tally.by_source[source].update(row)
            for name in ("samples", *flags):
                if hasattr(tally, name):
                    setattr(tally, name, getattr(tally, name) + row[name])
        for rule, source, number in frame.filter(~pl.col("kept")).group_by("rule", "source").len().iter_rows():
            tally.by_rule[rule or "unnamed"] += number
            tally.rule_sources[rule or "unnamed"][source] += number
        if self.selection is not None:
            tally.repeated.update(dict(frame.filter("kept")["copies"].value_counts().iter_rows()))

    def _count_names(self, measure: Measure, frame: pl.DataFrame) -> None:
        part = frame.select(value=pl.col(measure.column), group=(~pl.col("kept")).cast(pl.Int8))
        if measure.form == "lists":
            part = part.explode("value").filter(pl.col("value").is_not_null())
        counter = self.tally.names[measure.column]
        for value, group, number in part.group_by("value", "group").len().sort(*_MOST_FIRST).iter_rows():
            name = value if value is None else str(value).lower() if measure.form == "flags" else str(value)[:200]
            known = (name, group) in counter or len(counter) < _MOST_VALUES
            counter[(name if known else _NAMED_ALIKE, group)] += number

    def _draw(self, frame: pl.DataFrame) -> None:
        rules = frame.select(rule=pl.when("kept").then(pl.lit(KEPT_EXAMPLES)).otherwise(pl.col("rule")), id="id")
        rules = rules.with_columns(pl.col("rule").fill_null("unnamed"), key=pl.Series(draw(rules["id"], self.seed)))
        for rule, key, name in rules.sort("key", "id").group_by("rule").head(self.examples).select(
            "rule", "key", "id"
        ).iter_rows():  # fmt: skip
            self._drawn[rule].append((key, name))
        for drawn in self._drawn.values():
            drawn.sort()
            del drawn[self.examples :]


def most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    """Names and numbers, the highest first and of equal ones the first by name: the same in every run."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


_MOST_FIRST: Final = (-pl.col("len").cast(pl.Int64), pl.col("value").cast(pl.String), pl.col("group"))
"""Of values in an order that does not depend on how many threads counted them."""
SCORE_PARTS: Final = 10**9
_EXACT_SCORE: Final = (pl.col("judge_score") * SCORE_PARTS).round().cast(pl.Int64)
"""Scores as whole numbers: the sum of floats depends on the order in which threads add them."""


def draw(ids: pl.Series | Sequence[str], seed: int) -> npt.NDArray[np.uint64]:
    """A number for every id by which to choose at random: the same for the same seed, whatever else there is."""
    names = list(ids)
    try:
        keys = np.frombuffer(bytes.fromhex("".join(name[:16].rjust(16, "0") for name in names)), dtype=">u8")
    except ValueError:  # not made by an ingest
        digests = (hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:8] for name in names)
        keys = np.frombuffer(b"".join(digests), dtype=">u8")
    mask = int.from_bytes(hashlib.sha256(str(seed).encode()).digest()[:8])
    with np.errstate(over="ignore"):  # Fibonacci hashing (Knuth, TAOCP 3, 6.4): the high bits depend on all below
        mixed: npt.NDArray[np.uint64] = (keys.astype(np.uint64) ^ np.uint64(mask)) * np.uint64(0x9E3779B97F4A7C15)
    return mixed


def _numbers(series: pl.Series) -> npt.NDArray[np.float64]:
    return series.cast(pl.Float64).to_numpy()
