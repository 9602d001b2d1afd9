"""Rollouts: queries in, k responses each and how many of them are right.

``rollout_corpus`` does the work, ``estimate_rollouts`` says beforehand what it would take, ``read_rollouts`` gives what
a run found.
"""

from curate.rollouts.choice import Admit
from curate.rollouts.estimate import RolloutEstimate, estimate_rollouts
from curate.rollouts.options import ROLLOUT, RolloutOptions
from curate.rollouts.passk import mean_pass_at, pass_at
from curate.rollouts.report import RolloutSummary
from curate.rollouts.run import rollout_corpus
from curate.rollouts.tables import RunInfo, find_run, read_rollouts, read_run, run_names

__all__ = [
    "ROLLOUT",
    "Admit",
    "RolloutEstimate",
    "RolloutOptions",
    "RolloutSummary",
    "RunInfo",
    "estimate_rollouts",
    "find_run",
    "mean_pass_at",
    "pass_at",
    "read_rollouts",
    "read_run",
    "rollout_corpus",
    "run_names",
]
