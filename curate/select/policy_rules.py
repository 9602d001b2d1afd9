"""The rules of a policy: those that hold for every selection, the policy's own, and what a judge must have said."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import NamedTuple

import polars as pl

from curate.corpus import UserError
from curate.select.facts import check_columns
from curate.select.policy import Policy
from curate.select.policy_sections import DropRule, JudgeGate
from curate.select.rules import Rule, builtin_rules, condition


class PolicyRules(NamedTuple):
    """Rules in the order they are applied: the first that a sample violates is the one that drops it."""

    before: list[Rule]
    """About the sample itself: what it is, and what was measured."""
    judged: list[Rule]
    """About what a judge said. A gate on subsets looks at samples before these are applied."""

    @property
    def all(self) -> list[Rule]:
        """All of them."""
        return [*self.before, *self.judged]


def policy_rules(policy: Policy, columns: Mapping[str, pl.DataType], where: str | None = None) -> PolicyRules:
    """The rules that a policy stands for. ``where`` is a condition beside it, which kept samples satisfy.

    Raises UserError for a condition or reason over unknown columns, and for a rule to ignore that does not exist.
    """
    own = [_own_rule(rule, columns) for rule in policy.rules]
    before = [*_identity_rules(policy), *builtin_rules(policy.declare_deidentified), *own]
    judged = _judge_rules(policy.judge)
    _check_names([rule.name for rule in before + judged], policy.ignore_rules)
    before = [rule for rule in before if rule.name not in policy.ignore_rules]
    judged = [rule for rule in judged if rule.name not in policy.ignore_rules]
    if where is not None:
        holds = condition(where, columns, "--where")
        judged.append(Rule("where", ~holds.fill_null(value=False), pl.lit(f"it does not satisfy: {where}")))
    rules = PolicyRules(before, judged)
    check_columns([name for rule in rules.all for name in rule.violated.meta.root_names()], columns)
    return rules


def _identity_rules(policy: Policy) -> list[Rule]:
    rules = []
    if policy.kinds is not None:
        kinds = pl.Series(policy.kinds, dtype=pl.String).implode()
        rules.append(
            Rule("kind", ~pl.col("kind").is_in(kinds), pl.format("the policy keeps no samples of kind {}", "kind"))
        )
    if policy.licenses is not None:
        licenses = pl.Series(policy.licenses, dtype=pl.String).implode()
        named = pl.col("license").fill_null("none")
        rules.append(
            Rule(
                "license",
                ~pl.col("license").is_in(licenses).fill_null(value=False),
                pl.format("its licence ({}) is not among those that the policy keeps", named),
            )
        )
    return rules


def _own_rule(rule: DropRule, columns: Mapping[str, pl.DataType]) -> Rule:
    violated = condition(rule.when, columns, f"rules.{rule.name}.when")
    for column, values in (("kind", rule.kinds), ("source", rule.sources)):
        if values is not None:
            violated = pl.col(column).is_in(pl.Series(values, dtype=pl.String).implode()) & violated
    return Rule(rule.name, violated, _reason(rule, columns))


def _reason(rule: DropRule, columns: Mapping[str, pl.DataType]) -> pl.Expr:
    try:
        pieces = list(Formatter().parse(rule.reason))
    except ValueError as error:
        raise UserError(f"rules.{rule.name}.reason {rule.reason!r}: {error}; write {{column}}") from None
    sentence, values = "", []
    for text, column, _, _ in pieces:
        sentence += text.replace("{", "(").replace("}", ")")
        if column is not None:
            check_columns([column], columns)
            sentence += "{}"
            values.append(_shown(column, columns.get(column, pl.String())))
    return pl.format(sentence, *values) if values else pl.lit(sentence)


def _shown(column: str, kind: pl.DataType) -> pl.Expr:
    value = pl.col(column)
    if kind.is_float():
        value = value.round(2)
    elif isinstance(kind, pl.List):
        value = value.cast(pl.List(pl.String)).list.join(", ")
    return value.cast(pl.String).fill_null("unknown")


def _judge_rules(gate: JudgeGate) -> list[Rule]:
    column, score = pl.col, pl.col("judge_score").round(2)
    rules = []
    if gate.drop_verdicts:
        dropped = pl.Series(gate.drop_verdicts, dtype=pl.String).implode()
        mean = score.fill_null(0)
        rules.append(
            Rule(
                "judge_reject",
                column("judge_verdict").is_in(dropped),
                pl.format("the judge's verdict is {} (mean score {})", "judge_verdict", mean),
            )
        )
    if gate.drop_defects:
        defects = column("judge_defects").list.set_intersection(pl.lit(pl.Series(gate.drop_defects).implode()))
        rules.append(
            Rule("judge_defect", defects.list.len() > 0, pl.format("the judge found: {}", defects.list.join(", ")))
        )
    rules.append(
        Rule(
            "low_score",
            column("judge_score") < gate.min_score,
            pl.format(f"the judge's mean score {{}} is below {gate.min_score:g}", score),
        )
    )
    for dimension, least in gate.min.items():
        name = f"judge_{dimension}"
        words = dimension.replace("_", " ")
        rules.append(
            Rule(
                f"low_{dimension}",
                column(name) < least,
                pl.format(f"the judge gave {words} {{}} of 5, below {least}", name),
            )
        )
    if gate.require:
        status = column("judge_status").fill_null("not_asked")
        rules.append(Rule("no_verdict", column("judge_score").is_null(), pl.format("it has no score ({})", status)))
    return rules


def _check_names(names: Sequence[str], ignored: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"rules.{twice}: a built-in rule has this name; use another")
    for name in ignored:
        if name == "not_deidentified":
            raise UserError(
                "not_deidentified cannot be ignored: declare the sources whose DICOM files identify nobody, with "
                "--declare-deidentified SOURCE or declare_deidentified in a policy"
            )
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
            hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(names)}"
            raise UserError(f"no such rule to ignore: {name}{hint}")
