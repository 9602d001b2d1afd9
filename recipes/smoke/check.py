#!/usr/bin/env python3
"""Check what a smoke run claims: GRPO learned from pictures, and each stage trained what it says and nothing else.

    python recipes/smoke/check.py WORK

Reads the results that `recipes/run_all.sh --smoke` left in WORK, says each claim with what was found, and ends with
status 1 when one does not hold.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

CHANCE: Final = 0.25
"""Of the four letters each is right in a quarter of the held-out rows; a model that does not look gets this."""
GAIN: Final = 0.3
STEPS: Final = 100


def main() -> None:
    """Check the run in the directory that the command line names."""
    if len(sys.argv) != 2:
        sys.exit("usage: python recipes/smoke/check.py WORK")
    work = Path(sys.argv[1])
    bench = json.loads((work / "results" / "bench" / "bench.json").read_bytes())
    runs = {path.parent.name: json.loads(path.read_bytes()) for path in sorted(work.glob("runs/smoke/*/run.json"))}
    metrics = (work / "runs" / "smoke" / "3-grpo" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()

    accuracy = {model["model"]: model["total"]["accuracy"] for model in bench["models"]}
    before, after = accuracy["2-sft"], accuracy["3-grpo"]
    steps = max(json.loads(line)["step"] for line in metrics)
    claims = [
        (
            f"SFT on random labels taught no answers, chance being {CHANCE:.2f}: {before:.3f}",
            before <= CHANCE + GAIN / 2,
        ),
        (f"GRPO lifts it to at least {CHANCE + GAIN:.2f}: {after:.3f}", after >= CHANCE + GAIN),
        (f"within {STEPS} steps: {steps}", steps <= STEPS),
    ]
    for name, run in runs.items():
        claims += [(f"{name}: {claim}", holds) for claim, holds in _trained(run)]
    for claim, holds in claims:
        print(f"{'ok ' if holds else 'NOT'}  {claim}")
    sys.exit(0 if all(holds for _, holds in claims) else 1)


def _trained(run: dict[str, Any]) -> list[tuple[str, bool]]:
    """For each part of the model, whether it changed as the stage says."""
    wanted = set(run["stage"].get("train", ("vision_encoder", "projector", "language_model")))
    found = []
    for part in run["weights"]["parts"]:
        trained = part["part"] in wanted
        holds = part["changed"] > 0 if trained else part["changed"] == 0
        changed = f"{part['changed']} of {part['tensors']} tensors changed"
        found.append((f"{part['part']} {'trained' if trained else 'frozen'}: {changed}", holds))
    return found


if __name__ == "__main__":
    main()
