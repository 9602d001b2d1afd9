"""What every conversion of one run is given beside the sample."""

from __future__ import annotations

from dataclasses import dataclass

from curate.sources.derive.instructions import Instructions


@dataclass(frozen=True)
class Context:
    """The settings of one run, the same for all samples."""

    name: str
    """The conversion's name."""
    seed: int
    instructions: Instructions
    formats: frozenset[str]
    """Every sentence about the form of an answer that may stand at the end of a question."""
    max_words: int
    rephrase: bool
