"""Answers to scores: one result a model, and a comparison of two models row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curate.evals.protocol import BenchData
from curate.evals.statistics import mcnemar_exact
from curate.rewards.offline import OfflineScores
from curate.select.statistics import wilson_interval


@dataclass(frozen=True)
class Row:
    """What became of one row; a row that could not be answered counts as wrong."""

    source: str
    query_type: str
    accuracy: float = 0.0
    format: float = 0.0
    unread: bool = False
    """In valid format, but none of its type: no known option, no number."""
    cut_off: bool = False
    """The answer reached the bound on new tokens and did not end by itself."""
    failed: bool = False
    tokens: int = 0


@dataclass(frozen=True)
class Share:
    """Rows of one model, or a part of them."""

    rows: int
    accuracy: float
    """Mean accuracy, 0 to 1; wrong format and failed rows count as 0."""
    low: float
    high: float
    """95 % Wilson interval of the accuracy."""
    format: float
    """Share of rows in valid format."""
    unread: int
    cut_off: int
    failed: int
    mean_tokens: float
    """Tokens of an answer, without those of rows that failed."""


@dataclass(frozen=True)
class ModelResult:
    """All rows of a model, and what was wrong with some."""

    model: str
    rows: Sequence[Row]
    problems: Sequence[str]

    def total(self) -> Share:
        """All rows."""
        return _share(self.rows)

    def by(self, key: Callable[[Row], tuple[str, ...]]) -> dict[tuple[str, ...], Share]:
        """The rows by source, by query type, or by both."""
        parts: dict[tuple[str, ...], list[Row]] = {}
        for row in self.rows:
            parts.setdefault(key(row), []).append(row)
        return {name: _share(parts[name]) for name in sorted(parts)}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        parts = self.by(lambda row: (row.query_type, row.source))
        return {
            "model": self.model,
            "total": asdict(self.total()),
            "parts": [{"query_type": name[0], "source": name[1], **asdict(part)} for name, part in parts.items()],
            "problems": list(self.problems),
        }


@dataclass(frozen=True)
class Comparison:
    """A model against another one on the same rows."""

    model: str
    against: str
    better: int
    """Rows with a higher accuracy."""
    worse: int
    difference: float
    """Of the mean accuracies."""
    p: float
    """Of McNemar's exact two-sided test."""


def score_answers(
    model: str,
    data: BenchData,
    answers: Mapping[int, Mapping[str, Any]],
    *,
    limit: int | None = None,
    **reward_options: Any,
) -> ModelResult:
    """Score saved answers by the reward that training uses; raises RewardError when its options are wrong."""
    scores = OfflineScores(**reward_options)
    asked, problems = [], []
    for number, fields in enumerate(data.references(limit), 1):
        answer = answers.get(number, {"error": "it was not answered"})
        asked.append((fields, answer))
        if "error" in answer:
            problems.append(f"{data.path.name}:{number}: {answer['error']}")
            continue
        problem = scores.add(str(data.path), number, {**fields, "response": answer["response"]})
        if problem:
            problems.append(f"{data.path.name}:{number}: {problem}")
    scored = {entry["row"]: entry for entry in scores.rows()}
    rows = [_row(fields, answer, scored.get(number)) for number, (fields, answer) in enumerate(asked, 1)]
    return ModelResult(model, rows, problems)


def _row(fields: Mapping[str, Any], answer: Mapping[str, Any], score: Mapping[str, Any] | None) -> Row:
    source, kind = str(fields["data_source"]), str((fields["extra_info"] or {}).get("query_type"))
    if score is None:
        return Row(source, kind, failed=True)
    return Row(
        source,
        kind,
        accuracy=score["accuracy"],
        format=score["format"],
        unread=bool(score["format"]) and not score["answer_read"],
        cut_off=not answer["stopped"],
        tokens=answer["tokens"],
    )


def _share(rows: Iterable[Row]) -> Share:
    counted = list(rows)
    right = sum(row.accuracy for row in counted)
    low, high = wilson_interval(right, len(counted))
    answered = [row.tokens for row in counted if not row.failed]
    return Share(
        rows=len(counted),
        accuracy=right / max(1, len(counted)),
        low=low,
        high=high,
        format=sum(row.format for row in counted) / max(1, len(counted)),
        unread=sum(row.unread for row in counted),
        cut_off=sum(row.cut_off for row in counted),
        failed=sum(row.failed for row in counted),
        mean_tokens=sum(answered) / max(1, len(answered)),
    )


def compare(result: ModelResult, against: ModelResult) -> Comparison:
    """Pair the rows of two models on the same data."""
    pairs = [(row.accuracy, other.accuracy) for row, other in zip(result.rows, against.rows, strict=True)]
    better, worse = sum(new > old for new, old in pairs), sum(new < old for new, old in pairs)
    difference = sum(new - old for new, old in pairs) / max(1, len(pairs))
    return Comparison(result.model, against.model, better, worse, difference, mcnemar_exact(better, worse))
