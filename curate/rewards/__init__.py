"""Rewards: a response and a reference in, a score out.

``compute_score`` is what verl calls (``pkg://curate.rewards``), ``curate reward`` calls the same offline. Only the
standard library and nothing else of curate is imported here, because this runs inside the trainer's workers.
"""

# Importing these registers the built-in query types.
import curate.rewards.choice
import curate.rewards.numeric
import curate.rewards.text  # noqa: F401
from curate.rewards.registry import Context, RewardError, known_types, register
from curate.rewards.score import compute_score, reference_problem

__all__ = ["Context", "RewardError", "compute_score", "known_types", "reference_problem", "register"]
