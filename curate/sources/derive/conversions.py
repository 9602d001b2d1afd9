"""The table of conversions: name -> what it takes and what it makes of a sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from curate.corpus import Kind, Sample
from curate.sources.derive.captions import caption_to_conversation
from curate.sources.derive.choices import choice_to_open, shuffle_choices, words_to_choice
from curate.sources.derive.context import Context
from curate.sources.derive.lineage import child
from curate.sources.derive.queries import conversation_to_query, query_to_conversation


@dataclass(frozen=True)
class Conversion:
    """A way to make one sample of another."""

    makes: str
    """What it does, in a few words."""
    functions: dict[Kind, Callable[[Sample, Context], Sample]]
    """For each kind of sample that it takes: what it makes of one. RejectError says why it cannot."""

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of samples that it takes."""
        return tuple(self.functions)


def _as_it_is(sample: Sample, context: Context) -> Sample:
    """A query that stays, with its parent named; which ones stay was chosen before (curate.sources.derive.balance)."""
    return child(
        sample,
        context.name,
        context.seed,
        kind="query",
        turns=sample.turns,
        answer=sample.answer,
        query_type=sample.query_type,
        choices=sample.choices,
    )


CONVERSIONS: Final[dict[str, Conversion]] = {
    "conversation": Conversion(
        "captions and queries as conversations, with varied instructions",
        {"image_caption": caption_to_conversation, "query": query_to_conversation},
    ),
    "query": Conversion(
        "conversations of one exchange as queries with a verifiable answer", {"conversation": conversation_to_query}
    ),
    "shuffled-choices": Conversion(
        "multiple-choice queries with their options in another order, the answer following", {"query": shuffle_choices}
    ),
    "open": Conversion("multiple-choice queries as open questions", {"query": choice_to_open}),
    "choice-from-words": Conversion(
        "queries whose words list options as multiple-choice queries", {"query": words_to_choice}
    ),
    "yes-no": Conversion("queries with their yes/no questions balanced by leaving some out", {"query": _as_it_is}),
}
