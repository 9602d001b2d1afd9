"""What ``curate reward`` and ``curate bench`` share: options of the reward, by the names of ``compute_score``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def reward_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say how a response is read and compared."""
    for option in (
        click.option(
            "--relative-tolerance",
            type=float,
            default=1e-6,
            show_default=True,
            help="For numbers, as a share of the reference.",
        ),
        click.option(
            "--think-opened", is_flag=True, help="The prompt ends with <think>, so responses begin inside it."
        ),
        click.option("--require-think", is_flag=True, help="The format demands a <think> block as well."),
    ):
        command = option(command)
    return command
