"""How long ``curate --help`` and ``import curate`` take, beside an interpreter that does nothing.

    python benchmarks/startup.py

Run it with the interpreter of curate's environment. The three take turns; the table shows medians, and goes to
``benchmarks/results/startup.md`` too. Processor seconds are the operating system's count and hold on a busy machine as
well; seconds do not.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).parent / "results"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    'python -c "import curate"': [sys.executable, "-c", "import curate"],
    "curate --help": [str(Path(sys.executable).with_name("curate")), "--help"],
}
MOST_SECONDS = {'python -c "import curate"': 0.15, "curate --help": 0.3}


def once(command: list[str]) -> tuple[float, float]:
    """Seconds and processor seconds of one run."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure, print and keep the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        once(command)  # The files are in memory from here on.
    for _ in range(runs):
        for name, command in COMMANDS.items():
            figures[name].append(once(command))
    lines = [
        "# Start-up",
        "",
        f"    python benchmarks/startup.py --runs {runs}",
        "",
        f"Medians; load average at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors.",
        "",
        "| | seconds | fastest | of `python -c pass` | processor seconds | at most |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    bare = [seconds for seconds, _ in figures["python -c pass"]]
    for name, pairs in figures.items():
        seconds = [taken for taken, _ in pairs]
        ratio = median(own / other for own, other in zip(seconds, bare, strict=True))
        cpu = median(taken for _, taken in pairs)
        most = MOST_SECONDS.get(name)
        lines.append(
            f"| `{name}` | {median(seconds):.3f} | {min(seconds):.3f} | {ratio:.1f} | {cpu:.3f} | {most or ''} |"
        )
    table = "\n".join(lines) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "startup.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
