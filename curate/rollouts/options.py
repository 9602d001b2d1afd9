"""What to ask of whom, and how often."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from curate.corpus import UserError
from curate.judge.endpoint import Endpoint, Role
from curate.judge.images import ImageBound
from curate.judge.price import Price, no_price
from curate.rewards.prompt import DEFAULT_SYSTEM_PROMPT, defused

DEMO_ROLLOUT_MODEL: Final = "curate-demo-model"
MOST_ANSWERS: Final = 1024
TYPICAL_ANSWER: Final = 400
"""Tokens of an answer with its thinking, for estimates."""
_RUN_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")

_HOW: Final = """\
curate rollout needs an OpenAI-compatible endpoint and the name of a model. Three ways to get one:
  your own machine  vllm serve NAME            and add  --url http://localhost:8000/v1 --model NAME
  a hosted model    export OPENAI_API_KEY=...  and add  --model NAME  (and --url URL unless it is OpenAI's)
  no model at all   add  --url demo            to try the whole flow; the demo knows the answers and is no model"""

ROLLOUT: Final = Role("--url", "CURATE_ROLLOUT_MODEL", DEMO_ROLLOUT_MODEL, _HOW)
"""The endpoint that answers the queries."""


@dataclass(frozen=True)
class RolloutOptions:
    """How to answer the queries of a corpus."""

    endpoint: Endpoint
    run: str = "rollout"
    """Name of the run: facts lie in ``rollouts/<run>/``."""
    k: int = 8
    """Answers a query."""
    text_only: bool = False
    """Ask without the pictures; queries that have none are left out."""
    shuffle_options: bool = False
    """Show the options in another order for each answer."""
    system_prompt: str = DEFAULT_SYSTEM_PROMPT
    """For queries without a system message of their own; empty for none."""
    temperature: float = 1.0
    max_tokens: int = 2048
    """Most tokens of an answer, thinking included."""
    sample: int | None = None
    """Answer so many queries of each source, chosen by content; None answers all."""
    price: Price | None = None
    """None when unknown: then there is no cost in the summary, and no budget."""
    budget: float | None = None
    """US dollars that this run may spend."""
    concurrency: int = 64
    """Most requests in flight; fewer when the endpoint bears fewer."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    declared_deidentified: frozenset[str] = frozenset()
    """Sources whose DICOM files the user declares to hold no identifying data."""
    bound: ImageBound = field(default_factory=ImageBound)
    timeout: float = 300.0
    """Seconds for one request, from connecting to the last byte."""
    patience: float = 60.0
    """Seconds without any answer, while requests fail, after which the endpoint counts as down."""

    def check(self) -> None:
        """Raise UserError for options that cannot be."""
        check_run_name(self.run)
        if not 1 <= self.k <= MOST_ANSWERS:
            raise UserError(f"--k is {self.k}; it must be from 1 to {MOST_ANSWERS}")
        if not 0 <= self.temperature <= 2:
            raise UserError(f"--temperature is {self.temperature:g}; it must be from 0 to 2")
        if self.temperature == 0 and self.k > 1 and not self.shuffle_options:
            raise UserError(f"at --temperature 0 all {self.k} answers are the same: use 1, or --k 1")
        if self.shuffle_options and not self.text_only:
            raise UserError("--shuffle-options belongs to --text-only: training shows the options as they are")
        if defused(self.system_prompt) != self.system_prompt:
            raise UserError("--system-prompt must not contain <image>, <video>, <audio> or control tokens")
        if self.sample is not None and self.sample < 1:
            raise UserError("--sample must be at least 1")
        check_asking(self)

    @property
    def settings(self) -> list[Any]:
        """What an answer depends on besides the query and its number."""
        bound = [] if self.text_only else [self.bound.side, self.bound.bytes]
        return [self.endpoint.model, self.temperature, self.max_tokens, bound]


def check_run_name(name: str) -> None:
    """Raise UserError unless ``name`` can be the name of a folder anywhere."""
    if not _RUN_NAME.fullmatch(name):
        raise UserError(f"--name {name[:80]!r}: use letters, digits, - _ and . only, with a letter or digit first")


def check_asking(options: Any) -> None:
    """Raise UserError for limits of requests that cannot be; ``options`` is a RolloutOptions or RespondOptions."""
    if options.max_tokens < 1:
        raise UserError("--max-tokens must be at least 1")
    if options.concurrency < 1:
        raise UserError("--concurrency must be at least 1")
    rates = (options.requests_per_minute, options.tokens_per_minute)
    if any(rate is not None and not rate > 0 for rate in rates):
        raise UserError("requests and tokens per minute must be greater than 0")
    if not (options.timeout > 0 and options.patience > 0):
        raise UserError("--timeout and --patience must be greater than 0 seconds")
    if options.budget is not None:
        if not options.budget > 0:
            raise UserError("--budget must be greater than 0 US dollars")
        if options.price is None:
            raise no_price(options.endpoint.model)
