"""Run by datatrove's environment: its four MinHash steps over captions, as pairs of documents of one cluster."""

import gzip
import json
import os
import shutil
import sys
import time
from pathlib import Path

from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import (
    MinhashConfig,
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
)
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter


def main() -> None:
    given, out = Path(sys.argv[1]), Path(sys.argv[2])
    work = out.with_suffix(".datatrove")
    shutil.rmtree(work, ignore_errors=True)
    parts = work / "given"
    parts.mkdir(parents=True)
    tasks = len(os.sched_getaffinity(0))
    lines = given.read_text().splitlines(keepends=True)
    for part in range(tasks):
        (parts / f"{part}.jsonl").write_text("".join(lines[part::tasks]))
    before, start = os.times(), time.perf_counter()
    _run(work, parts, tasks)
    wall, after = time.perf_counter() - start, os.times()
    first: dict[int, int] = {}
    pairs = []
    for file in sorted([*(work / "kept").glob("*.gz"), *(work / "removed").glob("*.gz")]):
        with gzip.open(file, "rt") as documents:
            for document in map(json.loads, documents):
                cluster, number = document["metadata"]["minhash_cluster_id"], int(document["id"])
                if cluster >= 0 and first.setdefault(cluster, number) != number:
                    pairs.append((first[cluster], number))
    out.write_text(json.dumps(pairs))
    print(json.dumps({"wall": wall, "cpu": sum(after[:4]) - sum(before[:4])}))


def _run(work: Path, parts: Path, tasks: int) -> None:
    config = MinhashConfig(n_grams=3, num_buckets=14, hashes_per_bucket=8)
    places = {name: str(work / name) for name in ("signatures", "buckets", "clusters", "kept", "removed")}
    reader = JsonlReader(str(parts))
    steps = (
        (tasks, [reader, MinhashDedupSignature(places["signatures"], config=config)]),
        (config.num_buckets, [MinhashDedupBuckets(places["signatures"], places["buckets"], config=config)]),
        (1, [MinhashDedupCluster(places["buckets"], places["clusters"], config=config, save_cluster_id=True)]),
        (
            tasks,
            [
                reader,
                MinhashDedupFilter(
                    places["clusters"], exclusion_writer=JsonlWriter(places["removed"]), load_cluster_ids=True
                ),
                JsonlWriter(places["kept"]),
            ],
        ),
    )
    for number, (count, pipeline) in enumerate(steps):
        LocalPipelineExecutor(
            pipeline=pipeline, tasks=count, workers=tasks, logging_dir=str(work / f"logs-{number}"), start_method="fork"
        ).run()


if __name__ == "__main__":
    main()
