"""Environments of the peers that benchmarks measure against: one each, made once below ``benchmarks/.envs/``."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

ENVIRONMENTS = Path(__file__).parent / ".envs"


class PeerError(Exception):
    """A peer that could not be installed; the message is the end of what pip said."""


def peer_python(name: str, requirements: Path) -> Path:
    """The interpreter of a peer's environment, made by pip from ``requirements`` unless it was made from the same.

    Raises PeerError when pip cannot install them.
    """
    environment = ENVIRONMENTS / name
    python, note = environment / "bin" / "python", environment / "requirements.txt"
    wanted = requirements.read_text()
    if note.is_file() and note.read_text() == wanted:
        return python
    shutil.rmtree(environment, ignore_errors=True)
    print(f"installing {wanted.split()[0]} into {environment}", file=sys.stderr)
    venv.create(environment, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements)]
    done = subprocess.run(pip, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PeerError(done.stderr.strip()[-2000:])
    note.write_text(wanted)
    return python
