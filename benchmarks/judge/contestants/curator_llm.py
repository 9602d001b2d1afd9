"""bespokelabs-curator: an LLM block with a parser of its own."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests_file
from bespokelabs import curator


class Judge(curator.LLM):
    """Scores a sample."""

    def prompt(self, row: dict[str, Any]) -> list[dict[str, str]]:
        """The same messages as the other contestants'."""
        return [{"role": "system", "content": row["system"]}, {"role": "user", "content": row["text"]}]

    def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
        """Keep what is a score."""
        return {"id": row["id"], "scored": requests_file.is_score(response, row["text"])}


def main() -> None:
    """Judge; prints how many samples have a score, and the seconds of the call."""
    url, folder, concurrency = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    rows = requests_file.read(folder)
    started = time.perf_counter()
    judge = Judge(
        model_name="benchmark-model",
        backend="openai",
        generation_params={"temperature": 0.0, "max_tokens": 4096},
        backend_params={
            "base_url": url,
            "api_key": "unused",
            "max_concurrent_requests": concurrency,
            "max_requests_per_minute": 1_000_000,
            "max_tokens_per_minute": 1_000_000_000,
            "require_all_responses": False,
        },
    )
    with tempfile.TemporaryDirectory() as cache:
        made = judge(rows, working_dir=cache)
    scored = sum(row["scored"] for row in made.dataset)
    print(json.dumps({"scored": scored, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
