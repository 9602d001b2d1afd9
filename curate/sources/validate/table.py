"""What is checked row by row, and what is found in a part of it."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curate.sources.article_files import ALLOWED_LICENSES
from curate.sources.validate.images import Place, Verdict
from curate.sources.validate.quick_rows import Adapt
from curate.sources.validate.report import Report

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
    licenses: Collection[str] = ALLOWED_LICENSES
    """Licences under which an article is read."""
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


@dataclass
class Remembered:
    """What is known about pictures, by reference."""

    fine: set[str] = field(default_factory=set)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """For those with something to say about."""


@dataclass(frozen=True)
class LineRange:
    """Whole lines of a table's file."""

    table: Table
    start: int
    end: int | None
    """Offset of the first byte behind it; None for the end of the file."""
    limit: int
    """Findings to keep."""
    pictures: bool
    """Whether the hashes of pictures are asked for."""
    known_types: Sequence[str]


@dataclass(frozen=True)
class RangeFound:
    """What there is to say of a range; its rows are counted from 1."""

    lines: int
    report: Report
    types: list[tuple[int, str, str]]
    pictured: Pictured
    pictures: list[tuple[int, str, bytes]]
    located: array[int]
    stopped: bool
    """Whether reading failed."""
