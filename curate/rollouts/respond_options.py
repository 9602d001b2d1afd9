"""How responses for SFT are made from rollouts."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from curate.corpus import UserError
from curate.judge.endpoint import Endpoint, Role
from curate.judge.images import ImageBound
from curate.judge.price import Price
from curate.rollouts.options import DEMO_ROLLOUT_MODEL, check_asking

_HOW_REBUILD: Final = """\
curate respond needs a model that rebuilds masked answers; a small one is best, which cannot solve the question itself:
  --rebuild-model NAME  with --rebuild-url URL unless it is OpenAI's or $OPENAI_BASE_URL, or
  --rebuild-url demo    to try the whole flow; the demo knows the answers and is no model"""
_HOW_STRONGER: Final = """\
The stronger model that explains answers which the first one mostly missed:
  --stronger-model NAME  with --stronger-url URL unless it is OpenAI's or $OPENAI_BASE_URL, or
  --stronger-url demo    to try the whole flow; the demo knows the answers and is no model"""

REBUILD: Final = Role(
    "--rebuild-url",
    "CURATE_REBUILD_MODEL",
    DEMO_ROLLOUT_MODEL,
    _HOW_REBUILD,
    ("CURATE_REBUILD_API_KEY", "OPENAI_API_KEY"),
)
STRONGER: Final = Role(
    "--stronger-url",
    "CURATE_STRONGER_MODEL",
    DEMO_ROLLOUT_MODEL,
    _HOW_STRONGER,
    ("CURATE_STRONGER_API_KEY", "OPENAI_API_KEY"),
)


@dataclass(frozen=True)
class Helper:
    """A model that helps to make responses."""

    endpoint: Endpoint
    price: Price | None = None
    """None when unknown."""
    temperature: float = 0.0
    max_tokens: int = 512
    """Most tokens of an answer, thinking included."""
    budget: float | None = None
    """US dollars that this run may spend, on all helpers together."""
    concurrency: int = 64
    """Most requests in flight; fewer when the endpoint bears fewer."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 300.0
    """Seconds for one request, from connecting to the last byte."""
    patience: float = 60.0
    """Seconds without any answer, while requests fail, after which the endpoint counts as down."""

    @property
    def settings(self) -> list[Any]:
        """What an answer depends on besides the question."""
        return [self.endpoint.model, self.temperature, self.max_tokens]


@dataclass(frozen=True)
class RespondOptions:
    """How to make responses."""

    rebuild: Helper
    """Rebuilds masked answers."""
    stronger: Helper | None = None
    """Explains answers that the first model mostly missed; None to leave those questions out."""
    run: str | None = None
    """Rollout run to go by; None for the only one with pictures."""
    rebuild_from: float = 0.75
    """Share of right answers from which a question's own explanations are used: 6 of 8."""
    rewrite_from: float = 0.375
    """Share of right answers from which the stronger model explains: 3 of 8. Below, a question is dropped."""
    source: str = "stability_aware"
    """Subset that the responses are of, as a mixture names it."""
    with_images: bool = False
    """Whether the rebuilding model sees the pictures."""
    bound: ImageBound = field(default_factory=ImageBound)

    def check(self) -> None:
        """Raise UserError for options that cannot be."""
        if not 0 < self.rewrite_from <= self.rebuild_from <= 1:
            raise UserError(
                f"--rebuild-from is {self.rebuild_from:g} and --rewrite-from {self.rewrite_from:g}; they are shares of "
                f"right answers: 0 < rewrite-from <= rebuild-from <= 1"
            )
        if not self.source.strip():
            raise UserError("--source is empty; name the subset that the responses are of")
        for helper in filter(None, (self.rebuild, self.stronger)):
            check_asking(helper)

    def thresholds(self, k: int) -> tuple[int, int]:
        """Fewest right answers of k to use the explanations, and to have the question explained."""
        return _at_least(self.rebuild_from, k), _at_least(self.rewrite_from, k)

    def helper_settings(self, helper: Helper) -> list[Any]:
        """What an answer of a helper depends on besides the question."""
        return [*helper.settings, self.bound.side, self.bound.bytes]


def _at_least(share: float, k: int) -> int:
    return max(1, ceil(share * k - 1e-9))
