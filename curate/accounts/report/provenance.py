"""The last sections: what the judge cost, and what everything was made from."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import orjson
import yaml

from curate import __version__
from curate.accounts.report.charts import table
from curate.accounts.report.markup import Html, count, moment, shortened, tag
from curate.accounts.report.material import Material
from curate.accounts.report.section import Section, absent, number_of, section
from curate.accounts.report.tally import most_first

_MOST_STEPS: Final = 40
_VALUE: Final = 80
_POLICY: Final = 20_000
_ABSOLUTE: Final = re.compile(r"(?<![\w.:/])/(?:[^/\s'\",\]}]+/)+(?=[^/\s])")
"""The folders that lead to a file: they tell of a machine and its users, not of the data."""


def judge(material: Material) -> Section:
    """Models, requests, tokens, cost and failures, run by run."""
    steps = material.steps("judge")
    if not steps:
        return absent("judge", "Judge", "No judge was asked.")
    lines = []
    failures: Counter[str] = Counter()
    for step in steps:
        counts = step.counts
        cost = number_of(counts, "cost_usd")
        lines.append(
            (
                moment(step.at),
                tag("bdi", shortened(str(step.parameters.get("model", "not known")), 60)),
                *(_whole(counts, name) for name in ("scored", "requests", "tokens_in", "tokens_out")),
                "not known" if cost is None else f"${cost:,.4f}",
            )
        )
    last = steps[-1].counts
    for name in ("failed", "refused", "not_asked"):
        found = last.get(name)
        if isinstance(found, dict):
            failures.update({f"{name}: {reason}".replace("_", " "): n for reason, n in found.items() if _is_int(n)})
    head = ("run (UTC)", "model", "scored", "requests", "tokens in", "tokens out", "cost")
    parts: list[object] = [
        table(head, lines[-_MOST_STEPS:], numbers=(2, 3, 4, 5, 6), label="Runs of the judge", secondary=(0, 4, 5)),
    ]
    stopped = last.get("stopped")
    if isinstance(stopped, str):
        parts.append(f"The last run ended early: {shortened(stopped, 300)}")
    if failures:
        rows = [(shortened(name, 80), number) for name, number in most_first(failures)[:20]]
        parts += [
            tag("h3", "Without a score, last run"),
            table(("reason", "samples"), rows, label="Not scored", narrow=True),
        ]
    adapted = steps[-1].parameters.get("adapted")
    if isinstance(adapted, list) and adapted:
        parts.append("What the endpoint could not do: " + shortened("; ".join(map(str, adapted)), 300))
    return section("judge", "Judge", *parts)


def _whole(counts: dict[str, Any], name: str) -> str:
    value = number_of(counts, name)
    return "–" if value is None else count(value)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def provenance(material: Material) -> Section:
    """Versions, steps, hashes and the policy: what it takes to do it again, and to know that it is the same."""
    selection = material.selection
    facts: list[tuple[str, object]] = [("report by", f"curate {__version__}"), ("seed of the examples", material.seed)]
    if selection is not None:
        account = selection.account
        facts.append(("selection", tag("bdi", shortened(selection.name, 80))))
        if isinstance(account.get("at"), str):
            made = f"{shortened(account['at'], 40)} by curate {shortened(str(account.get('version', '')), 20)}"
            facts.append(("selected", made))
        if isinstance(account.get("policy_sha256"), str):
            facts.append(("policy SHA-256", tag("code", shortened(account["policy_sha256"], 64))))
        if material.other_selections:
            facts.append(("other selections", shortened(", ".join(material.other_selections), 200)))
    info = material.corpus.info
    inputs = ", ".join(root.rstrip("/").rpartition("/")[2] for root in info.roots)
    facts.append(("inputs", shortened(material.names.cleaned(inputs), 200)))
    if info.input_hash:
        facts.append(("input listing SHA-256", tag("code", shortened(info.input_hash, 64))))
    facts.append(("samples shards", count(len(material.corpus.shards()))))
    listed = tag("dl", [(tag("dt", name), tag("dd", value)) for name, value in facts], class_="facts")
    parts: list[object] = [listed, tag("h3", "Steps"), _steps(material)]
    if selection is not None:
        policy = selection.account.get("policy")
        parts.append(tag("h3", "Policy"))
        if isinstance(policy, dict):
            text = yaml.safe_dump(material.names.cleaned_values(policy), sort_keys=False, allow_unicode=True, width=88)
            parts.append(tag("pre", _without_folders(shortened(text, _POLICY)), tabindex=0))
        else:
            parts.append("No policy: the selection an export makes by itself, from the built-in rules and its options.")
    return section("provenance", "Provenance", *parts)


def _steps(material: Material) -> Html:
    steps = material.corpus.info.steps
    rows = [
        (
            shortened(step.name, 30),
            moment(step.at),
            shortened(step.version, 20),
            tag("code", shortened(_without_folders(_told(material.names.cleaned_values(step.parameters))), 400)),
            tag("code", shortened(_told(material.names.cleaned_values(step.hashes)), 300)),
        )
        for step in steps[-_MOST_STEPS:]
    ]
    head = ("step", "finished (UTC)", "curate", "parameters", "hashes")
    return table(head, rows, numbers=(), label="Steps of the lineage", class_="steps stack", secondary=(2, 4))


def _told(values: dict[str, Any]) -> str:
    present = {key: value for key, value in values.items() if value not in (None, "", [], {}, ())}
    written = {key: value if isinstance(value, str) else _json(value) for key, value in present.items()}
    return " ".join(f"{key}={shortened(value, _VALUE)}" for key, value in written.items())


def _json(value: object) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _without_folders(text: str) -> str:
    return _ABSOLUTE.sub("…/", text)
