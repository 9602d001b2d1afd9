"""20,000 seeded mutants of the examples through ingest, validate, score and export, in batches.

Whatever the data: no traceback, no hang, bounded memory; every row is a sample, a duplicate or a reject, once; counts
add up at every step; what ingest rejects validate reports; and validate accepts what is exported.

``make fuzz`` runs all of them; the tests run a part. ``FUZZ_MUTANTS`` says how many, ``FUZZ_FIRST`` from which seed on.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from faults.batches import BATCH
from faults.mutants import mutant

MUTANTS = int(os.environ.get("FUZZ_MUTANTS", "4000"))
FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
PROCESSES = 2
MOST_FAILURES = 5
"""So many mutants are looked for by name; the rest of a bad day looks like them."""


def run(first: int, last: int, folder: Path) -> Iterator[tuple[range, dict[int, str]]]:
    """What is wrong with the mutants of each batch; a process that dies has the batch it died in to answer for."""
    command = [sys.executable, "-m", "faults.batches", str(first), str(last), str(folder)]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, errors="replace", check=False
    )
    for line in done.stdout.splitlines():
        batch = json.loads(line)
        first = batch["last"]
        yield range(batch["first"], first), {int(seed): what for seed, what in batch["wrong"].items()}
    if first < last:
        end = min(last, first + BATCH)
        yield range(first, end), {-1: f"the process ended with status {done.returncode}: {done.stderr[-3000:]}"}
        if end < last:
            yield from run(end, last, folder)


def named(seeds: range, folder: Path) -> Iterator[tuple[int, str]]:
    """The mutants that a bad batch is due to, found by halving it."""
    for part, wrong in run(seeds.start, seeds.stop, folder):
        if -1 in wrong and len(part) > 1:
            middle = part.start + len(part) // 2
            yield from named(range(part.start, middle), folder)
            yield from named(range(middle, part.stop), folder)
        elif wrong:
            yield from ((part.start if seed < 0 else seed, what) for seed, what in wrong.items())


def keep(seed: int, folder: Path) -> Path:
    """Write a mutant's files where a person can look at them."""
    place = folder / f"mutant-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    for name, data in mutant(seed).files.items():
        (place / name).write_bytes(data)
    return place


@pytest.mark.parametrize("seed", [0, 4711])
def test_a_mutant_is_the_same_for_the_same_seed(seed: int) -> None:
    assert mutant(seed) == mutant(seed)
    assert mutant(seed) != mutant(seed + 1)


def test_whatever_the_data_every_row_is_accounted_for(tmp_path: Path) -> None:
    step = -(-MUTANTS // (PROCESSES * BATCH)) * BATCH
    parts = [range(start, min(start + step, FIRST + MUTANTS)) for start in range(FIRST, FIRST + MUTANTS, step)]

    def failures(part: range) -> dict[int, str]:
        found: dict[int, str] = {}
        folder = tmp_path / str(part.start)
        for seeds, wrong in run(part.start, part.stop, folder):
            if len(found) < MOST_FAILURES:
                # A batch whose halves are fine fails by what its mutants do together: then it is told as a whole.
                found |= (dict(named(seeds, folder / "alone")) if -1 in wrong else {}) or {
                    seeds.start if seed < 0 else seed: what for seed, what in wrong.items()
                }
        return found

    with ThreadPoolExecutor(PROCESSES) as threads:
        found = {seed: what for part in threads.map(failures, parts) for seed, what in part.items()}
    told = [f"{keep(seed, tmp_path / 'failed')}: {what}" for seed, what in sorted(found.items())]
    assert not told, "\n\n".join(told)
