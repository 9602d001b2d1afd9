"""What the tests of benchmark files share: rows with pictures, reading them, and the sentence of a refusal."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.corpora import picture

from curate.corpus import UserError
from curate.select.benchmarks import BenchmarkPictures, benchmark_pictures, read_rows
from curate.signals.image import measure_image

QUESTIONS = (
    "Which of these valvular lesions best explains the murmur that is heard in this patient?",
    "Is there evidence of pneumothorax in the left upper lung field of this patient?",
    "Where is the lesion located?",
)


def items(kind: str = "png", first: int = 0) -> list[tuple[str, bytes]]:
    return [(text, picture(first + number, kind=kind)) for number, text in enumerate(QUESTIONS)]


def measure(data: bytes) -> int | None:
    return measure_image(data).phash


def pictures(name: str, path: Path, cache: Path, format_name: str | None = None) -> BenchmarkPictures:
    return benchmark_pictures(read_rows(name, str(path), format_name), measure, cache)


def refused(name: str, path: Path, **options: str) -> str:
    with pytest.raises(UserError) as error:
        read_rows(name, str(path), options.get("format_name"), options.get("split"))
    return str(error.value)
