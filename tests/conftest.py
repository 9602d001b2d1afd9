"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def pseudonym_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A key of the tests' own, always the same: none is made in the home of whoever runs them."""
    path = tmp_path_factory.mktemp("key") / "pseudonym.key"
    path.write_text("0" * 64 + "\n")
    path.chmod(0o600)
    os.environ["CURATE_PSEUDONYM_KEY"] = str(path)
    yield path
    del os.environ["CURATE_PSEUDONYM_KEY"]
