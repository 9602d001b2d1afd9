"""Checks of the rows of one file: readable, of a known format, well formed, and every picture there and whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import orjson

from curate.rewards import known_types
from curate.schemas import (
    FORMATS,
    Interleaved,
    Query,
    ValidationError,
    VerlRow,
    WireRecord,
    expected_fields,
    problems,
    recognise,
)
from curate.sources.images import inline_prefix
from curate.sources.ingest import field_names
from curate.sources.quick_lines import QuickLines
from curate.sources.readers import MAX_ROW_BYTES, TOO_DEEP, BadRow, Row, parse_line, read_rows
from curate.sources.validate.column_types import ColumnTypes
from curate.sources.validate.images import ImageChecks, Place, Verdict
from curate.sources.validate.report import Report, Severity
from curate.sources.validate.verl import cell_reference, unknown_query_type, verl_problems

_IMAGE_FIELD = {
    "image-caption": "image",
    "conversation": "image",
    "query": "images",
    "sample": "images",
    "llamafactory": "images",
}
"""The field with a reference or a list of them, for the formats that have one."""
_BATCH_IMAGES, _BATCH_BYTES = 256, 8 * 2**20
"""Pictures waiting to be checked together, and the bytes of those written inline."""
_MAX_REMEMBERED = 65_536
_LINE_SUFFIXES = (".jsonl", ".ndjson")
_UTF8_BOM = b"\xef\xbb\xbf"

Adapt = Callable[[dict[str, Any]], dict[str, Any]]
Tick = Callable[[], None]
"""Called now and then while rows are read."""
OnPicture = Callable[[int, str, bytes], None]
"""Called with row, field and hash of each readable picture; not again for a path that the same file has had."""


@dataclass(frozen=True)
class Table:
    """Rows to check together: a file of records, or the sidecars of an image."""

    path: Path
    file: str
    """The path as shown in findings."""
    place: Place
    group: str | None = None
    """Counted under this name instead of ``file``."""
    format: str | None = None
    """A name of ``curate.schemas.FORMATS``; None recognises the format of each row."""
    adapt: Adapt | None = None
    """Gives a row the field names of the format."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Field name of the format -> column, for files whose cells are read by the name of their field."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Field name of the format -> name in the file, for the findings."""
    image_feature: bool = False
    """Whether the file says that its pictures are Hugging Face ``Image`` cells."""
    on_picture: OnPicture | None = None


@dataclass
class Pictured:
    """Where a file's first row with a picture is; LLaMA-Factory needs it near the beginning."""

    row: int = 0
    """0 when there is none."""
    offset: int = 0
    """Bytes before it, where rows are lines."""


class RowChecks:
    """Checks the rows of one :class:`Table` into a report, holding a bounded number of them at a time."""

    def __init__(self, table: Table, images: ImageChecks, report: Report) -> None:
        self._table, self._images, self._report = table, images, report
        self._counts = report.group(table.group or table.file)
        self._types = ColumnTypes(deep=table.place.trainer) if _is_json(table.path) else None
        self._known_types = known_types()
        self._lines = False
        self._waiting: list[tuple[int, str, str | bytes]] = []
        self._waiting_bytes = 0
        self._verdicts: dict[str, Verdict] = {}
        self._fine: set[str] = set()
        self.pictured = Pictured()

    def file(self, tick: Tick) -> None:
        """Check the file of the table; an empty one is an error."""
        before = self._counts.rows + self._counts.errors
        if _holds_lines(self._table.path):
            self._lines = True
            try:
                with self._table.path.open("rb", buffering=2**20) as file:
                    self._check_lines(file, tick)
            except OSError as error:
                self._add("error", 0, "unreadable_file", f"reading stopped: {error.strerror}")
        else:
            self.rows(read_rows(self._table.path, self._table.columns), tick)
        self._settle_images()
        if self._counts.rows + self._counts.errors == before:
            self._report.add("error", self._table.file, 0, "empty_file", "the file holds no records")

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

    def _check_lines(self, file: IO[bytes], tick: Tick) -> None:
        """Rows that are lines, most of them without building a Python value: a line that looks like the one before it
        is validated as JSON in one step, and only one that is new in some way is parsed and looked at closely."""
        offset = number = 0
        quick: QuickLines | None = None
        image_field: str | None = None
        while line := file.readline(MAX_ROW_BYTES + 1):
            number += 1
            if len(line) > MAX_ROW_BYTES:
                self._row(BadRow(number, "line_too_long", f"it is longer than {MAX_ROW_BYTES // 2**20} MiB"), offset)
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_ROW_BYTES)
                continue
            if number == 1:
                line = line.removeprefix(_UTF8_BOM)
            record = quick.record(number, line) if quick else None
            if quick and record:
                self._counts.rows += 1
                if image_field is None or not self._is_fine(getattr(record, image_field)):
                    self._accept(number, quick.name, record, offset)
            elif line.strip():
                name, record = self._row(parse_line(number, line), offset)
                if name and record and self._table.adapt is None:
                    if quick is None or quick.name != name:
                        quick = QuickLines(name)
                        image_field = None if name == "query" else _IMAGE_FIELD.get(name)
                    quick.learn(record)
            offset += len(line)
            if number % 4096 == 0:
                tick()

    def _is_fine(self, references: str | list[str] | None) -> bool:
        """Whether a row's pictures are known to be fine."""
        if isinstance(references, str):
            return references in self._fine
        return not references or self._fine.issuperset(references)

    def _row(self, row: Row | BadRow, offset: int) -> tuple[str | None, WireRecord | None]:
        """Check one row; its format and record when it is well formed."""
        if isinstance(row, BadRow):
            self._counts.rows += row.number > 0
            self._add("error", row.number, row.reason, row.message)
            return None, None
        self._counts.rows += 1
        fields = self._table.adapt(row.fields) if self._table.adapt else row.fields
        name = self._table.format or recognise(fields)
        if name is None:
            message = f"the fields {field_names(fields)} fit no record format ({expected_fields()})"
            self._add("error", row.number, "unknown_format", message)
            return None, None
        try:
            record = FORMATS[name].model_validate(fields)
        except ValidationError as error:
            for problem in problems(error):
                self._add("error", row.number, problem.code, problem.message, self._as_named(problem.field))
            return None, None
        try:
            self._note_types(row.number, row.fields)
        except RecursionError:
            self._add("error", row.number, "too_deep", TOO_DEEP)
            return None, None
        self._accept(row.number, name, record, offset)
        return name, record

    def _note_types(self, number: int, fields: Mapping[str, Any]) -> None:
        if self._types is None:
            return
        trainer = self._table.place.trainer
        severity: Severity = "error" if trainer else "warning"
        hint = "the trainer loads it with Arrow, where a column has one type"
        if not trainer:
            hint = "curate reads both, but nothing that loads the file with Arrow does"
        for place, difference in self._types.conflicts(number, fields):
            self._add(severity, number, "mixed_types", f"{difference}: {hint}", place)

    def _accept(self, number: int, name: str, record: WireRecord, offset: int) -> None:
        """The checks of a well-formed record that its schema does not make."""
        image_field = _IMAGE_FIELD.get(name)
        if image_field is not None:
            value = getattr(record, image_field)
            if isinstance(value, str):
                if value not in self._fine:
                    self._need(number, image_field, value)
            elif value:
                for position, reference in enumerate(value):
                    if reference not in self._fine:
                        self._need(number, f"{image_field}.{position}", reference)
        elif isinstance(record, Interleaved):
            value = [info for info in record.image_info if info is not None]
            for slot, info in enumerate(record.image_info):
                if info is not None and info.image not in self._fine:
                    part = "image" if info.image is not None else "image_base64"
                    self._need(number, f"image_info.{slot}.{part}", info.image or info.image_base64 or "")
        elif isinstance(record, VerlRow):
            value = record.images
            self._verl(number, record)
        if value and not self.pictured.row:
            self.pictured = Pictured(number, offset)
        if isinstance(record, Query):
            self._query(number, record)

    def _query(self, number: int, record: Query) -> None:
        if record.query_type not in self._known_types:
            message = unknown_query_type(record.query_type, self._known_types)
            self._add("warning", number, "unknown_query_type", message, "query_type")

    def _verl(self, number: int, record: VerlRow) -> None:
        for severity, problem in verl_problems(
            record,
            self._known_types,
            trainer=self._table.place.trainer,
            image_feature=self._table.image_feature,
        ):
            self._add(severity, number, problem.code, problem.message, problem.field)
        for position, cell in enumerate(record.images or ()):
            reference = cell_reference(cell)
            if reference is not None and reference not in self._fine:
                self._need(number, f"images.{position}", reference)

    def _need(self, number: int, place: str, reference: str | bytes) -> None:
        """Have a picture checked, now or together with others."""
        if self._table.format == "llamafactory" and self._types and inline_prefix(str(reference)) is not None:
            message = "LLaMA-Factory takes it for a path; write a file, or the bytes in a Parquet column"
            self._add("error", number, "unreadable_cell", message, self._as_named(place))
            return
        if isinstance(reference, str):
            if reference in self._fine:
                return
            if known := self._verdicts.get(reference):
                self._judge(number, place, known)
                return
        self._waiting.append((number, place, reference))
        self._waiting_bytes += len(reference)
        if len(self._waiting) >= _BATCH_IMAGES or self._waiting_bytes >= _BATCH_BYTES:
            self._settle_images()

    def _settle_images(self) -> None:
        distinct = list(dict.fromkeys(reference for _, _, reference in self._waiting))
        found = dict(zip(distinct, self._images.verdicts(distinct, self._table.place), strict=True))
        for number, place, reference in self._waiting:
            self._judge(number, place, found[reference])
        if len(self._verdicts) + len(self._fine) + len(found) > _MAX_REMEMBERED:
            self._verdicts.clear()
            self._fine.clear()
        for reference, verdict in found.items():
            if isinstance(reference, str) and len(reference) < 4096:
                if verdict.code:
                    self._verdicts[reference] = verdict
                else:
                    self._fine.add(reference)
        self._waiting.clear()
        self._waiting_bytes = 0

    def _judge(self, number: int, place: str, verdict: Verdict) -> None:
        if verdict.code:
            self._add("error", number, verdict.code, verdict.message, self._as_named(place))
        if verdict.digest and self._table.on_picture is not None:
            self._table.on_picture(number, place, verdict.digest)

    def _add(self, severity: Severity, number: int, code: str, message: str, place: str = "") -> None:
        line = number if self._lines else 0
        self._report.add(
            severity, self._table.file, number, code, message, field=place, line=line, group=self._table.group
        )

    def _as_named(self, place: str) -> str:
        """The path of a field with the names that the file has for its parts."""
        names = self._table.names
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
