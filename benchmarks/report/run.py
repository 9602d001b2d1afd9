"""Time, memory and size of ``curate report`` as the corpus grows.

    python benchmarks/report/run.py [--work DIR] [SIZE ...]      by default 10,000, 100,000 and 1,000,000 samples

The input is that of the growth benchmark: ten questions about each picture of 64 x 64. Verdicts are drawn at random, so
that about a third of the samples is dropped; ``curate export`` makes the selection. Only the report is timed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
from growth.records import make_records  # noqa: E402
from growth.watch import watched  # noqa: E402
from measure import table, write_results  # noqa: E402

from curate.corpus import Corpus, shard_fingerprint, write_shard  # noqa: E402
from curate.select.facts import VERDICT_COLUMNS  # noqa: E402

SIZES = (10_000, 100_000, 1_000_000)
ROUNDS = 3
DIMENSIONS = ("medical_correctness", "fluency", "relevance", "completeness", "practicality")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "curate-report")
    options = parser.parse_args()
    rows = []
    for size in options.sizes:
        corpus, page = prepared(options.work, size), options.work / f"report-{size}.html"
        command = [*curate(), "report", str(corpus), "-o", str(page)]
        runs = sorted((watched(command) for _ in range(ROUNDS)), key=lambda run: run.wall)
        middle, peak = runs[ROUNDS // 2], max(run.peak for run in runs)
        size_mb = page.stat().st_size / 2**20
        cells = (f"{middle.wall:,.1f} s", f"{middle.cpu:,.1f} s", f"{peak / 2**20:,.0f} MiB", f"{size_mb:.1f} MB")
        rows.append((f"{size:,}", *cells))
        print(rows[-1], file=sys.stderr, flush=True)
    head = ("samples", "wall", "processor", "peak memory", "page")
    write_results(
        "report",
        f"python benchmarks/report/run.py {' '.join(map(str, options.sizes))}",
        "# Report\n\n`curate report` on a measured, judged and selected corpus: medians of "
        f"{ROUNDS} runs, the highest memory of them.\n\n{table(head, rows)}",
    )


def curate() -> list[str]:
    """The command of this environment."""
    return [str(Path(sys.executable).with_name("curate"))]


def prepared(work: Path, size: int) -> Path:
    """A corpus of ``size`` samples with signals, verdicts and a selection; made once."""
    corpus, raw = work / f"corpus-{size}", work / f"raw-{size}"
    if (corpus / "decisions").exists():
        return corpus
    for folder in (corpus, raw):
        shutil.rmtree(folder, ignore_errors=True)
    make_records(raw, size)
    commands = (
        ["score", str(raw), "-o", str(corpus)],
        ["export", str(corpus), "--format", "jsonl", "-o", str(work / f"export-{size}")],
    )
    subprocess.run([*curate(), *commands[0]], check=True, capture_output=True)
    judge(Corpus.open(corpus))
    subprocess.run([*curate(), *commands[1]], check=True, capture_output=True)
    return corpus


def judge(corpus: Corpus) -> None:
    """Random verdicts on all samples."""
    chance = np.random.default_rng(0)
    for shard in corpus.shards():
        ids = pl.read_parquet(shard, columns=["id"])["id"]
        scores = chance.integers(1, 6, (len(ids), len(DIMENSIONS)))
        frame = pl.DataFrame({"id": ids, "judge_status": ["scored"] * len(ids), "judge_score": scores.mean(axis=1)})
        frame = frame.with_columns(pl.Series(f"judge_{name}", scores[:, at]) for at, name in enumerate(DIMENSIONS))
        verdict = pl.when(pl.col("judge_score") < 2).then(pl.lit("reject")).otherwise(pl.lit("accept"))
        frame = frame.with_columns(judge_verdict=verdict, judge_rationale=pl.lit("Drawn at random."))
        missing = [
            pl.lit(None, kind).alias(name) for name, kind in VERDICT_COLUMNS.items() if name not in frame.columns
        ]
        frame = frame.with_columns(missing).select("id", *(pl.col(n).cast(kind) for n, kind in VERDICT_COLUMNS.items()))
        write_shard(corpus.facts_shard("verdicts", shard), frame.to_arrow(), f"random on {shard_fingerprint(shard)}")


if __name__ == "__main__":
    main()
