"""What the tests of rollouts share: endpoints that play models, options for them, and reading what a run left."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from judge.endpoint import Behaviour, Connection, Request, completion
from support.cli import Ran
from support.corpora import picture
from support.inside import curate
from support.measured import query, stored

from curate.corpus import Corpus, Sample
from curate.judge import Endpoint, Price
from curate.rollouts import RolloutOptions, RolloutSummary, rollout_corpus

KEY = "sk-test-0123456789abcdef"
ENVIRONMENT = {"OPENAI_API_KEY": KEY}
LETTERS = (("A", "Liver"), ("B", "Lung"), ("C", "Heart"), ("D", "Spleen"))


def said(request: Request) -> str:
    """The text of a request's last message, pictures as ``<image>``."""
    content = request.body["messages"][-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part["text"] if part["type"] == "text" else "<image>" for part in content)


def shows(request: Request) -> int:
    """How many pictures a request shows."""
    return json.dumps(request.body["messages"]).count('"image_url": {')


def thinking(answer: str, thought: str = "The margins are sharp.") -> str:
    """A response in the form that the reward asks for."""
    return f"<think>{thought}</think>\n<answer>{answer}</answer>"


def playing(play: Callable[[Request, int], str | None], **changes: Any) -> Behaviour:
    """A model that answers by ``play``, which is also given how often this question was asked before."""
    asked: Counter[str] = Counter()

    async def behave(request: Request, connection: Connection) -> None:
        question = json.dumps(request.body["messages"])
        asked[question] += 1
        await connection.answer(200, completion(play(request, asked[question] - 1), **changes))

    return behave


def scripted(script: dict[str, Sequence[str]], otherwise: str = "I do not know.") -> Behaviour:
    """A model that gives the answers listed for the first words of a question, one after the other, in tags."""

    def play(request: Request, number: int) -> str:
        text = said(request).replace("<image>", "").strip()
        for begin, answers in script.items():
            if text.startswith(begin):
                return thinking(answers[number % len(answers)])
        return otherwise

    return playing(play)


def options(url: str, **changes: Any) -> RolloutOptions:
    """Options for a test endpoint, with short waits."""
    settings: dict[str, Any] = {
        "endpoint": Endpoint(url, changes.pop("model", "test-model"), KEY, "--url"),
        "price": Price(input=1.0, output=10.0),
        "timeout": 5.0,
        "patience": 2.0,
        "max_tokens": 200,
    }
    return RolloutOptions(**(settings | changes))


def roll(corpus: Corpus, url: str, **changes: Any) -> RolloutSummary:
    """Roll out; the account must add up."""
    summary = rollout_corpus(corpus, options(url, **changes))
    settled = summary.scored + summary.failed.total() + summary.refused.total() + summary.not_asked.total()
    assert settled == summary.queries
    assert sum(summary.correct.values()) == summary.scored
    return summary


def facts(corpus: Corpus, run: str = "rollout") -> pl.DataFrame:
    """All facts of a run, in the order of the samples; checks that there is a row for each."""
    frames = []
    for shard in corpus.shards():
        frame = pl.read_parquet(corpus.path / "rollouts" / run / shard.name)
        assert frame["id"].to_list() == pl.read_parquet(shard, columns=["id"])["id"].to_list()
        frames.append(frame)
    return pl.concat(frames)


def responses(corpus: Corpus, run: str = "rollout") -> pl.DataFrame:
    """All responses of a run."""
    return pl.concat(map(pl.read_parquet, sorted((corpus.path / "rollouts" / run).glob("responses-*.parquet"))))


def journal_lines(corpus: Corpus) -> dict[str, list[dict[str, Any]]]:
    """The whole lines of the rollouts' journal by key."""
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for segment in sorted((corpus.path / "journal" / "rollouts").glob("segment-*.jsonl")):
        whole, _, _ = segment.read_bytes().rpartition(b"\n")
        for line in whole.split(b"\n"):
            if line:
                entry = json.loads(line)
                lines[entry["key"]].append(entry)
    return lines


def organ(corpus: Path, number: int, *, picture_of: int | None = None, **fields: Any) -> Sample:
    """A question with options and a picture of its own; the answer is B."""
    image = stored(corpus, picture(number if picture_of is None else picture_of))
    given = {"query_type": "choice", "choices": LETTERS, "source": "organs", **fields}
    return query(f"Organ {number}: which one is shown?", "B", images=[image], row=number + 1, **given)


def effusion(corpus: Path, number: int, **fields: Any) -> Sample:
    """A yes-no question with a picture of its own; the answer is yes."""
    image = stored(corpus, picture(1000 + number))
    given = {"query_type": "yes_no", "source": "effusions", **fields}
    return query(f"Effusion {number}: is there any?", "yes", images=[image], row=number + 1, **given)


SCRIPT: dict[str, Sequence[str]] = {
    "Organ 0": ["B", "C", "B", "A"],
    "Organ 1": ["A", "C", "D", "an organ"],
    "Organ 2": ["B", "Lung", "(B)", "b."],
    "Effusion 0": ["yes", "no", "no", "no"],
    "Findings": ["sharp angle", "sharp", "blunt", "sharp costophrenic angle"],
}
"""Answers to the queries of the fixture ``corpus``."""


def rollout(corpus: Corpus, url: str, *arguments: str) -> Ran:
    """The command, as a user runs it."""
    given = ("--model", "m", "--url", url, "--json", "--patience", "2", "--timeout", "5")
    return curate("rollout", corpus.path, *given, *arguments, env=ENVIRONMENT)
