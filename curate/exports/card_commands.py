"""How a dataset card says to make the same export again: the policy, and the commands."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from curate.corpus import Corpus, UserError
from curate.exports.options import ExportOptions
from curate.select import Decisions, load_policy, preset_names


def policy_of(decisions: Decisions) -> dict[str, Any]:
    """The policy that a selection was made by; empty when none is recorded."""
    policy = decisions.account.get("policy")
    return policy if isinstance(policy, dict) else {}


def policy_text(policy: Mapping[str, Any]) -> str:
    """A policy as YAML without what it leaves open, and without the paths of this machine."""
    said = {name: value for name, value in policy.items() if value not in (None, [], {}, "")}
    gate = said.get("contamination")
    if isinstance(gate, dict):
        places = [{**part, "path": Path(str(part.get("path"))).name} for part in gate.get("benchmarks") or ()]
        said["contamination"] = {**gate, "benchmarks": places}
    text: str = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, width=110)
    return text


def commands(corpus: Corpus, decisions: Decisions, description: Mapping[str, Any]) -> str:
    """What to type, in the folder of the corpus, for the same export."""
    name, options = description["format"], description["options"]
    place = shlex.quote(corpus.path.resolve().name)
    try:
        usual = vars(ExportOptions().resolved(name))
    except UserError:
        usual = {}
    words = [f"curate export {place} --format {name}"]
    flags = {"declared_deidentified": "declare-deidentified", "ignore_rules": "ignore-rule"}
    for key, value in options.items():
        if value == usual.get(key, ()) or value is None or value == []:
            continue
        flag = f"--{flags.get(key, key.replace('_', '-'))}"
        for part in value if isinstance(value, list | tuple) else [value]:
            shown = "none" if key == "system_prompt" and part == "" else str(part)
            words.append(flag if part is True else f"{flag} {shlex.quote(shown)}")
    first = []
    if options.get("selection"):
        selected = str(decisions.account.get("name", decisions.path.stem))
        first = [f"curate select {place} --policy {shlex.quote(preset_of(decisions) or policy_file(decisions))}"]
        first += [f"--name {shlex.quote(selected)}"] if selected != policy_of(decisions).get("name") else []
    return "\n".join([*([" ".join(first)] if first else []), " ".join(words)])


def preset_of(decisions: Decisions) -> str | None:
    """The policy that comes with curate by which the selection was made; None when it was made by a file."""
    policy = policy_of(decisions)
    name = policy.get("name")
    if name not in preset_names():
        return None
    own = load_policy(str(name)).model_dump()
    # What is declared de-identified beside a policy is written into it, and is remembered by the corpus.
    return str(name) if own == {**policy, "declare_deidentified": own["declare_deidentified"]} else None


def policy_file(decisions: Decisions) -> str:
    """What the file is called that holds the text of the policy."""
    return f"{policy_of(decisions).get('name', 'policy')}.yaml"
