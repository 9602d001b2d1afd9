"""What a report shows of the facts: which columns, in which order, and what is said about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import polars as pl

from curate.corpus import Corpus, UserError
from curate.select.facts import VERDICT_COLUMNS, fact_columns, verdict_shards
from curate.signals.columns import COLUMNS

_DIMENSIONS: Final = {
    "judge_medical_correctness": "Whether what is said is right, by the judge, 0 to 5.",
    "judge_fluency": "Language, by the judge, 0 to 5.",
    "judge_relevance": "Whether text and picture belong together, by the judge, 0 to 5; not given without a picture.",
    "judge_completeness": "Whether what matters is said, by the judge, 0 to 5.",
    "judge_practicality": "Use for training, by the judge, 0 to 5.",
}
_JUDGED: Final = {
    "judge_score": "Mean of the dimensions that the judge scored, 0 to 5.",
    **_DIMENSIONS,
    "judge_verdict": "Accept, review or reject, by the rubric's rules.",
    "judge_defects": "Defects that the judge named; a sample may have several.",
    "judge_status": "Whether the judge scored the sample, and if not, how far it came.",
}
_NOT_SHOWN: Final = frozenset({"id", "signals_key", "image_problem"})
_MOST: Final = 80
"""Columns of signals that are shown."""


@dataclass(frozen=True)
class Measure:
    """A column that is shown as a chart."""

    column: str
    form: Literal["numbers", "flags", "names", "lists"]
    """Numbers make a histogram, flags and names bars; of lists every entry is counted."""
    unit: str = ""
    meaning: str = ""
    judged: bool = False
    """Whether it is what a judge said."""
    whole: bool = False
    """Whether the numbers are whole."""

    @property
    def title(self) -> str:
        """What the column is called in a heading."""
        return self.column.removeprefix("judge_").replace("_", " ") if self.judged else self.column


def known_columns(corpus: Corpus) -> dict[str, pl.DataType]:
    """The fact columns of a corpus; of one that is not measured yet, none of the signals."""
    shards = corpus.shards()
    measured = next((s for s in shards if corpus.facts_shard("signals", s).exists()), None)
    if measured is None:
        return {}
    try:
        return fact_columns(corpus)
    except UserError:
        if measured == shards[0]:
            raise
        return {**VERDICT_COLUMNS, **pl.read_parquet_schema(corpus.facts_shard("signals", measured))}


def shown_measures(corpus: Corpus, columns: dict[str, pl.DataType]) -> list[Measure]:
    """What is shown of a corpus with these fact columns: what a judge said first, then the signals in their order."""
    if not columns:
        return []
    measures = [_judged(name, text) for name, text in _JUDGED.items()] if verdict_shards(corpus) else []
    documented = {column.name: column for column in COLUMNS}
    own = [name for name in columns if name not in VERDICT_COLUMNS and name not in _NOT_SHOWN]
    order = list(documented)
    own.sort(key=lambda name: order.index(name) if name in documented else len(order))
    for name in own[:_MOST]:
        form = _form(columns[name])
        if form is not None and name not in ("kind", "source", "license", "query_type", "privacy"):
            column = documented.get(name)
            unit, meaning = (column.unit, column.meaning) if column else ("", "")
            measures.append(Measure(name, form, unit, meaning, whole=columns[name].is_integer()))
    for name in ("kind", "query_type", "license", "privacy"):
        measures.append(Measure(name, "names"))
    return measures


def _judged(name: str, text: str) -> Measure:
    kind = VERDICT_COLUMNS[name]
    form: Literal["numbers", "names", "lists"] = "lists" if name == "judge_defects" else "names"
    if kind.is_numeric():
        form = "numbers"
    return Measure(name, form, "of 5" if form == "numbers" else "", text, judged=True, whole=kind.is_integer())


def _form(kind: pl.DataType) -> Literal["numbers", "flags", "names"] | None:
    if kind.is_numeric():
        return "numbers"
    if kind == pl.Boolean:
        return "flags"
    return "names" if kind == pl.String else None
