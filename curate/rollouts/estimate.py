"""What a run would ask and cost, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from curate.corpus import Corpus
from curate.judge.journal import Journal
from curate.rollouts.choice import Admit, Choice, corpus_sizes
from curate.rollouts.options import TYPICAL_ANSWER, RolloutOptions
from curate.rollouts.plan import Planner, journal_folder, queries
from curate.rollouts.runs import check_same_run


@dataclass
class RolloutEstimate:
    """What a run would take."""

    samples: int = 0
    queries: int = 0
    requests: int = 0
    """Answers to ask for; requests that have to be repeated come on top."""
    reused: int = 0
    """Answers that are there already."""
    refused: int = 0
    """Queries that would not be sent."""
    not_asked: int = 0
    """Queries outside the choice, or without a picture (text only)."""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None
    """US dollars; None when the price is not known."""


def estimate_rollouts(corpus: Corpus, options: RolloutOptions, *, admit: Admit | None = None) -> RolloutEstimate:
    """What :func:`rollout_corpus` would ask, and what that would cost; nothing is sent. Raises UserError like it."""
    options.check()
    check_same_run(corpus, options)
    estimate = RolloutEstimate()
    estimate.samples, estimate.queries = corpus_sizes(corpus)
    choice = Choice(corpus, options, admit)
    folder = journal_folder(corpus)
    journal = Journal(folder) if folder.exists() else None
    planner = Planner(options)
    try:
        for shard in corpus.shards():
            picked = choice.of(shard)
            for place, sample in queries(shard):
                row = planner.settled(sample, picked)
                if row is not None:
                    estimate.refused += row.status == "refused"
                    estimate.not_asked += row.status == "not_asked"
                    continue
                task = planner.task(place, sample, journal)
                missing = len(task.missing) if task else 0
                estimate.requests += missing
                estimate.reused += options.k - missing
                estimate.tokens_in += task.tokens_in * missing if task else 0
    finally:
        if journal is not None:
            journal.close()
    estimate.tokens_out = estimate.requests * min(TYPICAL_ANSWER, options.max_tokens)
    price = options.price
    estimate.cost = price.cost(estimate.tokens_in, estimate.tokens_out) if price else None
    return estimate
