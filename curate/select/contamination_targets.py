"""All benchmarks of a policy as one: their pictures, their distinct questions, and which rows have which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.select.benchmarks import BenchmarkPictures, BenchmarkRow, BenchmarkRows
from curate.select.benchmarks.pictures import PICTURES
from curate.select.contamination_text import question_keys
from curate.select.contamination_words import excerpt

COMMON = 3
"""Pictures of a benchmark that one question must be asked of to be a question that is asked of any picture."""


@dataclass
class Targets:
    """What samples are compared with. Rows are numbered over all benchmarks."""

    loaded: Sequence[BenchmarkRows]
    measured: Sequence[BenchmarkPictures]
    rows: list[BenchmarkRow]
    benchmark: list[int]
    """Number of each row's benchmark."""
    pictures: pl.DataFrame
    """With the columns of PICTURES, ``rows`` numbered over all benchmarks; a picture of two benchmarks is in twice."""
    questions: list[str]
    """Distinct questions of each benchmark, in the spelling that comes first."""
    row_questions: list[list[int]]
    """Questions (by number) of each row."""
    common: npt.NDArray[np.bool_]
    """Questions that the benchmark itself asks of several pictures."""

    @classmethod
    def of(cls, loaded: Sequence[BenchmarkRows], measured: Sequence[BenchmarkPictures]) -> Targets:
        """Put benchmarks together."""
        rows = [row for one in loaded for row in one.rows]
        benchmark = [number for number, one in enumerate(loaded) for _ in one.rows]
        tables, first = [pl.DataFrame(schema=PICTURES)], 0
        for one, shown in zip(loaded, measured, strict=True):
            tables.append(shown.table.with_columns(pl.col("rows").list.eval(pl.element() + first)).cast(PICTURES))
            first += len(one.rows)
        pictures = pl.concat(tables)
        questions, row_questions = _distinct(rows, benchmark)
        asked_of = pictures.with_row_index("picture").select("picture", "rows").explode("rows").drop_nulls()
        pairs = {(question, picture) for picture, row in asked_of.iter_rows() for question in row_questions[row]}
        counts = np.bincount(np.array([question for question, _ in pairs], np.int64), minlength=len(questions))
        return cls(loaded, measured, rows, benchmark, pictures, questions, row_questions, counts >= COMMON)

    def __post_init__(self) -> None:
        self._picture_rows = self.pictures["rows"].to_list()
        self._places = self.pictures["place"].to_list()
        self._question_rows: list[list[int]] = [[] for _ in self.questions]
        for row, asked in enumerate(self.row_questions):
            for question in asked:
                self._question_rows[question].append(row)

    def rows_of_picture(self, picture: int) -> list[int]:
        """The rows that show a picture, in order."""
        found: list[int] = self._picture_rows[picture]
        return found

    def rows_of_question(self, question: int) -> list[int]:
        """The rows that ask a question, in order."""
        return self._question_rows[question]

    def place_of_picture(self, picture: int) -> str:
        """Where in its benchmark a picture lies."""
        return str(self._places[picture])

    def benchmark_of_picture(self, picture: int) -> int:
        """Number of the benchmark that a picture is of."""
        return self.benchmark[self.rows_of_picture(picture)[0]]

    def describe_row(self, row: int) -> dict[str, Any]:
        """What the hits table tells of a row."""
        found = self.rows[row]
        return {
            "benchmark": self.loaded[self.benchmark[row]].name,
            "benchmark_row": found.place,
            "split": found.split,
            "benchmark_text": excerpt(" ".join(found.questions), None),
        }

    def describe(self, number: int, short: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """What the account tells of a benchmark. ``short``: which questions have fewer words than an n-gram."""
        one, shown = self.loaded[number], self.measured[number]
        own = {
            question for row, of in enumerate(self.benchmark) if of == number for question in self.row_questions[row]
        }
        places = np.array(sorted(own), np.int64)
        return {
            "name": one.name,
            "path": str(one.tree.root / (one.tree.only or "")),
            "format": one.layout_name,
            "split": one.split,
            "rows": len(one.rows),
            "rows_without_question": sum(not row.questions for row in one.rows),
            "questions": len(own),
            "questions_short": int(np.count_nonzero(short[places])),
            "questions_of_many_pictures": int(np.count_nonzero(self.common[places])),
            "pictures": {
                "shown": shown.shown,
                "distinct": shown.table.height,
                "missing": shown.missing,
                "unreadable": shown.unreadable,
                "examples": shown.examples,
            },
        }


def _distinct(rows: Sequence[BenchmarkRow], benchmark: Sequence[int]) -> tuple[list[str], list[list[int]]]:
    """The distinct questions of each benchmark, and which each row asks; questions without a word are left out."""
    texts = [text for row in rows for text in row.questions]
    keys = question_keys(pl.Series(texts, dtype=pl.String)) if texts else []
    numbers: dict[tuple[int, int], int] = {}
    questions: list[str] = []
    row_questions: list[list[int]] = []
    place = 0
    for row, number in zip(rows, benchmark, strict=True):
        asked = []
        for text in row.questions:
            if (key := keys[place]) is not None:
                if (number, key) not in numbers:
                    numbers[number, key] = len(questions)
                    questions.append(text)
                asked.append(numbers[number, key])
            place += 1
        row_questions.append(asked)
    return questions, row_questions
