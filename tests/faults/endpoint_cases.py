"""The command against an endpoint that misbehaves about some samples, and what it left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from judge.endpoint import Behaviour, Connection, Request, well
from support.cli import COMMAND, Ran

from curate.corpus import Corpus

KEY = "sk-faults-5f0c2e7d9a1b4c3e8d6f"
MEASURED = [
    sys.executable,
    "-c",
    "import atexit, os, pathlib, sys\n"
    f"sys.path.append({str(Path(__file__).parents[1])!r})\n"
    "from support.memory import peak_mib\n"
    "atexit.register(lambda: pathlib.Path(os.environ['PEAK_MEMORY']).write_text(str(peak_mib())))\n" + COMMAND[2],
]
"""The command, which writes down at its end how much memory (MiB) it used at most."""
SECONDS = 120
"""How long a command may take before it counts as hanging; it needs a few on an idle machine."""


@dataclass(frozen=True)
class Judged(Ran):
    """A finished ``curate score --judge``."""

    peak_mib: int
    """The most memory that it used."""


def score(corpus: Path, url: str, *options: str, env: Mapping[str, str] | None = None) -> Judged:
    """Run ``curate score CORPUS --judge`` to its end; a hang, a traceback and the key in sight are failures."""
    arguments = ["score", str(corpus), "--judge", "--judge-model", "m", "--judge-url", url, "--json"]
    waits = ["--timeout", "2", "--patience", "2", "--price", "1,10"]
    with tempfile.NamedTemporaryFile() as peak:
        ran = subprocess.run(
            [*MEASURED, *arguments, *waits, *options],
            env={**os.environ, "OPENAI_API_KEY": KEY, "COLUMNS": "200", "PEAK_MEMORY": peak.name, **(env or {})},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        used = int(peak.read())
    assert "Traceback" not in ran.stderr, ran.stderr
    assert places_of(KEY, corpus, ran.stdout + ran.stderr) == []
    return Judged(ran.returncode, ran.stdout, ran.stderr, used)


def places_of(secret: str, folder: Path, printed: str = "") -> list[str]:
    """Where a secret can be read: files below a folder by name, and what was printed."""
    needle = secret.encode()
    found = [str(path) for path in folder.rglob("*") if path.is_file() and needle in _plain_bytes(path)]
    return found + (["printed"] if secret in printed else [])


def _plain_bytes(path: Path) -> bytes:
    """The bytes of a file; of a Parquet file its values, which are compressed there."""
    if path.suffix == ".parquet":
        return str(pl.read_parquet(path).to_dicts()).encode()
    return path.read_bytes()


def by_number(cases: Mapping[int, Behaviour]) -> Behaviour:
    """Misbehaves about the samples with these numbers in their text, and answers all others well."""

    async def behave(request: Request, connection: Connection) -> None:
        text = str(request.user)
        case = next((behaviour for number, behaviour in cases.items() if f"number {number} " in text), well)
        await case(request, connection)

    return behave


def rows_by_number(corpus: Path) -> dict[int, dict[str, Any]]:
    """The verdict row of each sample, by the number in its text."""
    opened = Corpus.open(corpus)
    numbers = {
        sample.id: int(next(sample.texts()).split("number ")[1].split(" ")[0])
        for shard in opened.shards()
        for sample in opened.samples(shard)
    }
    rows = pl.concat(pl.read_parquet(opened.facts_shard("verdicts", shard)) for shard in opened.shards()).to_dicts()
    assert [row["id"] for row in rows] == list(numbers)
    return {numbers[row["id"]]: row for row in rows}
