"""Time and memory of the whole way (ingest, score without a judge, select all, export) as the input grows.

    python benchmarks/growth/run.py [--work DIR] [SIZE ...]      by default 10,000, 100,000 and 1,000,000 samples

Every size is measured apart and kept in DIR, so that sizes can be run one at a time; each call reports all that are
there, as ``results/growth.md`` and ``results/growth.svg``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from growth.plot import plot  # noqa: E402
from growth.records import make_records  # noqa: E402
from growth.watch import Run, watched  # noqa: E402
from measure import RESULTS, table, write_results  # noqa: E402

SIZES = (10_000, 100_000, 1_000_000)
STEPS = ("ingest", "score", "export", "score again")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "curate-growth")
    options = parser.parse_args()
    for size in options.sizes:
        measure(options.work, size)
    found = {int(path.stem): json.loads(path.read_text()) for path in options.work.glob("*.json")}
    report({size: {step: Run(*run) for step, run in found[size].items()} for size in sorted(found)})


def measure(work: Path, size: int) -> None:
    """Run all steps on ``size`` samples and note what they took in ``work/SIZE.json``."""
    raw, corpus, target = work / f"raw-{size}", work / f"corpus-{size}", work / f"export-{size}"
    if not raw.exists():
        unfinished = work / f"unfinished-{size}"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_records(unfinished, size)
        unfinished.rename(raw)
    for folder in (corpus, target):
        shutil.rmtree(folder, ignore_errors=True)
    curate = [str(Path(sys.executable).with_name("curate"))]
    commands = {
        "ingest": ["ingest", str(raw), "-o", str(corpus)],
        "score": ["score", str(corpus)],
        "export": ["export", str(corpus), "--format", "verl", "-o", str(target)],
        "score again": ["score", str(raw), "-o", str(corpus)],
    }
    runs = {}
    for step, command in commands.items():
        runs[step] = watched(curate + command)
        print(f"{size:,} {step}: {runs[step]}", file=sys.stderr, flush=True)
    rows = sum(file["rows"] for file in json.loads((target / "export.json").read_text())["files"])
    if rows != size:
        raise RuntimeError(f"{rows:,} of {size:,} samples were exported")
    (work / f"{size}.json").write_text(json.dumps(runs))


def report(found: dict[int, dict[str, Run]]) -> None:
    """The table, the plot, and how far the time is from linear."""
    rows = []
    before: tuple[int, Run] | None = None
    for size, runs in found.items():
        whole = Run(*(sum(values) for values in zip(*(runs[step] for step in STEPS[:3]), strict=True)))
        cells = [f"{runs[step].wall:,.1f} s ({runs[step].cpu:,.1f})" for step in STEPS]
        further = ""
        if before is not None:
            samples, earlier = size - before[0], before[1]
            micros = [(value - less) / samples * 1e6 for value, less in zip(whole[:2], earlier[:2], strict=True)]
            further = f"{micros[0]:,.0f} µs ({micros[1]:,.0f})"
        peak = max(runs[step].peak for step in STEPS[:3])
        rows.append([f"{size:,}", *cells, further, f"{peak / 2**20:,.0f} MiB"])
        before = size, whole
    head = ["samples", *(f"{step}, wall (cpu)" for step in STEPS), "a further sample, wall (cpu)", "peak memory"]
    plot(found, STEPS[:3], RESULTS / "growth.svg")
    write_results(
        "growth",
        "python benchmarks/growth/run.py",
        "# Growth\n\n`curate ingest`, `curate score` (signals, no judge), `curate export --format verl` of all "
        "samples, and "
        "`curate score` again with nothing to do. Ten questions about each picture of 64 x 64; no two samples "
        "are alike. Peak "
        "memory is what all processes hold together, the highest of the three steps. A further sample is what "
        "the three "
        "steps took more than for the row above, by sample: the cost of starting (processes, the language "
        "model) is out "
        "of it.\n\n"
        f"{table(head, rows)}\n![time and memory by samples](growth.svg)\n",
    )


if __name__ == "__main__":
    main()
