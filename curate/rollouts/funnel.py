"""The account of making responses, stage by stage."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from curate.judge.bill import Bill

KEPT = ("rebuilt", "rewritten")
"""Outcomes of questions that get a response; every other one is the reason why a question gets none."""


@dataclass
class Funnel(Bill):
    """What became of the questions; :class:`curate.judge.bill.Bill` for requests and cost."""

    unscored: int = 0
    """Queries of which the run has not all answers; the rest of this is about the others."""
    questions: int = 0
    k: int = 0
    right: int = 0
    """Answers that are right, of k times the questions."""
    routes: Counter[str] = field(default_factory=Counter)
    """Questions by route: rebuild, rewrite, drop."""
    explanations: int = 0
    """Right answers of the questions on the route rebuild."""
    unexplained: int = 0
    """Those that say nothing beside their answer."""
    named: int = 0
    """Those that name their answer even where it is masked."""
    rebuilt: int = 0
    """Those whose masked explanation led to the reference."""
    not_rebuilt: int = 0
    """Those whose masked explanation did not."""
    open: int = 0
    """Those that nobody has answered for: failed, refused, not reached, or of a sample that identifies someone."""
    chosen_by: Counter[str] = field(default_factory=Counter)
    """Rebuilt questions by what the explanation was chosen by: entropy, surprisal, length."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Questions by what became of them; they sum up to ``questions``."""
    reused: int = 0
    """Answers of the helpers that were in the journal before."""
    read: int = 0
    """Queries looked at so far, for the progress display."""
    queries: int = 0

    @property
    def kept(self) -> int:
        """Questions that get a response."""
        return sum(self.outcomes[outcome] for outcome in KEPT)

    @property
    def status(self) -> int:
        """The exit status: 0 done, 1 some failed or were not sent, 2 it cannot work so, 3 stopped early."""
        if self.stop_kind is not None:
            return 2 if self.stop_kind == "hopeless" else 3
        return 1 if any(self.outcomes[problem] for problem in ("failed", "refused", "identified")) else 0

    def to_json(self) -> dict[str, Any]:
        """All counts as JSON values."""
        return {
            "unscored": self.unscored,
            "questions": self.questions,
            "k": self.k,
            "candidates": self.questions * self.k,
            "right": self.right,
            "routes": {route: self.routes[route] for route in ("rebuild", "rewrite", "drop")},
            "rebuild": {
                "explanations": self.explanations,
                "unexplained": self.unexplained,
                "still_named": self.named,
                "rebuilt": self.rebuilt,
                "not_rebuilt": self.not_rebuilt,
                "open": self.open,
                "chosen_by": dict(self.chosen_by),
            },
            "outcomes": dict(self.outcomes),
            "kept": self.kept,
            "reused": self.reused,
            **self.billed(),
        }
