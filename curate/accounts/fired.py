"""Which thresholds a sample trips: every rule, also those after the first, which alone decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl
from pydantic import ValidationError

from curate.accounts.decided import account_of, selection_paths
from curate.corpus import Corpus, Sample, UserError
from curate.select.facts import VERDICT_COLUMNS, fact_columns
from curate.select.policy import Policy
from curate.select.policy_rules import policy_rules
from curate.select.rules import Rule

Row = dict[str, Any]

BUILT_IN = "built-in rules"
"""What rules count as theirs when no selection with a policy is there."""


def fired_rules(
    corpus: Corpus, sample: Sample, signals: Row | None, verdict: Row | None, problems: list[str]
) -> list[Row]:
    """Every rule of every selection's policy that the sample violates as it is measured now.

    Each with ``rule``, ``reason``, the ``columns`` it looks at with their values, and ``selections``, those whose
    policy has it. Without measurements there are none. Policies that cannot be read any more are named in ``problems``.
    """
    if signals is None:
        return []
    columns = fact_columns(corpus)
    own = {
        "id": sample.id,
        "kind": sample.kind,
        "source": sample.source,
        "license": sample.license,
        "query_type": sample.query_type,
        "privacy": sample.privacy,
    }
    values = {**dict.fromkeys(VERDICT_COLUMNS), **(verdict or {}), **signals, **own}
    found: dict[tuple[str, str], Row] = {}
    for name, policy, where in _policies(corpus, problems):
        try:
            fired = _violated(policy_rules(policy, columns, where).all, columns, values, sample)
        except UserError as error:
            problems.append(f"the policy of the selection {name} cannot be applied any more: {error}")
            continue
        for rule, reason, read in fired:
            entry = {"rule": rule, "reason": reason, "columns": read, "selections": []}
            found.setdefault((rule, reason), entry)["selections"].append(name)
    return list(found.values())


def _policies(corpus: Corpus, problems: list[str]) -> list[tuple[str, Policy, str | None]]:
    """The policies of the selections with the condition beside each; where there are none, the built-in rules."""
    found: list[tuple[str, Policy, str | None]] = []
    for path in selection_paths(corpus):
        account = account_of(path)
        policy, where = account.get("policy"), account.get("where")
        if policy is None:
            continue
        try:
            # From JSON: in strict mode only that takes a policy as it was dumped.
            checked = Policy.model_validate_json(orjson.dumps(policy))
            found.append((path.stem, checked, where if isinstance(where, str) else None))
        except (ValidationError, TypeError):
            problems.append(f"the policy of the selection {path.stem} is not one that this curate reads")
    return found or [(BUILT_IN, Policy(name="built_in"), None)]


def _violated(
    rules: Sequence[Rule], columns: dict[str, pl.DataType], values: Row, sample: Sample
) -> list[tuple[str, str, Row]]:
    fired = []
    for rule in rules:
        names = list(dict.fromkeys([*rule.violated.meta.root_names(), *rule.reason.meta.root_names()]))
        facts = {name: values[name] if name in values else _meta(sample, name) for name in names}
        kinds = {name: columns.get(name, pl.String()) for name in names}
        try:
            row = pl.DataFrame({name: [value] for name, value in facts.items()}, schema=kinds)
            hit, reason = row.select(rule.violated.alias("hit"), rule.reason.alias("reason")).row(0)
        except (pl.exceptions.PolarsError, TypeError, OverflowError):
            continue  # a condition that this sample's values do not fit; the selection itself stops at it
        if hit:
            fired.append((rule.name, str(reason), {name: facts[name] for name in rule.violated.meta.root_names()}))
    return fired


def _meta(sample: Sample, name: str) -> str | None:
    """``meta.FIELD[.SUB]`` of a sample, as text."""
    value: Any = sample.meta
    for step in name.split(".")[1:]:
        value = value.get(step) if isinstance(value, dict) else None
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()
