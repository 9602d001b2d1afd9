"""What `curate train` asks of the adapter of a trainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from curate.adapters.stage import Stage


@dataclass(frozen=True)
class Command:
    """A process to start in the trainer's environment."""

    arguments: tuple[str, ...]
    """What follows the environment's Python, such as ``("-m", "curate.adapters.verl.launch", "config.yaml")``."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Environment variables beside those of the user."""


class Adapter(Protocol):
    """Prepares, proves and launches one trainer.

    ``run`` is the absolute path of the run directory. Nothing here imports the trainer: the commands do, in its
    environment. They are started in the working directory of `curate train`.
    """

    trainer: str
    """Name of the trainer and of its distribution on PyPI."""
    versions: str
    """The versions of it that the adapter was proven with, as a PEP 440 specifier."""

    def check(self, stage: Stage) -> None:
        """Raise UserError for settings that the trainer would ignore, misread or stop at; nothing is started."""

    def configure(self, stage: Stage, run: Path) -> None:
        """Write the trainer's configuration into ``run/config/``, from the stage and its exports alone."""

    def needed(self, stage: Stage) -> Mapping[str, str]:
        """Modules that training imports beside the trainer's own, with what to do where one is not installed."""

    def prove(self, stage: Stage, run: Path) -> Command:
        """Load the data as training will and write ``run/proof.json``:

        ``problems``: list of {file, row (1-based or null), message}; empty when training may begin.
        ``rows``: {export: rows that the trainer's loader gives}.
        ``parameters``: what :func:`curate.adapters.disk.bytes_needed` estimates the disk space from.
        ``examples``: list of {title, text}: what a few rows teach, decoded.
        ``facts``: {name: value} to show, such as the longest row and steps to train.
        A proof that cannot even start ends with another status than 0 and its reason on stderr.
        """

    def train(self, stage: Stage, run: Path) -> Command:
        """Train, going on from the last checkpoint in ``run/checkpoints``."""

    def finish(self, stage: Stage, run: Path) -> Command | None:
        """Make ``run/model`` from the last checkpoint, or None when the training itself has written it."""

    def metrics(self, run: Path) -> Sequence[Mapping[str, Any]]:
        """What training has logged so far: one mapping a logged step, with ``step`` and for example ``loss``."""

    def total_steps(self, run: Path) -> int | None:
        """Optimiser steps of the whole training, as soon as it is known."""
