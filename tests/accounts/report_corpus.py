"""Corpora for tests of the report: decisions, accounts of every stage, hits and rollouts, written by hand."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from PIL import Image as Picture
from support.measured import GOOD_VERDICT, caption, make_corpus, query, stored, write_signals, write_verdicts

from curate.corpus import Corpus

HOSTILE = "<script>alert(1)</script>\x1b[31mred\u202egnp.exe\x00 \"'><img src=x onerror=alert(2)> </style> &amp;"
SECRET = "DOE JOHN 1961-02-03 has a mass"
SCHEMA = {
    "id": pl.String,
    "kept": pl.Boolean,
    "rule": pl.String,
    "reason": pl.String,
    "related": pl.String,
    "copies": pl.Int32,
}


def picture(seed: int, side: int = 96) -> bytes:
    """A PNG of smooth noise that differs for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6), dtype=np.uint8)
    file = io.BytesIO()
    Picture.fromarray(coarse).resize((side, side)).save(file, "PNG")
    return file.getvalue()


def made(path: Path, number: int = 60, *, per_shard: int = 25) -> Corpus:
    """A measured and judged corpus of two kinds and four subsets; one sample is hostile, one identifies someone."""
    images = [stored(path, picture(seed)) for seed in range(number)]
    samples = [
        query(f"Case {row}: which finding?", "nodule", images=[images[row]], source="questions", row=row + 1)
        if row % 3 == 0
        else caption(
            f"Radiograph {row} of a chest without effusion.", images[row], source=f"films-{row % 2}", row=row + 1
        )
        for row in range(number - 2)
    ]
    samples.append(caption(HOSTILE, images[number - 2], source=HOSTILE, row=number))
    samples.append(caption(SECRET, images[number - 1], source="dicom", row=number + 1, privacy="identified"))
    corpus = make_corpus(path, samples, per_shard=per_shard)
    chance = random.Random(0)
    write_signals(
        corpus,
        {
            sample.id: {"image_entropy": round(chance.gauss(6, 1), 3), "text_words": 4 + row}
            for row, sample in enumerate(samples)
        }
        | {samples[1].id: {"image_entropy": 0.4}},
    )
    verdicts = {sample.id: GOOD_VERDICT | {"judge_score": chance.choice((2.2, 3.4, 4.0, 4.8))} for sample in samples}
    verdicts[samples[-2].id] |= {"judge_rationale": HOSTILE, "judge_defects": [HOSTILE]}
    verdicts[samples[-1].id] |= {"judge_rationale": SECRET}
    write_verdicts(corpus, verdicts)
    return corpus


def rows_of(corpus: Corpus) -> list[dict[str, Any]]:
    """Id, source, kind and privacy of every sample, in order."""
    return [
        row
        for shard in corpus.shards()
        for row in pl.read_parquet(shard, columns=["id", "source", "kind", "privacy"]).to_dicts()
    ]


def write_decisions(
    corpus: Corpus, name: str, rows: list[dict[str, Any]], account: dict[str, Any] | None = None
) -> None:
    """Decisions of a selection, one row group a shard, and its account beside them."""
    folder = corpus.path / "decisions"
    folder.mkdir(exist_ok=True)
    table = pl.DataFrame(rows, schema=SCHEMA).to_arrow()
    start = 0
    with pq.ParquetWriter(folder / f"{name}.parquet", table.schema) as writer:
        for shard in corpus.shards():
            size = pq.read_metadata(shard).num_rows
            writer.write_table(table.slice(start, size), row_group_size=max(1, size))
            start += size
    if account is not None:
        (folder / f"{name}.json").write_text(json.dumps(account))


def keep(identity: str, copies: int = 1) -> dict[str, Any]:
    """A decision to keep a sample."""
    return {"id": identity, "kept": True, "rule": None, "reason": None, "related": None, "copies": copies}


def drop(identity: str, rule: str, reason: str, related: str | None = None) -> dict[str, Any]:
    """A decision to drop a sample."""
    return {"id": identity, "kept": False, "rule": rule, "reason": reason, "related": related, "copies": 0}


def dress(corpus: Corpus, name: str = "rl", *, hostile: str = "") -> list[dict[str, Any]]:
    """Write a selection with everything that a policy can do: every stage drops something and tells of it.

    Also hits of a benchmark and two rollout runs. Returns the decisions.
    """
    samples = rows_of(corpus)
    pictured = [row["id"] for row in samples if row["privacy"] != "identified"]
    decisions = {row["id"]: keep(row["id"], copies=2 if number % 5 == 0 else 1) for number, row in enumerate(samples)}
    for row in samples:
        if row["privacy"] == "identified":
            decisions[row["id"]] = drop(row["id"], "not_deidentified", "its DICOM files are not marked")
    best, second = pictured[0], pictured[5]
    for member in pictured[1:4]:
        decisions[member] = drop(member, "duplicate_image", f"2 of 64 bits from {best[:8]}, which is kept", best)
    decisions[pictured[6]] = drop(pictured[6], "duplicate_text", "0.93 alike its double, which is kept", second)
    decisions[pictured[7]] = drop(pictured[7], "short_caption", f"it has 4 words {hostile}")
    decisions[pictured[8]] = drop(pictured[8], "contaminated_image", "vqa-rad shows its picture", "vqa-rad:12")
    decisions[pictured[9]] = drop(pictured[9], "subset", "its subset fails")
    for member in pictured[10:13]:
        decisions[member] = drop(member, "difficulty", "answered rightly in 0 of 8 rollouts")
    rows = [decisions[row["id"]] for row in samples]
    write_decisions(corpus, name, rows, _account(name, samples, rows, pictured, hostile))
    _write_hits(corpus, pictured[8], pictured[14], hostile)
    _write_rollouts(corpus, samples)
    return rows


def _account(name: str, samples: list[Any], rows: list[Any], ids: list[str], hostile: str) -> dict[str, Any]:
    dropped = Counter(row["rule"] for row in rows if not row["kept"])
    kept = sum(row["kept"] for row in rows)
    policy = {
        "name": name,
        "description": f"Hard questions, balanced. {hostile}",
        "seed": 7,
        "rules": [
            {
                "name": "short_caption",
                "when": "text_words < 5",
                "reason": "it has {text_words} words",
                "basis": f"Lingshu drops captions under 10 tokens. {hostile}",
            }
        ],
        "judge": {"min_score": 3.0, "min": {"medical_correctness": 3}},
        "subsets": {"min_pass_share": 0.7},
        "contamination": {
            "benchmarks": [{"name": name, "path": f"/home/somebody/benchmarks/{name}"} for name in ("vqa-rad", "slake")]
        },
        "difficulty": {"bands": [{"correct": [3, 5]}, {"correct": [6, 7], "keep": 0.25}]},
        "duplicates": {},
        "mixture": {"unit": "tokens", "parts": [{"name": "questions", "weight": 0.6}, {"name": "rest", "weight": 0.4}]},
    }
    gates = [
        ("films-0", 40, 36, 0.7664, 0.9604, "keep", True, "36 of 40 judged samples pass; the policy asks for 70.0 %"),
        (f"scraped {hostile}", 50, 12, 0.1429, 0.3741, "drop", True, "12 of 50 pass: 29 of 50 would keep it"),
        ("questions", 9, 6, 0.354, 0.8794, "keep", False, "6 of 9 pass; at least 30 are needed to decide"),
    ]
    fields = ("source", "judged", "passed", "low", "high", "decision", "decided", "sentence")
    members = [{"id": member, "distance": 2, "how": "mirrored"} for member in ids[1:4]]
    parts = [
        {
            "name": f"questions {hostile}",
            "weight": 0.6,
            "share_asked": 0.6,
            "share_realised": 0.5991,
            "samples": 20,
            "taken": 18,
            "tokens_available": 9_000,
            "tokens_taken": 7_900,
        },
        {"name": "rest", "weight": 0.4, "share_asked": 0.4, "share_realised": 0.4009, "samples": 30, "taken": 22},
    ]
    return {
        "name": name,
        "at": "2026-11-02T10:11:12+00:00",
        "version": "0.1.0",
        "policy": policy,
        "policy_sha256": "ab" * 32,
        "counts": {"samples": len(samples), "kept": kept, "dropped": dict(dropped)},
        "stages": {
            "subsets": {"subsets": [dict(zip(fields, gate, strict=True)) for gate in gates]},
            "contamination": {"benchmarks": 1, "pictures_compared": 451},
            "duplicates": {"clusters": [{"kept": ids[0], "members": members}]},
            "mixture": {"unit": "tokens", "parts": parts},
        },
    }


def _write_hits(corpus: Corpus, first: str, second: str, hostile: str) -> None:
    rows = [
        (first, "vqa-rad", "test.parquet:12", "image", 1.0, None, f"Is there a fracture {hostile}?"),
        (second, "path-vqa", "test.parquet:3", "question", None, 0.82, "Which policy compared this with another?"),
        (second, "slake", "test.json:80", "question", None, 0.91, "Which organ is abnormal in this image?"),
    ]
    schema = ["id", "benchmark", "benchmark_row", "kind", "distance", "share", "benchmark_question"]
    (corpus.path / "contamination").mkdir(exist_ok=True)
    pl.DataFrame(rows, schema=schema, orient="row").write_parquet(corpus.path / "contamination" / "hits.parquet")


def _write_rollouts(corpus: Corpus, samples: list[dict[str, Any]]) -> None:
    chance = random.Random(1)
    for run in ("policy-model", "text-only"):
        folder = corpus.path / "rollouts" / run
        folder.mkdir(parents=True, exist_ok=True)
        start = 0
        for shard in corpus.shards():
            size = pq.read_metadata(shard).num_rows
            part = [
                (row["id"], "scored", 8, chance.randint(0, 8))
                if row["kind"] == "query"
                else (row["id"], None, None, None)
                for row in samples[start : start + size]
            ]
            columns = {
                "id": pl.String,
                "rollout_status": pl.String,
                "rollout_k": pl.Int32,
                "rollout_correct": pl.Int32,
            }
            pl.DataFrame(part, schema=columns, orient="row").write_parquet(folder / shard.name)
            start += size
