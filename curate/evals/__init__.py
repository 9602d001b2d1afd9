"""Evaluation: what models answer to held-out queries, and how sure one can be that one is better than another.

``answer`` runs in a trainer's environment and writes one line a row; everything else needs no trainer.
"""

from curate.evals.protocol import BenchData, Model, name_models, open_data
from curate.evals.report import Comparison, ModelResult, Share, compare, score_answers
from curate.evals.statistics import mcnemar_exact
from curate.select.statistics import wilson_interval

__all__ = [
    "BenchData",
    "Comparison",
    "Model",
    "ModelResult",
    "Share",
    "compare",
    "mcnemar_exact",
    "name_models",
    "open_data",
    "score_answers",
    "wilson_interval",
]
