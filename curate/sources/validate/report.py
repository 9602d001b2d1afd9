"""What a validation found: counts of everything, and the first findings in full."""

from __future__ import annotations

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


@dataclass
class Report:
    """Counts of all findings; the findings themselves are kept up to ``limit``, errors before warnings."""

    limit: int
    files: int = 0
    groups: dict[str, Group] = field(default_factory=dict)
    """Counts by file, in the order they were checked."""
    by_code: Counter[str] = field(default_factory=Counter)
    _errors: list[Finding] = field(default_factory=list)
    _warnings: list[Finding] = field(default_factory=list)

    def group(self, name: str) -> Group:
        """The counts of a file, begun when it is first named."""
        return self.groups.setdefault(_text(name), Group())

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
        kept = self._errors if severity == "error" else self._warnings
        if severity == "error":
            counts.errors += 1
        else:
            counts.warnings += 1
        if len(kept) < self.limit:
            words = (_text(file), row, _cut(field, _LONGEST_FIELD), code, _cut(message, _LONGEST_MESSAGE))
            kept.append(Finding(severity, *words, line, _text(group or file)))

    @property
    def rows(self) -> int:
        """Rows checked."""
        return sum(group.rows for group in self.groups.values())

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
        order = {name: position for position, name in enumerate(self.groups)}
        return sorted(kept, key=lambda finding: (order[finding.group], finding.file, finding.row))


def _cut(text: str, longest: int) -> str:
    text = _text(text)
    return text if len(text) <= longest else f"{text[:longest]}…"


def _text(text: str) -> str:
    """``text`` without lone surrogates, which stand for undecodable bytes of file names and can't be written."""
    return text.encode(errors="backslashreplace").decode()
