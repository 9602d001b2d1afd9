"""What a validation found: counts of everything, and the first findings in full."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]

_LONGEST_MESSAGE, _LONGEST_FIELD = 500, 120


class Finding(NamedTuple):
    """One thing wrong with one row, or with a file as a whole."""

    severity: Severity
    """``error``: the row is useless, or a trainer stops at it or silently changes it. ``warning``: worth a look."""
    file: str
    """The path as the user wrote it, or below the folder that the user named."""
    row: int
    """Row counted from 1, or 0 for the file as a whole."""
    field: str
    """Dotted path of the field, empty for the row as a whole."""
    code: str
    """Stable snake_case name of the kind of problem."""
    message: str
    """What is wrong, for a person."""
    line: int
    """Line of the file where its rows are lines, else 0."""
    group: str
    """The entry of ``Report.groups`` it is counted in."""


@dataclass
class Group:
    """Counts of a file, or of a folder's captioned images together."""

    rows: int = 0
    errors: int = 0
    warnings: int = 0
    position: int = 0
    """Its place among the groups."""
    unsound: set[tuple[str, int]] = field(default_factory=set)
    """File and row of every row with an error."""


@dataclass
class Report:
    """Counts of all findings; the first ``limit`` are kept by file and row, errors before warnings."""

    limit: int
    files: int = 0
    groups: dict[str, Group] = field(default_factory=dict)
    """Counts by file, in the order they were checked."""
    by_code: Counter[str] = field(default_factory=Counter)
    _errors: list[Finding] = field(default_factory=list)
    _warnings: list[Finding] = field(default_factory=list)

    def group(self, name: str) -> Group:
        """The counts of a file, begun when it is first named."""
        return self.groups.setdefault(_text(name), Group(position=len(self.groups)))

    def add(
        self,
        severity: Severity,
        file: str,
        row: int,
        code: str,
        message: str,
        *,
        field: str = "",
        line: int = 0,
        group: str | None = None,
    ) -> None:
        """Count a finding, and keep it while there is room."""
        counts = self.group(group or file)
        self.by_code[code] += 1
        if severity == "error":
            counts.errors += 1
            if row:
                counts.unsound.add((file, row))
        else:
            counts.warnings += 1
        self._keep(severity, (counts.position, _text(file), row), (field, code, message, line, _text(group or file)))

    def merge(self, group: str, found: Report, rows_before: int) -> None:
        """Add what was found in a part of a file, whose rows are counted from the beginning of that part."""
        counts = self.group(group)
        counts.rows += found.rows
        counts.errors += found.errors
        counts.warnings += found.warnings
        for there in found.groups.values():
            counts.unsound.update((file, row + rows_before) for file, row in there.unsound)
        self.by_code.update(found.by_code)
        for finding in (*found._errors, *found._warnings):
            row, line = (finding.row and finding.row + rows_before), (finding.line and finding.line + rows_before)
            words = (finding.field, finding.code, finding.message, line, finding.group)
            self._keep(finding.severity, (counts.position, finding.file, row), words)

    def _keep(self, severity: Severity, place: tuple[int, str, int], words: tuple[str, str, str, int, str]) -> None:
        """Keep a finding if it is among the first, in whatever order they come."""
        kept = self._errors if severity == "error" else self._warnings
        if len(kept) >= self.limit:
            if not kept or place >= self._place(kept[-1]):
                return
            kept.pop()
        field, code, message, line, group = words
        _, file, row = place
        cut = (_cut(field, _LONGEST_FIELD), code, _cut(message, _LONGEST_MESSAGE))
        insort(kept, Finding(severity, file, row, *cut, line, group), key=self._place)

    def _place(self, finding: Finding) -> tuple[int, str, int]:
        return self.groups[finding.group].position, finding.file, finding.row

    @property
    def rows(self) -> int:
        """Rows checked."""
        return sum(group.rows for group in self.groups.values())

    @property
    def unsound(self) -> int:
        """Rows with at least one error."""
        return sum(len(group.unsound) for group in self.groups.values())

    @property
    def errors(self) -> int:
        """All errors, kept or not."""
        return sum(group.errors for group in self.groups.values())

    @property
    def warnings(self) -> int:
        """All warnings, kept or not."""
        return sum(group.warnings for group in self.groups.values())

    def findings(self) -> list[Finding]:
        """At most ``limit`` findings, errors before warnings where not all fit, by file and row."""
        kept = self._errors + self._warnings[: max(0, self.limit - len(self._errors))]
        return sorted(kept, key=self._place)


def _cut(text: str, longest: int) -> str:
    text = _text(text)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _text(text: str) -> str:
    """``text`` without lone surrogates, which stand for undecodable bytes of file names and can't be written."""
    return text.encode(errors="backslashreplace").decode()
