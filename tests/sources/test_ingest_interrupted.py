"""Ingests that end in the middle: the next run keeps what is finished, whatever step on disk was the last.

``kill -9`` at random moments is tested in ``tests/faults/test_kill.py``, for all commands.
"""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.cli import COMMAND, curate
from support.pictures import distinct


def write_raw(folder: Path, rows: int) -> None:
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.png").write_bytes(distinct(number))
    with (folder / "records.jsonl").open("w") as file:
        for row in range(rows):
            bad = row % 97 == 0
            record = {"image": f"{row % 40}.png", "text": "" if bad else f"Finding number {row // 2} in the retina."}
            file.write(json.dumps(record) + "\n")


def content(corpus: Path) -> dict[str, str]:
    """Hash of every file of a corpus; corpus.json without its times."""
    found = {}
    for path in sorted(corpus.rglob("*")):
        if path.is_file() and path.name not in (".lock", "corpus.json"):
            found[str(path.relative_to(corpus))] = hashlib.sha256(path.read_bytes()).hexdigest()
    info = json.loads((corpus / "corpus.json").read_text())
    for step in info["steps"]:
        step["at"] = ""
    return found | {"corpus.json": json.dumps(info)}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("input") / "raw"
    write_raw(folder, 25_000)
    return folder


def test_a_killed_ingest_skips_the_shards_it_has(raw: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "curated"
    process = subprocess.Popen([*COMMAND, "ingest", str(raw), "-o", str(corpus)], stderr=subprocess.DEVNULL)
    first = corpus / "samples.partial" / "part-00000.parquet"
    for _ in range(3000):
        if first.exists() or process.poll() is not None:
            break
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert first.exists(), "the ingest was over before it could be killed"
    before = first.stat().st_mtime_ns
    ran = curate("ingest", raw, "-o", corpus)
    assert ran.status == 0
    assert (corpus / "samples" / "part-00000.parquet").stat().st_mtime_ns == before


CRASHING = """
import os, pathlib, shutil, sys
from curate.corpus import Corpus
from curate.sources import staging
from curate.sources.ingest import IngestOptions, ingest

staging.SHARD_ROWS = 16
raw, out = map(pathlib.Path, sys.argv[1:])


def run(corpus, crash_at):
    steps = 0

    def counted(function):
        def step(*args, **kwargs):
            nonlocal steps
            steps += 1
            if steps == crash_at:
                os._exit(9)
            return function(*args, **kwargs)
        return step

    for name in ("replace", "rename", "unlink", "mkdir"):
        setattr(pathlib.Path, name, counted(getattr(pathlib.Path, name)))
    shutil.rmtree = counted(shutil.rmtree)
    opened = Corpus.create(corpus)
    with opened.lock():
        ingest([raw], opened, IngestOptions(), lambda rows, samples: None)
    os._exit(0)


def in_child(corpus, crash_at):
    child = os.fork()
    if not child:
        try:
            run(corpus, crash_at)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


crash_at = 1
while (status := in_child(out / str(crash_at), crash_at)) == 9:
    assert in_child(out / str(crash_at), 0) == 0, crash_at
    crash_at += 1
assert status == 0
print(crash_at - 1)
"""


def test_a_crash_at_any_step_on_disk_is_mended_by_the_next_run(tmp_path: Path) -> None:
    """The process ends before the n-th rename, deletion or new folder, for every n there is."""
    write_raw(tmp_path / "raw", 100)
    (tmp_path / "raw" / "undescribed.png").write_bytes(distinct(99))
    done = subprocess.run(
        [sys.executable, "-c", CRASHING, str(tmp_path / "raw"), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert steps > 20
    whole = content(tmp_path / "out" / str(steps + 1))
    for crash_at in range(1, steps + 1):
        assert content(tmp_path / "out" / str(crash_at)) == whole, crash_at
