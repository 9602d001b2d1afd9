"""Copies of the judged examples, for tests that change them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path


def moved(judged: Path, folder: Path) -> None:
    """Copy raw/ and curated/ into ``folder``, as if the corpus had been made from the copy of the raw data."""
    for name in ("raw", "curated"):
        shutil.copytree(judged / name, folder / name)
    info = json.loads((folder / "curated" / "corpus.json").read_text())
    info["roots"] = [root.replace(str(judged), str(folder)) for root in info["roots"]]
    (folder / "curated" / "corpus.json").write_text(json.dumps(info))
