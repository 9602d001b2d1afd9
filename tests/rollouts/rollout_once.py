"""One rollout in a process of its own, to be killed: ``python -m rollouts.rollout_once CORPUS URL CONCURRENCY``."""

import json
import sys
from pathlib import Path

from rollouts.playing import options

from curate.corpus import Corpus
from curate.judge import stop_on_signals
from curate.rollouts import rollout_corpus

if __name__ == "__main__":
    corpus = Corpus.open(Path(sys.argv[1]))
    with corpus.lock(), stop_on_signals() as stop:
        print("started", flush=True)
        summary = rollout_corpus(corpus, options(sys.argv[2], k=4, concurrency=int(sys.argv[3])), stop=stop)
    print(json.dumps({"scored": summary.scored, "reused": summary.reused, "stopped": summary.stopped}), flush=True)
    sys.exit(summary.status)
