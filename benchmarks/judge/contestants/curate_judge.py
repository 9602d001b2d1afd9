"""curate: ``judge_corpus`` over a corpus without verdicts and with an empty journal."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import openai  # noqa: F401 - its import is start-up, for curate as for the bare loop

from curate.corpus import Corpus
from curate.judge import FREE, Endpoint, JudgeOptions, judge_corpus, load_rubrics


def main() -> None:
    """Judge; prints how many samples have a score, and the seconds of the call."""
    url, folder, concurrency = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    corpus = Corpus.open(folder / "curated")
    for facts in ("verdicts", "journal"):
        shutil.rmtree(corpus.path / facts, ignore_errors=True)
    options = JudgeOptions(
        Endpoint(url, "benchmark-model", "unused"), load_rubrics(), price=FREE, concurrency=concurrency
    )
    started, processor = time.perf_counter(), time.process_time()
    with corpus.lock():
        summary = judge_corpus(corpus, options)
    print(
        json.dumps(
            {"scored": summary.scored, "seconds": time.perf_counter() - started, "cpu": time.process_time() - processor}
        )
    )


if __name__ == "__main__":
    main()
