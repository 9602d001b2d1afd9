"""What the tests of conversions share."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.inside import curate
from support.measured import make_corpus

from curate.corpus import Corpus, Sample
from curate.sources.derive.context import Context
from curate.sources.derive.instructions import load_instructions
from curate.sources.rejects import RejectError

SHIPPED = load_instructions()


def context(name: str, *, seed: int = 0, max_words: int = 8, rephrase: bool = False) -> Context:
    """The settings of a conversion with the shipped instructions."""
    return Context(name, seed, SHIPPED, frozenset(SHIPPED.all_formats()), max_words, rephrase)


def refused(function: Callable[[Sample, Context], Sample], sample: Sample, name: str) -> tuple[str, str]:
    """Reason and sentence with which a sample is refused."""
    try:
        made = function(sample, context(name))
    except RejectError as error:
        return error.reason, str(error)
    raise AssertionError(f"it was converted: {made}")


def outcome(function: Callable[[Sample, Context], Sample], sample: Sample, seed: int = 0) -> Sample | str:
    """The derived sample, or the reason why there is none."""
    try:
        return function(sample, context(function.__name__, seed=seed))
    except RejectError as error:
        return error.reason


def read(corpus: Path) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Samples and rejects of a corpus."""
    opened = Corpus.open(corpus)
    samples = [sample for shard in opened.shards() for sample in opened.samples(shard)]
    rejects = [json.loads(line) for part in sorted((corpus / "rejects").glob("*.jsonl")) for line in part.open()]
    return samples, rejects


def derive(
    folder: Path, samples: Sequence[Sample], to: str, *options: str, per_shard: int = 8192, status: int = 0
) -> tuple[dict[str, Any], list[Sample], list[dict[str, Any]]]:
    """Counts, samples and rejects of ``curate convert`` on a corpus of these samples; the counts must add up."""
    make_corpus(folder / "curated", samples, per_shard=per_shard)
    ran = curate("convert", folder / "curated", "--to", to, "-o", folder / "derived", "--json", *options)
    assert ran.status == status, ran.err
    counts = ran.json()
    made, rejects = read(folder / "derived")
    add_up(counts)
    assert len(made) == counts["derived"]
    assert len(rejects) == sum(counts["rejects"].values()) + counts["duplicates"]
    assert len({sample.id for sample in made}) == len(made)
    return counts, made, rejects


def add_up(counts: dict[str, Any]) -> None:
    """Fail unless every sample of the parent corpus is in one of the counts."""
    converted = counts["derived"] + counts["duplicates"] + sum(counts["rejects"].values())
    assert counts["samples"] == converted + sum(counts["other_kinds"].values()) + counts["not_selected"]
