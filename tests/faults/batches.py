"""Mutants through ingest, validate, score and export, many to a folder.

``python -m faults.batches FIRST LAST FOLDER`` runs the command itself (:func:`curate.cli.main.main`) in this process,
since starting one costs more than a mutant does, and prints a JSON line for each batch: its seeds, what is wrong with
which of them, seconds and peak memory. A batch that hangs ends the process with the traceback of every thread.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from faults.mutants import Mutant, mutant
from faults.mutate_records import EXAMPLES
from faults.terminal import ACTING
from support.cli import Ran
from support.memory import peak_mib

BATCH = 250
BATCH_SECONDS, ALONE_SECONDS = 150, 30
"""How long a batch, and a mutant by itself, may take; what takes longer hangs."""
MOST_MEMORY = 1536
"""MiB that the process may have used at its peak."""
FORMATS = ("jsonl", "image-caption", "interleaved", "llamafactory-sft", "llamafactory-cpt", "verl")
REWARDED = "query_type IS NULL OR query_type IN ('choice', 'multi_choice', 'exact', 'jaccard', 'yes_no', 'numeric')"


class FaultError(Exception):
    """Something that must not happen, whatever the data."""


def run_batch(seeds: Sequence[int], folder: Path) -> dict[int, str]:
    """What is wrong with which of the mutants; under the key -1 what no mutant can be named for."""
    mutants = [mutant(seed) for seed in seeds]
    raw, corpus = folder / "raw", folder / "curated"
    for one in mutants:
        place = raw / _folder(one)
        place.mkdir(parents=True)
        for name, data in one.files.items():
            (place / name).write_bytes(data)
    (raw / "pictures").mkdir()
    for path in EXAMPLES.rglob("*"):
        if path.suffix in (".png", ".jpg", ".dcm"):
            shutil.copy(path, raw / "pictures")
    try:
        counts = json.loads(_curate("ingest", raw, "-o", corpus, "--json").out)
        outcomes = Counter(_outcomes(corpus))
        _check_sum(counts, outcomes)
        wrong = dict(_check_mutants(mutants, outcomes))
        report = json.loads(_curate("validate", raw, "--report", "json", "--limit", "1000000").out)
        wrong |= _check_agreement(mutants, corpus, report, raw)
        if counts["samples"]:
            _curate("score", corpus, "--json", allowed=(0,))
            for name in FORMATS:
                _export(corpus, folder / name, name)
    except FaultError as error:
        return {-1: str(error)}
    return wrong


def _folder(one: Mutant) -> str:
    return f"m{one.seed:08}"


def _curate(*arguments: str | Path, allowed: tuple[int, ...] = (0, 1)) -> Ran:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    status: Any = 0
    with (
        mock.patch.object(sys, "argv", ["curate", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        from curate.cli.main import main

        try:
            main()
        except SystemExit as end:
            status = end.code
    ran = Ran(status, *(stream.buffer.getvalue().decode() for stream in (out, err)))
    if status not in allowed:
        raise FaultError(f"curate {arguments[0]} ended with status {status}: {ran.err[-2000:]}")
    if "Traceback" in ran.err:
        raise FaultError(f"curate {arguments[0]} failed: {ran.err[-3000:]}")
    if bad := ACTING.search(ran.out + ran.err):
        raise FaultError(f"curate {arguments[0]} printed {bad.group()!r}: {ran.out[-300:]} {ran.err[-2000:]}")
    return ran


def _outcomes(corpus: Path) -> Iterator[tuple[str, int]]:
    """Place (file, row) of all samples and rejects, duplicates included."""
    import pyarrow.parquet as pq

    for part in sorted((corpus / "samples").glob("*.parquet")):
        table = pq.read_table(part, columns=["file", "row"])
        yield from zip(table["file"].to_pylist(), table["row"].to_pylist(), strict=True)
    for reject in _rejects(corpus):
        yield reject["file"], reject["row"]


def _rejects(corpus: Path) -> Iterator[dict[str, Any]]:
    for part in sorted((corpus / "rejects").glob("*.jsonl")):
        yield from map(json.loads, part.open())


def _check_sum(counts: dict[str, Any], outcomes: Counter[tuple[str, int]]) -> None:
    total = counts["samples"] + counts["duplicates"] + sum(counts["rejects"].values())
    if not counts["rows"] == total == outcomes.total():
        raise FaultError(f"{counts['rows']} rows, {total} counted, {outcomes.total()} on disk")


def _check_mutants(mutants: list[Mutant], outcomes: Counter[tuple[str, int]]) -> Iterator[tuple[int, str]]:
    """Every row once, as a sample or a reject; no file without an outcome."""
    by_folder: dict[str, list[tuple[int, int]]] = {}
    for (file, row), times in outcomes.items():
        by_folder.setdefault(file.split("/")[0], []).append((row, times))
    for one in mutants:
        found = by_folder.get(_folder(one), [])
        if twice := [row for row, times in found if row and times > 1]:
            yield one.seed, f"row {twice[0]} has several outcomes"
        rows = sum(times for _, times in found)
        if rows < 1 or one.rows not in (None, rows):
            yield one.seed, f"{rows} outcomes for {one.rows} rows"


def _check_agreement(mutants: list[Mutant], corpus: Path, report: dict[str, Any], raw: Path) -> dict[int, str]:
    """What ingest rejects, validate calls an error in the same row."""
    seeds = {_folder(one): one.seed for one in mutants}
    errors = {
        (Path(problem["file"]).relative_to(raw).as_posix(), problem["row"])
        for problem in report["problems"]
        if problem["severity"] == "error" or problem["row"] == 0
    }
    return {
        seeds[folder]: f"ingest rejects {reject}, validate finds nothing"
        for reject in _rejects(corpus)
        if reject["reason"] not in ("duplicate", "image_without_text", "not_a_source")
        and (folder := reject["file"].split("/")[0]) in seeds
        and (reject["file"], reject["row"]) not in errors
    }


def _export(corpus: Path, target: Path, name: str) -> None:
    where = ("--where", REWARDED) if name == "verl" else ()
    ran = _curate("export", corpus, "--format", name, "-o", target, "--json", *where, allowed=(0, 1, 2))
    if ran.status == 2:
        if not re.search("nothing to export|no selected sample|none of the", ran.err):
            raise FaultError(f"export {name}: {ran.err[-2000:]}")
        return
    summary = json.loads(ran.out)
    left = summary["kept"] - sum(summary["other_kinds"].values()) - sum(summary["skipped"].values())
    rows = sum(file["rows"] for file in summary["files"])
    # A long document is several rows for continual pretraining.
    short = rows < left if name == "llamafactory-cpt" else rows != left
    if short or summary["total"] != summary["kept"] + sum(summary["dropped"].values()):
        raise FaultError(f"export {name} does not add up: {summary}")
    checked = _curate("validate", target, "--report", "json")
    if checked.status:
        raise FaultError(f"validate refuses the export {name}: {json.loads(checked.out)['problems'][:3]}")


def main(first: int, last: int, folder: Path) -> None:
    """Run the mutants with the seeds from ``first`` up to ``last``, and say what is wrong."""
    for start in range(first, last, BATCH):
        seeds = range(start, min(start + BATCH, last))
        faulthandler.dump_traceback_later(ALONE_SECONDS if len(seeds) == 1 else BATCH_SECONDS, exit=True)
        began = time.monotonic()
        place = folder / f"batch-{start}"
        try:
            wrong = run_batch(seeds, place)
        except Exception as error:  # noqa: BLE001 - this is what is looked for
            import traceback

            wrong = {-1: f"{type(error).__name__}: {traceback.format_exc()[-3000:]}"}
        faulthandler.cancel_dump_traceback_later()
        shutil.rmtree(place, ignore_errors=True)
        memory = peak_mib()
        if memory > MOST_MEMORY:
            wrong = {-1: f"the process took {memory} MiB", **wrong}
        seconds = round(time.monotonic() - began, 2)
        print(json.dumps({"first": start, "last": seeds.stop, "wrong": wrong, "s": seconds, "MiB": memory}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
