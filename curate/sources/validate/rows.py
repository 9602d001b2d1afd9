"""Checks of the rows of one file: readable, of a known format, well formed, and every picture there and whole."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import orjson

from curate.rewards import known_types as known_rewards
from curate.schemas import (
    FORMATS,
    ValidationError,
    expected_fields,
    problems,
    recognise,
)
from curate.sources.chunks import field_names
from curate.sources.images import inline_prefix
from curate.sources.readers import MAX_ROW_BYTES, TOO_DEEP, BadRow, Row, parse_line, read_rows
from curate.sources.validate.column_types import ColumnTypes
from curate.sources.validate.images import ImageChecks, Verdict
from curate.sources.validate.quick_rows import QuickRows
from curate.sources.validate.report import Report, Severity
from curate.sources.validate.table import LineRange, Pictured, RangeFound, Remembered, Table
from curate.sources.validate.verl import cell_reference, unknown_query_type, verl_problems

_IMAGE_FIELD = {
    "image-caption": "image",
    "conversation": "image",
    "query": "images",
    "sample": "images",
    "llamafactory": "images",
    "verl": "images",
    "interleaved": "image_info",
}
"""The field with the pictures of a row."""
_BATCH_IMAGES, _BATCH_BYTES = 256, 8 * 2**20
"""Pictures waiting to be checked together, and the bytes of those written inline."""
_MAX_REMEMBERED = 65_536
_LINE_SUFFIXES = (".jsonl", ".ndjson")
_UTF8_BOM = b"\xef\xbb\xbf"

Tick = Callable[[], None]
"""Called now and then while rows are read."""
WorthIt = Callable[[float, int, int], bool]
"""Given when a file was begun, the bytes done and its size: whether to leave its rest to other processes."""
CheckRest = Callable[[int, int], None]
"""Checks a file's lines from an offset on, which so many lines precede."""


class RowChecks:
    """Checks the rows of one :class:`Table` into a report, holding a bounded number of them at a time."""

    def __init__(
        self,
        table: Table,
        images: ImageChecks,
        report: Report,
        *,
        known_types: Sequence[str] | None = None,
        remembered: Remembered | None = None,
        part: bool = False,
    ) -> None:
        """``part``: of a file that is checked in parts; types that columns have are noted, and compared by whoever
        has all parts."""
        self.table, self._images, self._report = table, images, report
        self._counts = report.group(table.group or table.file)
        self._types = ColumnTypes(deep=table.place.trainer, part=part) if _is_json(table.path) else None
        self._known_types = known_rewards() if known_types is None else known_types
        self._lines = self._part = part
        self._waiting: list[tuple[int, str, str | bytes]] = []
        self._waiting_bytes = 0
        self._remembered = remembered or Remembered()
        self._fine = self._remembered.fine
        self.pictured = Pictured()

    def file(self, tick: Tick, worth_it: WorthIt, check_rest: CheckRest) -> None:
        """Check the file of the table; an empty one is an error. The rest of a large one is left to ``check_rest``."""
        before = self._counts.rows + self._counts.errors
        if _holds_lines(self.table.path):
            self._lines = True
            try:
                with self.table.path.open("rb", buffering=2**20) as file:
                    size, began, rest = os.fstat(file.fileno()).st_size, time.monotonic(), False

                    def give_up(offset: int) -> bool:
                        nonlocal rest
                        tick()
                        rest = worth_it(began, offset, size)
                        return rest

                    lines = self._check_lines(file, None, give_up)
                    start = file.tell()
                if rest:
                    self._settle_images()
                    check_rest(start, lines)
            except OSError as error:
                self._add("error", 0, "unreadable_file", f"reading stopped: {error.strerror}")
        else:
            self.rows(read_rows(self.table.path, self.table.columns, self.table.licenses), tick)
        self._settle_images()
        if self._counts.rows + self._counts.errors == before:
            self._report.add("error", self.table.file, 0, "empty_file", "the file holds no records")

    def part(self, start: int, end: int | None) -> tuple[int, bool]:
        """Check lines of the file from one offset to another; how many there are, and whether reading failed."""
        lines, failed = 0, False
        try:
            with self.table.path.open("rb", buffering=2**20) as file:
                file.seek(start)
                lines = self._check_lines(file, end, lambda offset: False)
        except OSError as error:
            self._add("error", 0, "unreadable_file", f"reading stopped: {error.strerror}")
            failed = True
        self._settle_images()
        return lines, failed

    def rows(self, rows: Iterable[Row | BadRow], tick: Tick) -> None:
        """Check rows that come from elsewhere, and their pictures."""
        number = 0
        try:
            for row in rows:
                number = row.number
                self._row(row, 0)
                if self._counts.rows % 1024 == 0:
                    tick()
        except RecursionError:
            self._row(BadRow(number + 1, "too_deep", f"{TOO_DEEP}; the rest is unread"), 0)
        self._settle_images()

    def _check_lines(self, file: IO[bytes], end: int | None, give_up: Callable[[int], bool]) -> int:
        """Check rows that are lines, from where the file stands to ``end``, or until ``give_up`` (asked now and then,
        with the offset) says so; their number. Only one that differs from those before it is looked at closely."""
        begin = offset = file.tell()
        number = 0
        counts, quick = self._counts, QuickRows(deep=self.table.place.trainer, adapt=self.table.adapt)
        while (end is None or offset < end) and (line := file.readline(MAX_ROW_BYTES + 1)):
            number += 1
            length = len(line)
            if length > MAX_ROW_BYTES:
                self._row(BadRow(number, "line_too_long", f"it is longer than {MAX_ROW_BYTES // 2**20} MiB"), offset)
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_ROW_BYTES)
                    length += len(line)
                line = b""
            elif number == 1 and not begin:
                line = line.removeprefix(_UTF8_BOM)
            if line and (found := quick.sound(line)):
                counts.rows += 1
                self._accept(number, *found, offset)
            elif line.strip():
                row = parse_line(number, line)
                found = self._row(row, offset)
                if found and isinstance(row, Row):
                    quick.learn(found[0], row.fields)
            offset += length
            if number % 1024 == 1 and give_up(offset):
                break
        return number

    def line_range(self, start: int, end: int | None) -> LineRange:
        """A part of the file, for another process."""
        table = replace(self.table, on_picture=None)
        return LineRange(table, start, end, self._report.limit, self.table.on_picture is not None, self._known_types)

    def merge(self, found: RangeFound, lines_before: int) -> None:
        """Take over what was found in a part of the file that so many lines precede."""
        for row, place, kind in found.types:
            if self._types and (difference := self._types.conflict(row + lines_before, place, kind)):
                self._add_mixed_types(row + lines_before, place, difference)
        self._report.merge(self.table.group or self.table.file, found.report, lines_before)
        if found.pictured.row and not self.pictured.row:
            self.pictured = Pictured(found.pictured.row + lines_before, found.pictured.offset)
        self._images.add_located(found.located)
        if self.table.on_picture is not None:
            for row, place, digest in found.pictures:
                self.table.on_picture(row + lines_before, place, digest)

    def new_types(self) -> list[tuple[int, str, str]]:
        """Row, column and type, whenever a column had a type for the first time."""
        return self._types.noted if self._types else []

    def _row(self, row: Row | BadRow, offset: int) -> tuple[str, dict[str, Any]] | None:
        """Check one row; its format and adapted fields when it is well formed."""
        if isinstance(row, BadRow):
            self._counts.rows += row.number > 0
            self._add("error", row.number, row.reason, row.message)
            return None
        self._counts.rows += 1
        fields = self.table.adapt(row.fields) if self.table.adapt else row.fields
        name = self.table.format or recognise(fields)
        if name is None:
            message = f"the fields {field_names(fields)} fit no record format ({expected_fields()})"
            self._add("error", row.number, "unknown_format", message)
            return None
        try:
            FORMATS[name].model_validate(fields)
        except ValidationError as error:
            for problem in problems(error):
                self._add("error", row.number, problem.code, problem.message, self._as_named(problem.field))
            return None
        try:
            self._note_types(row.number, row.fields)
        except RecursionError:
            self._add("error", row.number, "too_deep", TOO_DEEP)
            return None
        self._accept(row.number, name, fields, offset)
        return name, fields

    def _note_types(self, number: int, fields: Mapping[str, Any]) -> None:
        if self._types is None:
            return
        for place, difference in self._types.conflicts(number, fields):
            if not self._part:
                self._add_mixed_types(number, place, difference)

    def _add_mixed_types(self, number: int, place: str, difference: str) -> None:
        trainer = self.table.place.trainer
        severity: Severity = "error" if trainer else "warning"
        hint = "the trainer loads it with Arrow, where a column has one type"
        if not trainer:
            hint = "curate reads both, but nothing that loads the file with Arrow does"
        self._add(severity, number, "mixed_types", f"{difference}: {hint}", place)

    def _accept(self, number: int, name: str, fields: dict[str, Any], offset: int) -> None:
        """The checks of a well-formed row that its schema does not make."""
        if name == "verl":
            for severity, problem in verl_problems(
                fields,
                self._known_types,
                trainer=self.table.place.trainer,
                image_feature=self.table.image_feature,
            ):
                self._add(severity, number, problem.code, problem.message, problem.field)
        image_field = _IMAGE_FIELD[name]
        pictures = fields.get(image_field)
        if pictures.__class__ is str:
            if pictures not in self._fine:
                self._need(number, image_field, pictures)
        elif pictures:
            self._need_each(number, image_field, pictures)
        if not self.pictured.row and pictures and (name != "interleaved" or any(pictures)):
            self.pictured = Pictured(number, offset)
        if name == "query" and fields["query_type"] not in self._known_types:
            message = unknown_query_type(fields["query_type"], self._known_types)
            self._add("warning", number, "unknown_query_type", message, "query_type")

    def _need_each(self, number: int, image_field: str, pictures: list[Any]) -> None:
        """Have the pictures of a list checked: references, cells of verl, or slots of a document."""
        for position, picture in enumerate(pictures):
            if picture.__class__ is str:
                if picture not in self._fine:
                    self._need(number, f"{image_field}.{position}", picture)
            elif picture is not None and image_field == "image_info":
                part = "image" if picture.get("image") is not None else "image_base64"
                if picture[part] not in self._fine:
                    self._need(number, f"{image_field}.{position}.{part}", picture[part])
            elif picture is not None:
                reference = cell_reference(picture)
                if reference is not None and reference not in self._fine:
                    self._need(number, f"{image_field}.{position}", reference)

    def _need(self, number: int, place: str, reference: str | bytes) -> None:
        """Have a picture checked, now or together with others."""
        if self.table.format == "llamafactory" and self._types and inline_prefix(str(reference)) is not None:
            message = "LLaMA-Factory takes it for a path; write a file, or the bytes in a Parquet column"
            self._add("error", number, "unreadable_cell", message, self._as_named(place))
            return
        if isinstance(reference, str):
            if reference in self._fine:
                return
            if known := self._remembered.verdicts.get(reference):
                self._judge(number, place, known)
                return
        self._waiting.append((number, place, reference))
        self._waiting_bytes += len(reference)
        if len(self._waiting) >= _BATCH_IMAGES or self._waiting_bytes >= _BATCH_BYTES:
            self._settle_images()

    def _settle_images(self) -> None:
        distinct = list(dict.fromkeys(reference for _, _, reference in self._waiting))
        found = dict(zip(distinct, self._images.verdicts(distinct, self.table.place), strict=True))
        for number, place, reference in self._waiting:
            self._judge(number, place, found[reference])
        if len(self._remembered.verdicts) + len(self._fine) + len(found) > _MAX_REMEMBERED:
            self._remembered.verdicts.clear()
            self._fine.clear()
        for reference, verdict in found.items():
            if isinstance(reference, str) and len(reference) < 4096:
                if verdict.code:
                    self._remembered.verdicts[reference] = verdict
                else:
                    self._fine.add(reference)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _judge(self, number: int, place: str, verdict: Verdict) -> None:
        if verdict.code:
            self._add("error", number, verdict.code, verdict.message, self._as_named(place))
        if verdict.digest and self.table.on_picture is not None:
            self.table.on_picture(number, place, verdict.digest)

    def _add(self, severity: Severity, number: int, code: str, message: str, place: str = "") -> None:
        line = number if self._lines else 0
        self._report.add(
            severity, self.table.file, number, code, message, field=place, line=line, group=self.table.group
        )

    def _as_named(self, place: str) -> str:
        """The path of a field with the names that the file has for its parts."""
        names = self.table.names
        return ".".join(names.get(step, step) for step in place.split(".")) if names else place


def _is_json(path: Path) -> bool:
    return bool({".jsonl", ".ndjson", ".json"} & {suffix.lower() for suffix in path.suffixes[-2:]})


def _holds_lines(path: Path) -> bool:
    """Whether the first line of an uncompressed file is a whole JSON object, so that each of its lines is a row."""
    if path.suffix.lower() not in _LINE_SUFFIXES or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return isinstance(orjson.loads(file.readline(MAX_ROW_BYTES).removeprefix(_UTF8_BOM)), dict)
    except (OSError, orjson.JSONDecodeError):
        return False
