"""Fixtures of the tests of sources."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """An empty folder for raw data; a corpus lies beside it."""
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder
