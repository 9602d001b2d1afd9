"""One run of the judge in a process of its own, to be killed: ``python -m judge.judge_once CORPUS URL CONCURRENCY``."""

import json
import sys
from pathlib import Path

from judge.asking import options

from curate.corpus import Corpus
from curate.judge import judge_corpus, stop_on_signals

if __name__ == "__main__":
    corpus = Corpus.open(Path(sys.argv[1]))
    with corpus.lock(), stop_on_signals() as stop:
        print("started", flush=True)
        summary = judge_corpus(corpus, options(sys.argv[2], concurrency=int(sys.argv[3])), stop=stop)
    print(json.dumps({"scored": summary.scored, "reused": summary.reused, "stopped": summary.stopped}), flush=True)
    sys.exit(summary.status)
