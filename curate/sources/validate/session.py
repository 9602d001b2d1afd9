"""What the checks of one validation share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curate.sources.article_files import ALLOWED_LICENSES
from curate.sources.validate.images import ImageChecks, Place
from curate.sources.validate.line_ranges import check_rest
from curate.sources.validate.report import Report
from curate.sources.validate.rows import RowChecks, Tick
from curate.sources.validate.table import Pictured, Table
from curate.sources.validate.workers import Parallel, Workers


@dataclass(frozen=True)
class ValidateOptions:
    """What the user may say about the data."""

    format: str | None = None
    """A name of :data:`curate.sources.validate.FORMAT_NAMES`; None recognises each file, and each row of it."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Wire field -> name of the column that holds it."""
    allow_roots: tuple[Path, ...] = ()
    """Folders outside the inputs that records may refer to."""
    decode: bool = False
    """Decode every picture in full; else only its header and its end are looked at."""
    limit: int = 100
    """Findings kept in full; all are counted."""
    licenses: tuple[str, ...] = ALLOWED_LICENSES
    """Licences under which articles are read."""
    parallel: Parallel = field(default_factory=Parallel)
    """How large files are checked in several processes."""


@dataclass(frozen=True)
class Session:
    """One validation: where findings go, who checks pictures, what the user said."""

    report: Report
    images: ImageChecks
    options: ValidateOptions
    roots: tuple[Path, ...]
    """Real paths of all folders that records may refer to."""
    tick: Tick
    workers: Workers

    def place(self, beside: Path, *, root: Path | None = None, trainer: bool = False) -> Place:
        """Where references of records are looked up: ``beside`` first, then ``root`` (``beside`` if not given)."""
        first = (root or beside).resolve()
        return Place(beside.resolve(), (first, *(other for other in self.roots if other != first)), trainer)

    def check_file(self, table: Table) -> Pictured:
        """Check a file of rows; where its first row with a picture is."""
        self.report.files += 1
        checks = RowChecks(table, self.images, self.report)
        checks.file(self.tick, self.workers.worth_it, lambda start, lines: self._check_rest(checks, start, lines))
        return checks.pictured

    def _check_rest(self, checks: RowChecks, start: int, lines: int) -> None:
        check_rest(checks, start, lines, self.workers, self.tick)
