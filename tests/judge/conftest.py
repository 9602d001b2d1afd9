"""Fixtures of the tests of the judge."""

from pathlib import Path

import pytest
from support.corpora import captions, texts

from curate.corpus import Sample


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    return captions(tmp_path / "raw", 12) + texts(4)
