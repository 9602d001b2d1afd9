"""Selection: facts about samples in, one decision a sample out, each with the rule and the reason."""

from curate.select.decisions import Decisions, decisions_path, selection_names
from curate.select.policy import Policy, load_policy, preset_names
from curate.select.run import declared_sources, select_by_policy, select_samples

__all__ = [
    "Decisions",
    "Policy",
    "decisions_path",
    "declared_sources",
    "load_policy",
    "preset_names",
    "select_by_policy",
    "select_samples",
    "selection_names",
]
