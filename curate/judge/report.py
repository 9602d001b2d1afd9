"""What to judge and how, and the account of it afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curate.corpus import Kind, UserError
from curate.judge.bill import Bill
from curate.judge.endpoint import Endpoint
from curate.judge.images import ImageBound
from curate.judge.price import Price, no_price
from curate.judge.rubric import Rubric


@dataclass(frozen=True)
class JudgeOptions:
    """How to judge a corpus."""

    endpoint: Endpoint
    rubrics: Mapping[Kind, Rubric]
    """One for each kind; see :func:`curate.judge.load_rubrics`."""
    price: Price | None = None
    """None when unknown: then there is no cost in the summary, and no budget."""
    budget: float | None = None
    """US dollars that this run may spend."""
    concurrency: int = 64
    """Most requests in flight; fewer when the endpoint bears fewer."""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    sample: int | None = None
    """Judge so many samples of each source, chosen by content; None judges all."""
    declared_deidentified: frozenset[str] = frozenset()
    """Sources whose DICOM files the user declares to hold no identifying data."""
    temperature: float = 0.0
    max_tokens: int = 4096
    """Most tokens of a reply, thinking included."""
    bound: ImageBound = field(default_factory=ImageBound)
    timeout: float = 180.0
    """Seconds for one request, from connecting to the last byte."""
    patience: float = 60.0
    """Seconds without any answer, while requests fail, after which the endpoint counts as down."""

    def check(self) -> None:
        """Raise UserError for options that cannot be."""
        if self.concurrency < 1:
            raise UserError("--concurrency must be at least 1")
        if self.sample is not None and self.sample < 1:
            raise UserError("--sample must be at least 1")
        rates = (self.requests_per_minute, self.tokens_per_minute)
        if any(rate is not None and not rate > 0 for rate in rates):
            raise UserError("requests and tokens per minute must be greater than 0")
        if not (self.timeout > 0 and self.patience > 0):
            raise UserError("--timeout and --patience must be greater than 0 seconds")
        if self.budget is not None:
            if not self.budget > 0:
                raise UserError("--budget must be greater than 0 US dollars")
            if self.price is None:
                raise no_price(self.endpoint.model)

    @property
    def settings(self) -> list[Any]:
        """What an answer depends on besides prompt and sample."""
        return [self.endpoint.model, self.temperature, self.max_tokens, self.bound.side, self.bound.bytes]


@dataclass
class JudgeSummary(Bill):
    """The account of a run; :class:`curate.judge.bill.Bill` for requests and cost."""

    samples: int = 0
    """Samples of the corpus."""
    scored: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    """Samples without a usable answer, by reason; they are asked again by the next run."""
    refused: Counter[str] = field(default_factory=Counter)
    """Samples that were not sent, by reason."""
    not_asked: Counter[str] = field(default_factory=Counter)
    """Samples outside ``sample``, or not reached before the run stopped."""
    decided: Counter[str] = field(default_factory=Counter)
    """Scored samples by accept, review, reject."""
    score_total: float = 0.0
    reused: int = 0
    """Samples scored from answers that were there before."""
    invalid: int = 0
    """Answers that could not be used."""
    mode: str = ""
    """How replies were asked for at the end: json_schema, json_object or text."""

    @property
    def settled(self) -> int:
        """Samples that are done with."""
        return self.scored + self.failed.total() + self.refused.total() + self.not_asked.total()

    @property
    def asked_and_settled(self) -> int:
        """Samples that this run asked about and is done with."""
        return self.scored - self.reused + self.failed.total()

    @property
    def rate(self) -> float:
        """Samples a second that this run asked about and is done with."""
        return self.asked_and_settled / self.elapsed if self.elapsed else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds left, if all samples that remain have to be asked; None while nothing is known."""
        return (self.samples - self.settled) / self.rate if self.rate else None

    @property
    def mean_score(self) -> float | None:
        """Mean of the scores, 0 to 5."""
        return self.score_total / self.scored if self.scored else None

    @property
    def status(self) -> int:
        """The exit status: 0 all scored, 1 some failed or were refused, 2 it cannot work so, 3 stopped early."""
        if self.stop_kind is not None:
            return 2 if self.stop_kind == "hopeless" else 3
        return 1 if self.failed or self.refused else 0

    def count(
        self, status: str, reason: str | None, decided: str | None, score: float | None, samples: int = 1
    ) -> None:
        """Enter settled samples. Reasons count by the word before the colon."""
        if status == "scored":
            self.scored += samples
            self.decided[decided or ""] += samples
            self.score_total += score or 0.0
        else:
            counter = {"failed": self.failed, "refused": self.refused, "not_asked": self.not_asked}[status]
            counter[(reason or "unknown").partition(":")[0]] += samples

    def lineage(self, options: JudgeOptions) -> dict[str, Any]:
        """What ``Corpus.record("judge", ...)`` takes: parameters, counts and hashes; nothing secret, no times."""
        return {
            "parameters": {
                "endpoint": options.endpoint.host,
                "model": options.endpoint.model,
                "temperature": options.temperature,
                "max_tokens": options.max_tokens,
                "image_side": options.bound.side,
                "image_bytes": options.bound.bytes,
                "sample": options.sample,
                "budget": options.budget,
                "declared_deidentified": sorted(options.declared_deidentified),
                "mode": self.mode,
                "adapted": self.adapted,
            },
            "counts": {
                "samples": self.samples,
                "scored": self.scored,
                "decided": dict(self.decided),
                "failed": dict(self.failed),
                "refused": dict(self.refused),
                "not_asked": dict(self.not_asked),
                "reused": self.reused,
                "requests": self.requests,
                "answers": self.answers,
                "invalid": self.invalid,
                "errors": dict(self.errors),
                "tokens_in": self.tokens_in,
                "tokens_out": self.tokens_out,
                "tokens_estimated": self.tokens_estimated,
                "cost_usd": self.cost,
                "stopped": self.stopped,
            },
            "hashes": {f"rubric.{kind}": rubric.hash for kind, rubric in sorted(options.rubrics.items())},
        }
