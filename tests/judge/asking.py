"""What tests of the judge share: options for an endpoint, and reading verdicts."""

from __future__ import annotations

from typing import Any

import polars as pl
from judge.endpoint import Endpoint as Server

from curate.corpus import Corpus
from curate.judge import Endpoint, JudgeOptions, Price, judge_corpus, load_rubrics

KEY = "sk-test-0123456789abcdef"


def options(url: str, **changes: Any) -> JudgeOptions:
    """Options for a test endpoint, with short waits."""
    settings: dict[str, Any] = {
        "endpoint": Endpoint(url, changes.pop("model", "test-model"), KEY),
        "rubrics": load_rubrics(),
        "price": Price(input=1.0, output=10.0),
        "timeout": 5.0,
        "patience": 2.0,
        "max_tokens": 200,
    }
    return JudgeOptions(**(settings | changes))


def verdicts(corpus: Corpus) -> pl.DataFrame:
    """All verdict rows, in the order of the samples; checks that there is one for each."""
    frames = []
    for shard in corpus.shards():
        frame = pl.read_parquet(corpus.facts_shard("verdicts", shard))
        assert frame["id"].to_list() == pl.read_parquet(shard, columns=["id"])["id"].to_list()
        frames.append(frame)
    return pl.concat(frames)


def statuses(corpus: Corpus) -> list[str]:
    """judge_status of all samples."""
    return verdicts(corpus)["judge_status"].to_list()


def ask_again(corpus: Corpus, endpoint: Server, **changes: object) -> list[str]:
    """Judge again; the texts of the samples that were asked about."""
    before = len(endpoint.requests)
    summary = judge_corpus(corpus, options(endpoint.url, **changes))
    assert summary.status in (0, 1)
    asked = [str(request.user) for request in endpoint.requests[before:]]
    assert len(asked) == summary.requests
    return asked
