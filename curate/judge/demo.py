"""The demo judge: a real OpenAI-compatible HTTP server on this machine that scores by the rules of ``demo_rules``.

It is there to try the whole flow without a model. It is no medical judge, and says so in every verdict.
``python -m curate.judge.demo --port 8123`` runs it on its own.
"""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from curate.judge.demo_rules import judge
from curate.judge.demo_server import serve
from curate.judge.endpoint import DEMO_MODEL


@contextmanager
def demo_judge(port: int = 0) -> Iterator[str]:
    """Run the demo judge on this machine for the time of the ``with`` block; gives its base address."""
    with serve(DEMO_MODEL, _reply, port) as url:
        yield url


def _reply(request: dict[str, Any]) -> str:
    return json.dumps(judge(request), ensure_ascii=False)


def main() -> None:
    """Run the demo judge until it is interrupted."""
    parser = argparse.ArgumentParser(description="The demo judge of curate: fixed rules, no medical judgement.")
    parser.add_argument("--port", type=int, default=8123)
    with demo_judge(parser.parse_args().port) as url:
        print(f"{DEMO_MODEL} at {url} (no medical judge); Ctrl-C ends it", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
