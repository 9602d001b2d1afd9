"""What a run of requests costs, and how it ended."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

StopKind = Literal["interrupted", "budget", "outage", "hopeless"]


@dataclass
class Bill:
    """Requests, tokens and dollars. While a run is under way it is what a progress display shows."""

    requests: int = 0
    """Requests sent, each attempt counted."""
    answers: int = 0
    """Answers received and paid for."""
    rejected: int = 0
    """Requests that the endpoint rejected for load (429, 503, 529)."""
    errors: Counter[str] = field(default_factory=Counter)
    """Failed requests by kind, rejections included."""
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_estimated: int = 0
    """Answers whose tokens are estimated because the endpoint did not tell them."""
    cost: float | None = None
    """US dollars for the answers received; None when the price is not known."""
    in_flight: int = 0
    limit: int = 0
    """Requests in flight that the endpoint is thought to bear."""
    adapted: list[str] = field(default_factory=list)
    """What the endpoint could not do, in words."""
    stop_kind: StopKind | None = None
    stopped: str | None = None
    """Why the run ended early, in a sentence; None when it went through."""
    started: float = field(default_factory=time.monotonic)
    elapsed: float = 0.0
    """Seconds."""

    def billed(self) -> dict[str, Any]:
        """The bill as JSON values."""
        return {
            "requests": self.requests,
            "answers": self.answers,
            "errors": dict(self.errors),
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "tokens_estimated": self.tokens_estimated,
            "cost_usd": self.cost,
            "adapted": self.adapted,
            "stopped": self.stopped,
        }
