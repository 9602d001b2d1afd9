"""What the tests of ingest share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from support.cli import curate

from curate.corpus import Corpus, Sample

EXAMPLES = Path(__file__).parents[2] / "examples" / "raw"


def write_lines(path: Path, *records: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def ingest(raw: Path, *options: str | Path) -> tuple[dict[str, Any], list[Sample], list[dict[str, Any]]]:
    corpus = raw.parent / "curated"
    ran = curate("ingest", raw, "-o", corpus, "--json", *options)
    assert ran.status in (0, 1), ran.err
    counts = ran.json()
    opened = Corpus.open(corpus)
    samples = [sample for shard in opened.shards() for sample in opened.samples(shard)]
    rejects = [json.loads(line) for part in sorted((corpus / "rejects").glob("*.jsonl")) for line in part.open()]
    assert counts["rows"] == len(samples) + len(rejects)
    assert counts["samples"] == len(samples)
    for sample in samples:
        for image in sample.images:
            opened.image_bytes(image)
    return counts, samples, rejects


def only_reason(rejects: list[dict[str, Any]]) -> str:
    assert len(rejects) == 1, rejects
    return str(rejects[0]["reason"])
