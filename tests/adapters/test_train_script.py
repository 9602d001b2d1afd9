"""`adapters/train.sh`, where it lies and as `sbatch` runs it: a copy of it, in a folder of the scheduler's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curate import adapters

SCRIPT = Path(adapters.__file__).parent / "train.sh"


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    """A folder with curate in its ``.venv``."""
    program = tmp_path / "submitted" / ".venv" / "bin" / "curate"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\nfrom curate.cli.main import main\nmain()\n")
    program.chmod(0o755)
    return tmp_path / "submitted"


def run(script: Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "SLURM_SUBMIT_DIR"}
    environment |= {"PATH": "/usr/bin:/bin", **variables}
    return subprocess.run(
        ["bash", script, "missing.yaml"], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_a_copy_finds_curate_where_the_job_was_submitted(submitted: Path, tmp_path: Path) -> None:
    spool = tmp_path / "spool" / "job1"
    spool.mkdir(parents=True)
    copy = Path(shutil.copy(SCRIPT, spool / "slurm_script"))
    for done in (run(copy, submitted), run(copy, tmp_path, SLURM_SUBMIT_DIR=str(submitted))):
        assert done.returncode == 2
        assert "File 'missing.yaml' does not exist" in done.stderr
    done = run(copy, tmp_path)
    assert (done.returncode, done.stderr) == (2, "train.sh: curate is not installed: pip install medcurate\n")
