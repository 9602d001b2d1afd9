"""A policy's mixture through `curate select`: copies in the decisions, or one sentence and nothing written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import orjson
import polars as pl
import pytest
from support.cli import curate
from support.measured import make_corpus, write_signals
from support.mixing import sized, tokens

from curate.corpus import Sample

POLICY = """
name: decay
seed: 3
mixture:
  parts:
    - {name: books, sources: [books], weight: 40}
    - {name: literature, sources: [literature], weight: 20}
    - {name: replay, sources: [general], weight: 15.84}
    - {name: web, where: "\\"meta.origin\\" = 'web'", weight: 3.76}
    - {name: exercises, weight: 20.40}
"""


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    web = sized("crawl", 40, pictured=False, origin="web")
    rows = [row for name in ("books", "literature", "general") for row in sized(name, 120, pictured=False)]
    rows += web + sized("questions", 100, pictured=False)
    write_signals(make_corpus(tmp_path / "curated", rows, per_shard=64))
    return rows


def select(tmp_path: Path, policy: str) -> tuple[int, str]:
    (tmp_path / "policy.yaml").write_text(policy)
    ran = curate("select", tmp_path / "curated", "--policy", tmp_path / "policy.yaml")
    return ran.status, ran.err


def test_the_decisions_say_how_often_each_sample_is_in(tmp_path: Path, samples: list[Sample]) -> None:
    status, err = select(tmp_path, POLICY)
    assert status == 0, err
    found = pl.read_parquet(tmp_path / "curated/decisions/decay.parquet")
    assert found["id"].to_list() == [sample.id for sample in samples]
    taken: Counter[str] = Counter()
    for sample, copies, kept, rule in zip(samples, found["copies"], found["kept"], found["rule"], strict=True):
        assert kept == (copies > 0) == (rule is None)
        assert rule in (None, "mixture")
        taken[sample.source] += copies * tokens(sample)
    asked = {"books": 40, "literature": 20, "general": 15.84, "crawl": 3.76, "questions": 20.40}
    for source, percent in asked.items():
        assert abs(taken[source] - taken.total() * percent / 100) <= max(map(tokens, samples))
    account = orjson.loads((tmp_path / "curated/decisions/decay.json").read_bytes())["stages"]["mixture"]
    assert account["realised"] == taken.total()
    assert [part["name"] for part in account["parts"]] == ["books", "literature", "replay", "web", "exercises"]


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        ("  budget: 100000000\n", "of part 'books', which has"),
        ("  balance: sorce\n", "mixture.balance: there is no column 'sorce' to select by; did you mean source"),
        ("  by: source\n", "mixture needs either parts or by, not both"),
        ("  model: llava\n", "mixture.model"),
    ],
)
@pytest.mark.usefixtures("samples")
def test_what_cannot_be_is_one_sentence_and_writes_nothing(tmp_path: Path, extra: str, told: str) -> None:
    status, err = select(tmp_path, POLICY + extra)
    assert status == 2
    assert told in " ".join(err.split())
    assert not (tmp_path / "curated/decisions/decay.parquet").exists()
    assert not (tmp_path / "curated/decisions/decay.json").exists()
