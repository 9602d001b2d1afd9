"""What the user may say about a conversion."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from curate.corpus import UserError

LONGEST_REFERENCE = 8
"""Words an answer may have to be compared with a response, unless the user says otherwise."""


@dataclass(frozen=True)
class ConvertOptions:
    """Options of :func:`curate.sources.derive.convert`; those of one conversion are refused by the others."""

    to: str
    """A name of :data:`curate.sources.derive.CONVERSIONS`."""
    seed: int = 0
    selection: str | None = None
    """Convert only what ``decisions/<selection>.parquet`` of the corpus keeps; None converts everything."""
    instructions: Path | None = None
    """A YAML file laid over the instructions that come with curate; for ``conversation``."""
    max_words: int | None = None
    """Words a reference may have, for ``query`` and ``open``; None means :data:`LONGEST_REFERENCE`."""
    rephrase: bool = False
    """For ``open``: ask "What is the ...?" where the question was "Which of the following is the ...?"."""
    ratio: float | None = None
    """For ``yes-no``: how many times as many of one answer as of the other may stay; None means 1."""
    balance_by: Literal["source", "corpus"] | None = None
    """For ``yes-no``: whether the ratio holds in every source (None too) or over all of them."""
    yes_no_share: float | None = None
    """For ``yes-no``: the most that yes/no questions may be of all queries, above 0 and below 1; None for no bound."""

    def checked(self) -> ConvertOptions:
        """The same options; UserError for one that is out of range or belongs to another conversion."""
        belongs: dict[str, tuple[str, ...]] = {
            "instructions": ("conversation",),
            "max_words": ("query", "open"),
            "rephrase": ("open",),
            "ratio": ("yes-no",),
            "balance_by": ("yes-no",),
            "yes_no_share": ("yes-no",),
        }
        for name, conversions in belongs.items():
            if getattr(self, name) not in (None, False) and self.to not in conversions:
                option, takers = f"--{name.replace('_', '-')}", " and ".join(f"--to {name}" for name in conversions)
                raise UserError(f"{option} is for {takers}; --to {self.to} has no use for it")
        if self.max_words is not None and not 1 <= self.max_words <= 50:
            raise UserError(f"--max-words is {self.max_words}; a reference has 1 to 50 words")
        if self.ratio is not None and not (math.isfinite(self.ratio) and self.ratio >= 1):
            raise UserError(f"--ratio is {self.ratio:g}; it is 1 (as many yes as no) or more")
        if self.yes_no_share is not None and not 0 < self.yes_no_share < 1:
            raise UserError(f"--yes-no-share is {self.yes_no_share:g}; it is a share above 0 and below 1, such as 0.05")
        return self

    def parameters(self) -> dict[str, Any]:
        """What the derived corpus' lineage says of the options; None and False mean that they were not given."""
        given = asdict(self) | {"instructions": None if self.instructions is None else str(self.instructions.resolve())}
        return {name: value for name, value in given.items() if value is not None and value is not False}
