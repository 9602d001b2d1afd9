"""The numbers at which a selection's rules drop samples, read off the rules themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import polars as pl

from curate.accounts.report.selection import Selection
from curate.corpus import UserError
from curate.select.policy_rules import policy_rules
from curate.select.rules import Rule, builtin_rules

_SIGNS: Final = {"Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_NEGATED: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}


class Threshold(NamedTuple):
    """A comparison of a column with a number."""

    column: str
    rule: str
    sign: str
    """<, <=, > or >=: on which side of ``value`` the rule drops samples."""
    value: float
    part: bool = False
    """Whether the rule asks for more than this comparison, so that not all samples on that side are dropped."""

    def __str__(self) -> str:
        return f"{'part of ' if self.part else ''}{self.rule}: {self.sign} {self.value:g}"


def selection_thresholds(selection: Selection | None, columns: Mapping[str, pl.DataType]) -> list[Threshold]:
    """Every comparison with a number in the rules of a selection; of the built-in rules when there is none.

    Rules that several comparisons decide, or that hold for some kinds or sources, are drawn by each comparison and
    marked: it is a part of the rule.
    """
    found = [threshold for rule in _rules(selection, columns) for threshold in rule_thresholds(rule)]
    policy = selection.policy if selection else None
    if policy is not None and policy.subsets is not None:
        try:
            passes = pl.sql_expr(policy.subsets.passes)
        except pl.exceptions.PolarsError:
            return found
        # It removes whole subsets by how many samples pass, never a sample for its own value.
        found += [one._replace(part=True) for one in rule_thresholds(Rule("subset gate", ~passes, pl.lit("")))]
    return list(dict.fromkeys(found))


def _rules(selection: Selection | None, columns: Mapping[str, pl.DataType]) -> list[Rule]:
    policy = selection.policy if selection else None
    if selection is None or policy is None:
        return builtin_rules()
    try:
        return policy_rules(policy, columns, where=selection.where).all
    except (UserError, pl.exceptions.PolarsError):  # a policy over columns that the corpus no longer has
        return builtin_rules()


def rule_thresholds(rule: Rule) -> list[Threshold]:
    """The comparisons of single columns with numbers by which a rule drops."""
    tree = json.loads(rule.violated.meta.serialize(format="json"))
    found = list(_comparisons(tree, negated=False))
    part = len(found) != 1 or not _is_comparison(tree)
    return [Threshold(column, rule.name, sign, value, part) for column, sign, value in found]


def _is_comparison(node: Any) -> bool:
    """Whether an expression is one comparison and nothing else, negated or not."""
    if isinstance(node, list):
        return len(node) == 1 and _is_comparison(node[0])
    if not isinstance(node, dict) or len(node) != 1:
        return False
    ((name, part),) = node.items()
    if name == "Cast":  # what SQL negates is made Boolean first
        return _is_comparison(part["expr"])
    _, sign, _, turned = _parts(name, part)
    return sign is not None or (turned is not None and _is_comparison(turned))


def _comparisons(node: Any, *, negated: bool) -> Iterator[tuple[str, str, float]]:
    if isinstance(node, list):
        for part in node:
            yield from _comparisons(part, negated=negated)
        return
    if not isinstance(node, dict):
        return
    for name, part in node.items():
        left, sign, right, turned = _parts(name, part)
        if turned is not None:
            yield from _comparisons(turned, negated=not negated)
        elif sign is not None:
            value, column = _number(right), _column(left)
            if value is None or column is None:
                value, column, sign = _number(left), _column(right), _TURNED[sign]
            if value is not None and column is not None:
                yield column, _NEGATED[sign] if negated else sign, value
        elif name not in ("Literal", "Column"):
            yield from _comparisons(part, negated=negated)


def _parts(name: str, part: Any) -> tuple[Any, str | None, Any, Any]:
    """Left side, sign and right side of a comparison; or what a negation negates."""
    if name == "BinaryExpr":
        return part["left"], _SIGNS.get(part["op"]) if isinstance(part["op"], str) else None, part["right"], None
    if name == "Function" and isinstance(part.get("function"), dict):
        function, given = part["function"], part["input"]
        if function.get("Boolean") == "Not":
            return None, None, None, given
        sql = function.get("Sql")
        if isinstance(sql, dict) and sql.get("Binary") in _SIGNS:
            return given[0], _SIGNS[sql["Binary"]], given[1], None
    return None, None, None, None


def _column(node: Any) -> str | None:
    name = node.get("Column") if isinstance(node, dict) else None
    return name if isinstance(name, str) else None


def _number(node: Any) -> float | None:
    """The value of a literal as Polars writes it: ``{"Literal": {"Dyn": {"Int": 3}}}``; a decimal has a scale."""
    literal = node.get("Literal") if isinstance(node, dict) else None
    while isinstance(literal, dict) and len(literal) == 1:
        ((name, literal),) = literal.items()
        if name == "Decimal" and isinstance(literal, list):
            return float(literal[0] / 10 ** literal[2])
    if isinstance(literal, bool) or not isinstance(literal, int | float):
        return None
    return float(literal)
