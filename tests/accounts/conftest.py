"""What the tests of accounts share: the examples, judged once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.cli import curate
from support.ingesting import EXAMPLES


@pytest.fixture(scope="session")
def judged_examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with raw/ and curated/, judged by the demo judge; see :func:`judged.moved`."""
    folder = tmp_path_factory.mktemp("judged")
    shutil.copytree(EXAMPLES, folder / "raw")
    judged = ("score", "raw", "--judge", "--judge-url", "demo", "--declare-deidentified", "dicom")
    assert curate(*judged, cwd=folder).status in (0, 1)
    return folder
