"""Time and memory of ``curate select`` as the corpus grows.

    python benchmarks/selection/run.py [--work DIR] [SIZE ...]      by default 100,000 and 1,000,000 samples

The corpus is that of the growth benchmark, ingested and measured by curate; beyond 100,000 samples it has them several
times under other ids. Verdicts are made up, written as the judge does. The policy beside this file has every stage that
looks at single samples, and a mixture.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from growth.records import make_records  # noqa: E402
from growth.watch import watched  # noqa: E402
from measure import table, write_results  # noqa: E402

from curate.corpus import Corpus, shard_fingerprint, write_shard  # noqa: E402
from curate.judge.shards import SCHEMA  # noqa: E402

SIZES = (100_000, 1_000_000)
MOST_SECONDS, MOST_BYTES = 60, 2 * 2**30
"""What selecting from a million samples may take."""
MEASURED = 100_000
"""Samples that are really ingested and measured; a larger corpus has them several times."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "curate-selection")
    options = parser.parse_args()
    curate = str(Path(sys.executable).with_name("curate"))
    rows = []
    for size in options.sizes:
        corpus = made_corpus(options.work, size, curate)
        run = watched([curate, "select", str(corpus), "--policy", str(HERE / "policy.yaml")])
        rows.append([f"{size:,}", f"{run.wall:.1f} s", f"{run.cpu:.1f} s", f"{run.peak / 2**20:,.0f} MiB"])
    text = (
        "# Selection\n\n`curate select`: rules, judge gates, subsets, and a mixture by tokens. The aim at 1,000,000 "
        f"samples: under {MOST_SECONDS} s and {MOST_BYTES / 2**30:.0f} GiB.\n\n"
    )
    text += table(["samples", "wall", "cpu", "peak memory"], rows)
    write_results("selection", "python benchmarks/selection/run.py", text)


def made_corpus(work: Path, size: int, curate: str) -> Path:
    """A measured and judged corpus of ``size`` samples; kept in ``work``."""
    raw, corpus, done = work / f"raw-{size}", work / f"corpus-{size}", work / f"done-{size}"
    if done.exists():
        return corpus
    shutil.rmtree(corpus, ignore_errors=True)
    if size > MEASURED:
        copy_corpus(Corpus.open(made_corpus(work, MEASURED, curate)), corpus, size // MEASURED)
    else:
        if not raw.exists():
            make_records(raw, size)
        watched([curate, "score", str(raw), "-o", str(corpus)])
        write_verdicts(Corpus.open(corpus))
    done.touch()
    return corpus


def copy_corpus(original: Corpus, target: Path, times: int) -> None:
    """The samples and facts of a corpus several times over, under ids of their own."""
    copy = Corpus.create(target)
    copy.info = original.info.model_copy(update={"steps": []})
    copy.save()
    shards = original.shards()
    for number in range(times):
        for position, shard in enumerate(shards):
            name = f"part-{number * len(shards) + position:05d}.parquet"
            for folder in ("samples", "signals", "verdicts"):
                table = pq.read_table(original.path / folder / shard.name)
                ids = [
                    hashlib.sha256(f"{number} {identity}".encode()).hexdigest() for identity in table["id"].to_pylist()
                ]
                table = table.set_column(table.schema.get_field_index("id"), "id", pa.array(ids, pa.string()))
                write_shard(target / folder / name, table, f"copy {number} of {shard.name}")


def write_verdicts(corpus: Corpus) -> None:
    """Scores for every sample, seeded, one in twenty without."""
    draw = np.random.default_rng(0)
    for shard in corpus.shards():
        ids = pq.read_table(shard, columns=["id"])["id"].to_pylist()
        scores = draw.integers(1, 6, (len(ids), 5))
        scored = draw.random(len(ids)) > 0.05
        rows = [
            dict.fromkeys(SCHEMA.names)
            | {
                "id": identity,
                "judge_status": "scored" if has else "failed",
                "judge_defects": [],
                "judge_model": "made up",
            }
            | (judged(row) if has else {})
            for identity, row, has in zip(ids, scores, scored, strict=True)
        ]
        target = corpus.facts_shard("verdicts", shard)
        write_shard(target, pa.Table.from_pylist(rows, schema=SCHEMA), f"made up for {shard_fingerprint(shard)}")


def judged(scores: np.ndarray) -> dict[str, object]:
    names = [name for name in SCHEMA.names if pa.types.is_int8(SCHEMA.field(name).type)]
    mean = float(scores.mean())
    verdict = "accept" if mean >= 3.5 else "review" if mean >= 2 else "reject"
    return {
        "judge_score": mean,
        "judge_verdict": verdict,
        "judge_rationale": "Made up.",
        **{name: int(score) for name, score in zip(names, scores, strict=True)},
    }


if __name__ == "__main__":
    main()
