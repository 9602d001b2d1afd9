"""Chunks of rows and what becomes of them: the part of an ingest that can be done anywhere, in any order."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from curate.corpus import Origin, Sample, to_table
from curate.schemas import FORMATS, ValidationError, WireRecord, expected_fields, problems, recognise
from curate.sources.convert import to_sample
from curate.sources.images import Intake, inline_prefix, intake_bytes, intake_file, intake_inline
from curate.sources.locations import resolve
from curate.sources.quick_lines import QuickLines
from curate.sources.readers import TOO_DEEP, BadRow, Line, Row, parsed
from curate.sources.rejects import Reject, RejectError
from curate.sources.staging import Converted, location_key, made_from

_MANY_PICTURES = 16_384
"""References whose pictures are remembered while they are read, since several rows often speak of one."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that follow one another in a file."""

    root: int
    """Number of the input whose root the file is relative to."""
    file: str
    rows: list[Line | Row | BadRow] = field(default_factory=list)


@dataclass(slots=True)
class Chunk:
    """Rows that are converted at one go."""

    files: list[Rows] = field(default_factory=list)
    rows: int = 0
    size: int = 0
    """Bytes, about."""


class Converter:
    """Turns chunks of rows into samples. Each process has its own, which learns from what it has seen."""

    def __init__(self, roots: tuple[Path, ...], columns: Mapping[str, str], corpus: Path) -> None:
        self._roots, self._columns, self._corpus = roots, columns, corpus
        self._quick: QuickLines | None = None
        """Lines of the format that was read last."""
        self._pictures: dict[tuple[int, str, str], tuple[Intake, int]] = {}

    def __call__(self, chunk: Chunk) -> Converted:
        """The samples and rejects that the rows of a chunk become."""
        began = time.monotonic()
        samples: list[Sample] = []
        sources = bytearray()
        ends: list[int] = []
        places: list[int] = []
        rejects: list[tuple[int, Reject]] = []
        locations: set[int] = set()
        place = 0
        for part in chunk.files:
            read = partial(self._read_picture, part.root, part.file.rpartition("/")[0], locations)
            source = part.file.split("/", 1)[0] if "/" in part.file else self._roots[part.root].name
            for row in part.rows:
                found = self._convert(row, part.file, source, read)
                if isinstance(found, Sample):
                    samples.append(found)
                    places.append(place)
                    sources += made_from(found)
                    ends.append(len(sources))
                else:
                    rejects.append((place, found))
                place += 1
        return Converted(
            rows=chunk.rows,
            samples=to_table(samples),
            places=places,
            made_from=bytes(sources),
            ends=ends,
            rejects=rejects,
            locations=locations,
            seconds=time.monotonic() - began,
        )

    def _convert(
        self, row: Line | Row | BadRow, file: str, source: str, read: Callable[[str | bytes], Intake]
    ) -> Sample | Reject:
        number = row.number
        try:
            found = self._record(row)
            if isinstance(found, BadRow):
                return Reject(file, *found)
            return to_sample(*found, read=read, folder=source, origin=Origin(file, number))
        except RejectError as error:
            return Reject(file, number, error.reason, str(error))
        except ValidationError as error:
            wrong = problems(error)
            message = "; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in wrong)
            return Reject(file, number, wrong[0].code, message)
        except RecursionError:
            return Reject(file, number, "too_deep", TOO_DEEP)

    def _record(self, row: Line | Row | BadRow) -> tuple[str, WireRecord] | BadRow:
        """Format and record of a row. Lines like one that was looked at closely are read in one step."""
        quick = self._quick
        line = row if isinstance(row, Line) else None
        if quick and line and (record := quick.record(*line)):
            return quick.name, record
        if line:
            row = parsed(line, self._columns)
        if not isinstance(row, Row):
            return row  # type: ignore[return-value]
        name, record = _validated(row.fields)
        if line and not self._columns:
            if quick is None or quick.name != name:
                self._quick = quick = QuickLines(name)
            quick.learn(record)
        return name, record

    def _read_picture(self, root: int, folder: str, locations: set[int], reference: str | bytes) -> Intake:
        if isinstance(reference, bytes):
            return intake_bytes(reference, spelling="", corpus=self._corpus)
        known = self._pictures.get((root, folder, reference))
        if known is None:
            if (prefix := inline_prefix(reference)) is not None:
                return intake_inline(reference, prefix, corpus=self._corpus)
            known = self._picture_file(root, folder, reference, locations)
            if len(self._pictures) >= _MANY_PICTURES:
                self._pictures.clear()
            self._pictures[root, folder, reference] = known
        locations.add(known[1])
        return known[0]

    def _picture_file(self, root: int, folder: str, reference: str, locations: set[int]) -> tuple[Intake, int]:
        """The picture that a path leads to, and its :func:`location_key`; noted also when it can't be taken in."""
        order = [root, *(n for n in range(len(self._roots)) if n != root)]
        number, relative = resolve(reference, self._roots[root] / folder, tuple(self._roots[n] for n in order))
        found = order[number]
        key = location_key(found, relative.as_posix())
        path = self._roots[found] / relative
        try:
            return intake_file(path, root=found, relative=relative.as_posix(), name=reference, corpus=self._corpus), key
        except RejectError:
            locations.add(key)
            raise


def _validated(fields: dict[str, Any]) -> tuple[str, WireRecord]:
    name = recognise(fields)
    if name is None:
        raise RejectError(
            "unknown_format",
            f"the fields {field_names(fields)} fit no record format; if they are called otherwise, name them with "
            f"--map (text={next(iter(fields), 'column')}); the formats have {expected_fields()}",
        )
    if name == "llamafactory":
        raise RejectError("not_a_source", "LLaMA-Factory rows are an output of curate; ingest what they were made from")
    return name, FORMATS[name].model_validate(fields)


def field_names(fields: Mapping[str, Any]) -> str:
    """The names of a record's fields, for a message."""
    names = [repr(str(name)[:40]) for name in list(fields)[:8]]
    return ", ".join(names) + (", …" if len(fields) > 8 else "") if names else "(none)"
