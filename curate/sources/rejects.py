"""What could not be read: a reason for the count, a sentence for the person."""

from __future__ import annotations

from typing import NamedTuple


class Reject(NamedTuple):
    """One row (or whole file) that did not become a sample; a line of ``rejects/part-*.jsonl``."""

    file: str
    """Path relative to the input's root."""
    row: int
    """Row counted from 1, or 0 for the file as a whole."""
    reason: str
    """Stable snake_case code."""
    message: str
    """What is wrong, for a person."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.row}" if self.row else self.file
        return f"{place}: {self.message}"


class RejectError(ValueError):
    """Raised where reading a row finds that it can't become a sample."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def one_line(error: Exception) -> str:
    """What a library says about an error, on one line of bounded length."""
    return " ".join(str(error).split())[:160]
