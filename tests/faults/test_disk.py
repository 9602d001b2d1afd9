"""A disk that is full, read-only, or limited: a sentence, nothing half-written, and the same command goes on later."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.commands import SHARD_ROWS, contents, run, write_raw
from judge.endpoint import Endpoint

ROWS = 400
NEEDS_MOUNT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system takes root")


def limit_of(size: int) -> Callable[[], None]:
    """A limit on the size of any file, which the kernel reports as it does a quota; for the child process."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    return limit


class Disk:
    """A file system in memory whose size can be changed while it is in use."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def used(self) -> int:
        """Bytes; more than the files have, which take whole pages."""
        status = os.statvfs(self.place)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def remount(self, *flags: str) -> None:
        subprocess.run(["mount", "-o", ",".join(("remount", *flags)), str(self.place)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr!r}")
    yield Disk(place)
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("disk") / "raw", ROWS)


@pytest.fixture(scope="module")
def scored(raw: Path) -> Path:
    """A measured corpus."""
    corpus = raw.parent / "scored"
    assert run("score", raw, "-o", corpus, "--workers", "1").status == 0
    return corpus


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def leftovers(folder: Path) -> list[Path]:
    """Temporary and half-written things; the shards that an ingest goes on from are none."""
    return [p for p in folder.rglob("*") if p.name.endswith((".tmp", ".partial", ".old")) and p.name.startswith(".")]


@NEEDS_MOUNT
@pytest.mark.parametrize(("name", "share"), [("ingest", 0.02), ("ingest", 0.6), ("score", 0.9), ("export", 0.5)])
def test_a_full_disk(name: str, share: float, disk: Disk, raw: Path, scored: Path, tmp_path: Path) -> None:
    """At several points of the work: the disk holds that share of what the command writes."""
    place = disk.place
    commands: dict[str, tuple[tuple[str | Path, ...], tuple[str | Path, ...], str]] = {
        "ingest": (("ingest", raw, "-o", place / "curated"), ("ingest", raw, "-o", tmp_path / "curated"), "curated"),
        "score": (
            ("score", raw, "-o", place / "curated", "--workers", "1"),
            ("score", raw, "-o", tmp_path / "curated", "--workers", "1"),
            "curated",
        ),
        "export": (
            ("export", scored, "--format", "image-caption", "-o", place / "export"),
            ("export", scored, "--format", "image-caption", "-o", tmp_path / "export"),
            "export",
        ),
    }
    here, elsewhere, result = commands[name]
    assert run(*elsewhere).status == 0
    whole = contents(tmp_path / result)
    disk.remount(f"size={max(4096, int(share * size_of(tmp_path / result)))}")
    full = run(*here)
    assert full.status == 2, full.err
    assert "No space left on device" in full.err
    assert leftovers(place) == []
    if name == "export":
        assert not (place / "export").exists()
    disk.remount("size=64m")
    assert run(*here).status == 0
    assert contents(place / result) == whole


@NEEDS_MOUNT
def test_a_full_disk_while_judging_keeps_every_answer_that_it_could(disk: Disk, scored: Path) -> None:
    corpus = disk.place / "curated"
    subprocess.run(["cp", "-a", str(scored), str(corpus)], check=True)
    disk.remount(f"size={disk.used() + 30_000}")
    with Endpoint() as endpoint:
        judge = ("score", corpus, "--judge", "--judge-url", endpoint.url, "--judge-model", "m", "--concurrency", "8")
        full = run(*judge)
        assert full.status == 2, full.err
        assert "No space left on device" in full.err
        first = {request.code for request in endpoint.requests}
        (segment,) = (corpus / "journal").iterdir()
        assert segment.read_bytes().endswith(b"}\n"), "the journal ends with a whole answer"
        kept = {json.loads(line)["key"][:12] for line in segment.read_bytes().splitlines()}
        assert 0 < len(kept) < SHARD_ROWS, "no shard of verdicts was finished: it was the journal that filled the disk"
        assert 0 < len(first - kept) <= 2 * 8, "what was in flight or on its way to the disk"
        sent = len(endpoint.requests)
        disk.remount("size=64m")
        assert run(*judge).status == 0
        assert not {request.code for request in endpoint.requests[sent:]} & kept


@NEEDS_MOUNT
def test_a_read_only_output_is_a_sentence_and_a_read_only_input_is_none(
    disk: Disk, raw: Path, scored: Path, tmp_path: Path
) -> None:
    place = disk.place
    for folder in (raw, scored):
        subprocess.run(["cp", "-a", str(folder), str(place / folder.name)], check=True)
    responses = place / "responses.jsonl"
    responses.write_text(json.dumps({"response": "<answer>A</answer>", "answer": "A", "query_type": "choice"}) + "\n")
    disk.remount("ro")
    refused = (
        ("ingest", raw, "-o", place / "curated"),
        ("ingest", place / "raw", "-o", place / "scored"),
        ("score", raw, "-o", place / "curated"),
        ("score", place / "scored"),
        ("score", place / "scored", "--judge", "--judge-url", "demo"),
        ("export", place / "scored", "--format", "jsonl", "-o", tmp_path / "export"),
        ("export", scored, "--format", "jsonl", "-o", place / "export"),
        ("reward", responses, "-o", place / "scores.jsonl"),
    )
    with ThreadPoolExecutor(2) as threads:
        for ran in threads.map(lambda arguments: run(*arguments), refused):
            assert ran.status == 2, ran.err
            assert "Read-only file system" in ran.err
            assert str(place) in ran.err, "it says where"
    for arguments in (
        ("validate", place / "raw"),
        ("ingest", place / "raw", "-o", tmp_path / "curated"),
        ("reward", responses),
    ):
        assert "Read-only" not in run(*arguments).err


@pytest.mark.parametrize(("name", "size"), [("score", 3000), ("score", 20_000), ("export", 9000), ("reward", 3000)])
def test_files_over_a_quota(name: str, size: int, raw: Path, scored: Path, tmp_path: Path) -> None:
    """The same without a mount: files cannot grow over a size."""
    responses = tmp_path / "responses.jsonl"
    line = json.dumps({"response": "<answer>A</answer>", "answer": "A", "query_type": "choice"})
    responses.write_text(f"{line}\n" * 500)
    commands: dict[str, tuple[str | Path, ...]] = {
        "score": ("score", raw, "-o", tmp_path / "curated", "--workers", "1"),
        "export": ("export", scored, "--format", "jsonl", "-o", tmp_path / "export"),
        "reward": ("reward", responses, "-o", tmp_path / "scores.jsonl"),
    }
    limited = run(*commands[name], preexec_fn=limit_of(size))
    assert limited.status == 2, limited.err
    assert "File too large" in limited.err
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "scores.jsonl").exists()
    assert not (tmp_path / "export").exists()
    assert run(*commands[name]).status == 0
