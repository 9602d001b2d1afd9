"""Environments that look like a trainer's from outside."""

from __future__ import annotations

import sys
from pathlib import Path


def fake_environment(folder: Path, **packages: str) -> Path:
    """A virtual environment whose only packages are these; pip is not needed to tell what is installed."""
    (folder / "bin").mkdir(parents=True)
    site = folder / "site"
    for name, version in packages.items():
        info = site / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    python = folder / "bin" / "python"
    # `packaging`, which every trainer brings, comes from the environment of the tests.
    own = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "packaging").parent.mkdir(exist_ok=True)
    (site / "packaging").symlink_to(Path(own) / "packaging")
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{site}" exec "{sys.base_prefix}/bin/python3" "$@"\n')
    python.chmod(0o755)
    return folder
