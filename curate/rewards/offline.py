"""Saved responses, scored by the code that scores them in training.

A row is one of

- ``response`` (or ``responses``, a list) with ``ground_truth`` or ``answer``, ``query_type``, ``choices``,
  ``data_source`` or ``source``, and a key that responses to the same query share (``group``, ``uid`` or ``id``);
- a row of a verl file (``reward_model``, ``extra_info``) with ``response`` or ``responses`` beside them;
- a line of verl's ``trainer.rollout_data_dir`` or ``validation_data_dir``: ``input``, ``output``, ``gts``, ``score``,
  ``step``, ``uid``.
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from curate.rewards.groups import GroupSummary, advantages, summarise_groups
from curate.rewards.inputs import mapping_of, plain, texts_of
from curate.rewards.registry import known_types
from curate.rewards.rollout import Prompts
from curate.rewards.score import compute_score, reference_problem

HISTOGRAM_BINS = 10
_BESIDE = ("query_type", "choices", "unit", "relative_tolerance", "absolute_tolerance")
"""Fields of ``extra_info`` that may stand beside the response instead."""
_ROLLOUT = re.compile(r"(.+)_[0-9]+_[0-9]+", re.DOTALL)
"""The uid of verl's dumps: that of the prompt, the number of the rollout, the number of its output."""


class Query(NamedTuple):
    """A row, told apart."""

    responses: list[Any]
    source: str
    ground_truth: Any
    extra_info: dict[str, Any]
    group: tuple[str | int, ...] | None
    """What the responses to one query share."""


class Slice(NamedTuple):
    """The responses of one query type and source."""

    query_type: str
    source: str
    responses: int
    score: float
    """Mean reward."""
    format: float
    """Share with valid format."""
    accuracy: float
    """Mean accuracy."""
    unread: float
    """Share of answers in valid format that are none of their type."""


class OfflineScores:
    """Scores of saved responses, held as columns: 2 million responses take about 200 MB."""

    def __init__(
        self,
        *,
        query_type: str | None = None,
        group_field: str | None = None,
        prompts: Prompts | None = None,
        **options: Any,
    ) -> None:
        """``query_type`` is for rows that name none, ``group_field`` names the key that the responses to one query
        share, ``prompts`` complete lines of verl's dumps, ``options`` go to :func:`compute_score`.

        Raises RewardError when ``options`` or ``query_type`` are wrong, or a team's module cannot be imported.
        """
        known_types()
        self._query_type, self._group_field, self._options, self._prompts = query_type, group_field, options, prompts
        compute_score("", "", "", {"query_type": query_type or "exact"}, **options)
        self._tolerance = {key: options[key] for key in ("relative_tolerance",) if key in options}
        self.recorded = 0
        """Lines of a dump that hold the score that the response got in training."""
        self.differing = 0
        """Those of them that got another score now."""
        self._codes: dict[Any, int] = {}
        self._names: list[Any] = []
        self._checked: tuple[Any, str | None] = (None, None)
        self._file, self._row, self._part = array("i"), array("q"), array("i")
        self._source, self._type, self._group, self._pred = array("i"), array("i"), array("i"), array("i")
        self._score, self._accuracy = array("d"), array("d")
        self._format, self._found, self._read = array("b"), array("b"), array("b")

    def __len__(self) -> int:
        return len(self._score)

    def add(self, file: str, row: int, fields: Mapping[str, Any]) -> str | None:
        """Score the responses of a row of ``file``, whose name stands for the source of rows that name none.

        Returns what is wrong with the row, as a sentence: it has no response or no reference, its query type has no
        reward (nothing is scored then), or its reference can never be matched (scored all the same).
        """
        try:
            query = self._query(file, row, fields)
            problem = self._reference_problem(query)
            scores = [
                compute_score(query.source, response, query.ground_truth, query.extra_info, **self._options)
                for response in query.responses
            ]
        except ValueError as error:
            return str(error)
        for part, score in enumerate(scores):
            self._file.append(self._code(file))
            self._row.append(row)
            self._part.append(part)
            self._source.append(self._code(query.source))
            self._type.append(self._code(score["query_type"]))
            self._group.append(-1 if query.group is None else self._code(query.group))
            self._pred.append(self._code(score["pred"]))
            self._score.append(score["score"])
            self._accuracy.append(score["accuracy"])
            self._format.append(int(score["format"]))
            self._found.append(int(score["answer_found"]))
            self._read.append(int(score["answer_read"]))
        recorded = fields.get("score")
        if _is_dump(fields) and isinstance(recorded, (int, float)):
            self.recorded += 1
            self.differing += not math.isclose(recorded, scores[0]["score"], abs_tol=1e-6)
        return problem

    def slices(self) -> list[Slice]:
        """Means by query type and source."""
        sums: dict[tuple[int, int], list[float]] = {}
        for place, key in enumerate(zip(self._type, self._source, strict=True)):
            total = sums.setdefault(key, [0, 0.0, 0, 0.0, 0])
            total[0] += 1
            total[1] += self._score[place]
            total[2] += self._format[place]
            total[3] += self._accuracy[place]
            total[4] += self._format[place] - self._read[place]
        return sorted(
            Slice(
                self._names[kind],
                self._names[source],
                int(n),
                score / n,
                valid / n,
                accuracy / n,
                unread / max(valid, 1),
            )
            for (kind, source), (n, score, valid, accuracy, unread) in sums.items()
        )

    def histogram(self) -> list[tuple[float, float, int]]:
        """(from, to, responses) for ten equal ranges of the score; the last one includes 1."""
        counts = [0] * HISTOGRAM_BINS
        for score in self._score:
            # Rounded, for 0.3 + 0.7 / 7 is a little below 0.4 in binary fractions.
            counts[min(int(round(score * HISTOGRAM_BINS, 6)), HISTOGRAM_BINS - 1)] += 1
        return [(i / HISTOGRAM_BINS, (i + 1) / HISTOGRAM_BINS, count) for i, count in enumerate(counts)]

    def groups(self) -> GroupSummary:
        """What GRPO would make of the groups."""
        summary = summarise_groups(
            ([self._score[place] for place in places], [self._accuracy[place] for place in places])
            for places in self._places().values()
        )
        summary.single_responses += self._group.count(-1)
        return summary

    def rows(self) -> Iterator[dict[str, Any]]:
        """One object a response, in the order in which they came. ``advantage`` is null without a group."""
        of_group = array("d", bytes(8 * len(self)))
        grouped = {group: places for group, places in self._places().items() if len(places) > 1}
        for places in grouped.values():
            for place, advantage in zip(places, advantages([self._score[p] for p in places]), strict=True):
                of_group[place] = advantage
        for place in range(len(self)):
            group = self._group[place]
            yield {
                "file": self._names[self._file[place]],
                "row": self._row[place],
                "response": self._part[place],
                "group": None if group < 0 else ":".join(map(str, self._names[group])),
                "data_source": self._names[self._source[place]],
                "query_type": self._names[self._type[place]],
                "pred": self._names[self._pred[place]],
                "score": self._score[place],
                "format": self._format[place],
                "accuracy": self._accuracy[place],
                "answer_found": self._found[place],
                "answer_read": self._read[place],
                "advantage": of_group[place] if group in grouped else None,
            }

    def _places(self) -> dict[int, array[int]]:
        places: dict[int, array[int]] = {}
        for place, group in enumerate(self._group):
            if group >= 0:
                places.setdefault(group, array("i")).append(place)
        return places

    def _reference_problem(self, query: Query) -> str | None:
        """:func:`reference_problem`, asked once for neighbouring rows with the same reference."""
        asked = (query.ground_truth, query.extra_info)
        if self._checked[0] != asked:
            self._checked = (asked, reference_problem(*asked, **self._tolerance))
        return self._checked[1]

    def _code(self, name: Any) -> int:
        """A number for a name; sources, types and most answers occur again and again."""
        code = self._codes.setdefault(name, len(self._names))
        if code == len(self._names):
            self._names.append(name)
        return code

    def _query(self, file: str, row: int, fields: Mapping[str, Any]) -> Query:
        """Raises ValueError with what the row lacks."""
        if self._prompts is not None and _is_dump(fields):
            fields = self._prompts.complete(fields)
        extra = dict(mapping_of(fields.get("extra_info")))
        truth = _first(fields, "ground_truth", "gts", "answer", "answers")
        if truth is None:
            truth = mapping_of(fields.get("reward_model")).get("ground_truth")
        if not texts_of(truth) and not texts_of(extra.get("answers")):
            raise ValueError("there is no reference: ground_truth, answer, gts or reward_model.ground_truth")
        responses = plain(_first(fields, "responses", "response", "output"))
        if responses is None or responses == []:
            raise ValueError("there is no response: response, responses or output")
        for name in _BESIDE:
            if extra.get(name) is None:
                extra[name] = fields.get(name)
        extra["query_type"] = extra["query_type"] or self._query_type
        if not extra["query_type"]:
            raise ValueError("there is no query_type; --query-type names one for such rows")
        several = isinstance(responses, list)
        source = str(_first(fields, "data_source", "source") or file)
        group = self._group_key(fields, extra, source) or ((file, row) if several else None)
        return Query(responses if several else [responses], source, truth, extra, group)

    def _group_key(self, fields: Mapping[str, Any], extra: Mapping[str, Any], source: str) -> tuple[str, ...] | None:
        """What the responses to one query share; the same query at another training step is another group."""
        dump = _is_dump(fields)
        key: tuple[Any, ...] | None = None
        if self._group_field is not None:
            named = fields.get(self._group_field, extra.get(self._group_field))
            key = None if named is None else (named,)
        elif (named := _first(fields, "group", "uid", "id")) is not None:
            rollout = _ROLLOUT.fullmatch(str(named)) if dump else None
            key = (rollout[1] if rollout else named,)
        elif dump:
            key = (fields.get("input"), fields["gts"])
        elif extra.get("id") is not None:
            key = (extra["id"],)
        elif extra.get("index") is not None:
            key = (source, extra["index"])
        if key is None:
            return None
        return tuple(str(part) for part in (fields.get("step"), *key) if part is not None)


def _is_dump(fields: Mapping[str, Any]) -> bool:
    return "output" in fields and "gts" in fields


def _first(fields: Mapping[str, Any], *names: str) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)
