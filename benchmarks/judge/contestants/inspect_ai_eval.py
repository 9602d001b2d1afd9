"""inspect_ai: an eval of one task whose scorer parses the reply.

A fourth argument ``adaptive`` asks for its adaptive concurrency with the given concurrency as its maximum; without it
the number of connections is fixed. What it shows while it works is switched off where that can be asked for.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import requests_file
from inspect_ai import Task, eval  # noqa: A004 - its name for it
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState, generate


@scorer(metrics=[mean()])
def parsed() -> Scorer:
    """1 for a reply that is a score."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=int(requests_file.is_score(state.output.completion, str(state.input_text))))

    return score


def main() -> None:
    """Judge; prints how many samples have a score, and the seconds of the call."""
    url, folder, concurrency = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    rows = requests_file.read(folder)
    started = time.perf_counter()
    samples = [
        Sample(id=row["id"], input=[ChatMessageSystem(content=row["system"]), ChatMessageUser(content=row["text"])])
        for row in rows
    ]
    task = Task(dataset=MemoryDataset(samples), solver=generate(), scorer=parsed())
    model = get_model("openai/benchmark-model", base_url=url, api_key="unused", responses_api=False)
    adaptive = sys.argv[4:] == ["adaptive"]
    concurrent = {"adaptive_connections": concurrency} if adaptive else {"max_connections": concurrency}
    with tempfile.TemporaryDirectory() as logs:
        (log,) = eval(
            task,
            model=model,
            display="none",
            log_dir=logs,
            log_realtime=False,
            score_display=False,
            temperature=0.0,
            max_tokens=4096,
            **concurrent,
        )
        # The log is read from its file as it is looked at.
        scored = sum(sample.scores["parsed"].value == 1 for sample in log.samples or [] if sample.scores)
    print(json.dumps({"scored": scored, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
