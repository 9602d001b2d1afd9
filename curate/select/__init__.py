"""Selection: facts about samples in, one decision a sample out, each with the rule and the reason."""

from curate.select.decisions import Decisions
from curate.select.rules import Rule, default_rules
from curate.select.run import select_samples

__all__ = ["Decisions", "Rule", "default_rules", "select_samples"]
