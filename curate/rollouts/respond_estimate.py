"""What making responses would ask and cost, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass

from curate.corpus import Corpus
from curate.judge.journal import Journal
from curate.rollouts.helping import TYPICAL, Purpose, helper_key
from curate.rollouts.masking import explanation_of, masked, still_named
from curate.rollouts.plan import journal_folder, known_answer
from curate.rollouts.question import Question, render
from curate.rollouts.respond_options import Helper, RespondOptions
from curate.rollouts.rolled import Rolled, rolled_queries
from curate.rollouts.session import tokens_of
from curate.rollouts.tables import RunInfo, find_run, read_run
from curate.rollouts.teaching import rebuild_question, rewrite_question


@dataclass
class RespondEstimate:
    """What a run would take."""

    questions: int = 0
    rebuild_requests: int = 0
    """Masked explanations to ask about."""
    rewrite_requests: int = 0
    """Questions for the stronger model."""
    reused: int = 0
    """Answers that are there already."""
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None
    """US dollars; None when a price is not known."""


def estimate_responses(corpus: Corpus, options: RespondOptions) -> RespondEstimate:
    """What :func:`curate.rollouts.respond.respond` would ask; nothing is sent. Raises UserError like it."""
    options.check()
    run = find_run(corpus, options.run, text_only=False)
    info = read_run(corpus, run)
    folder = journal_folder(corpus)
    journal = Journal(folder) if folder.exists() else None
    helpers = [helper for helper in (options.rebuild, options.stronger) if helper is not None]
    estimate = RespondEstimate(cost=0.0 if all(helper.price for helper in helpers) else None)
    seen: set[str] = set()
    try:
        for rolled in rolled_queries(corpus, run, info):
            if rolled is None:
                continue
            estimate.questions += 1
            for purpose, helper, question in _asked(rolled, options, info):
                key = helper_key(purpose, question, options, helper)
                if key in seen or (journal is not None and known_answer(journal, key) is not None):
                    estimate.reused += 1
                    continue
                seen.add(key)
                _add(estimate, purpose, helper, question, options)
    finally:
        if journal is not None:
            journal.close()
    return estimate


def _asked(rolled: Rolled, options: RespondOptions, info: RunInfo) -> list[tuple[Purpose, Helper, Question]]:
    often, sometimes = options.thresholds(info.k)
    sample = rolled.sample
    if rolled.correct < sometimes or sample.privacy == "identified":
        return []
    asked = render(sample, info.system_prompt)
    if rolled.correct < often:
        stronger = options.stronger
        return [] if stronger is None else [("rewrite", stronger, rewrite_question(asked, sample))]
    found: list[tuple[Purpose, Helper, Question]] = []
    for response in rolled.right:
        explanation = explanation_of(response)
        if explanation is not None:
            text = masked(explanation, response, sample)
            if not still_named(text, response, sample):
                question = rebuild_question(asked, text, with_images=options.with_images)
                found.append(("rebuild", options.rebuild, question))
    return found


def _add(
    estimate: RespondEstimate, purpose: Purpose, helper: Helper, question: Question, options: RespondOptions
) -> None:
    estimate.rebuild_requests += purpose == "rebuild"
    estimate.rewrite_requests += purpose == "rewrite"
    tokens_in = tokens_of(question, options.bound, helper.price.image_factor if helper.price else 1.0)
    tokens_out = min(TYPICAL[purpose], helper.max_tokens)
    estimate.tokens_in += tokens_in
    estimate.tokens_out += tokens_out
    if estimate.cost is not None and helper.price is not None:
        estimate.cost += helper.price.cost(tokens_in, tokens_out)
