"""A policy: everything between scored and exported, in one YAML file that says what is kept, how often, and why."""

from __future__ import annotations

import difflib
import hashlib
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self

import orjson
import yaml
from pydantic import AfterValidator, ValidationError, model_validator
from pydantic_core import ErrorDetails

from curate.corpus import Kind, UserError
from curate.select.policy_sections import (
    ContaminationGate,
    Difficulty,
    DropRule,
    Duplicates,
    JudgeGate,
    Mixture,
    Section,
    Seed,
    Split,
    SubsetGate,
)

EXPORT_SELECTIONS = ("image-caption", "interleaved", "llamafactory-sft", "llamafactory-cpt", "verl", "jsonl")
"""Names of the selections that exports make by themselves, one a format; no policy may have one of them."""

SELECTION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")


def check_selection_name(name: str) -> str:
    """``name`` if a selection may be called so, for it is part of a file's name; ValueError otherwise."""
    if not SELECTION_NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name: use at most 80 letters, digits, -, _ and .")
    return name


SelectionName = Annotated[str, AfterValidator(check_selection_name)]

_RESERVED_RULES = frozenset(
    {"kept", "train", "val", "subset", "mixture", "difficulty", "difficulty_share", "no_rollouts"}
    | {"answered_without_image", "contaminated_image", "contaminated_question", "contaminated_both"}
    | {"duplicate_text", "duplicate_image", "duplicate_pair"}
)
"""Rules of later stages, and words that stand beside rules in reports."""

_SHOWN = 3
"""Problems of a policy that are told at a time."""
_LONGEST_CHAIN = 8
"""Policies that may extend one another; more is a circle."""


class Policy(Section):
    """What a selection keeps, how often, and why.

    Stages come in the order of the fields: rules, judge, subsets, contamination, difficulty, duplicates, mixture. The
    first that drops a sample gives the reason.
    """

    name: SelectionName
    """What the policy is called; also the name of its decisions unless `curate select --name` gives another."""
    description: str = ""
    """What the policy is for."""
    extends: str | None = None
    """A preset (`curate select --presets`) or a policy file, relative to this one, that this one builds on. Rules are
    added to its rules (one of the same name replaces it); every other section given here replaces its section."""
    seed: Seed = 0
    """Seed of everything that is chosen at random, the split of an export too unless that gives its own."""
    kinds: list[Kind] | None = None
    """Kinds of samples that are kept; null for all."""
    licenses: list[str] | None = None
    """Licences that are kept, as the samples name them; null for all. A sample without a licence is then dropped."""
    ignore_rules: list[str] = []
    """Built-in rules (unreadable_image, near_blank, cut_off_text, ...) that do not apply."""
    declare_deidentified: list[str] = []
    """Subsets whose DICOM files you declare to identify nobody."""
    rules: list[DropRule] = []
    """Conditions of your own, applied after the built-in rules."""
    judge: JudgeGate = JudgeGate()
    """What a judge must have said."""
    subsets: SubsetGate | None = None
    """When whole subsets are removed; null for never."""
    contamination: ContaminationGate | None = None
    """Benchmarks that must not be in the data; null to compare with none."""
    difficulty: Difficulty | None = None
    """How queries are chosen by rollouts; null for not at all."""
    duplicates: Duplicates | None = None
    """What counts as a duplicate; null to keep all."""
    mixture: Mixture | None = None
    """How much of what; null for every kept sample once."""
    split: Split = Split()
    """How exports part training and validation."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        seen: set[str] = set()
        for rule in self.rules:
            if rule.name in seen:
                raise ValueError(f"two rules are called {rule.name}")
            if rule.name in _RESERVED_RULES:
                raise ValueError(f"a rule may not be called {rule.name}: reports use that word; choose another")
            seen.add(rule.name)
        mixture = self.mixture
        if mixture is not None and (mixture.parts is None) == (mixture.by is None):
            raise ValueError("mixture needs either parts or by, not both")
        if mixture is not None and mixture.parts is not None and not sum(part.weight for part in mixture.parts) > 0:
            raise ValueError("the weights of the mixture's parts are all 0")
        return self

    @property
    def sha256(self) -> str:
        """Hash of everything the policy says."""
        return hashlib.sha256(orjson.dumps(self.model_dump(), option=orjson.OPT_SORT_KEYS)).hexdigest()


def preset_names() -> list[str]:
    """Policies that come with curate."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _presets().iterdir() if entry.name.endswith(".yaml"))


def load_policy(name_or_path: str) -> Policy:
    """The policy in a YAML file, or a preset by its name, with what it extends filled in.

    Paths of benchmarks become absolute. Raises UserError naming the file and field for whatever is wrong.
    """
    fields = _resolved(name_or_path, Path(), [])
    try:
        return Policy.model_validate(fields)
    except ValidationError as error:
        raise UserError(f"{name_or_path}: {_sentence(error)}") from None


def _presets() -> Any:
    return files("curate.select") / "presets"


def _resolved(name_or_path: str, folder: Path, chain: list[str]) -> dict[str, Any]:
    """The fields of a policy over those of what it extends."""
    path = folder / name_or_path
    if path.suffix in (".yaml", ".yml") or path.is_file():
        shown, text = str(path), _read(path)
    elif name_or_path in preset_names():
        shown, text = name_or_path, (_presets() / f"{name_or_path}.yaml").read_text()
    else:
        near = difflib.get_close_matches(name_or_path, preset_names(), n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else f"; presets are: {', '.join(preset_names())}"
        raise UserError(f"{name_or_path} is neither a policy file nor a preset{hint}")
    if shown in chain or len(chain) >= _LONGEST_CHAIN:
        raise UserError(f"{shown} extends itself: {' -> '.join([*chain, shown])}")
    try:
        fields = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        cause = " ".join(str(error).split()) if isinstance(error, yaml.YAMLError) else type(error).__name__
        raise UserError(f"{shown} is no YAML that can be read: {cause}") from None
    if not isinstance(fields, dict):
        raise UserError(f"{shown} is no policy: it must be a mapping that starts with name: ...")
    fields.setdefault("name", Path(name_or_path).stem)
    _anchor(fields, path.parent)
    base = fields.get("extends")
    if not isinstance(base, str):
        return fields
    below = _resolved(base, path.parent, [*chain, shown])
    rules = _merged(below.get("rules"), fields.get("rules"))
    return {**below, **fields} | ({} if rules is None else {"rules": rules})


class _Loader(yaml.SafeLoader):
    """As YAML's own, but a key that is given twice is an error, not forgotten."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := next((key for key in keys if keys.count(key) > 1), None):
            raise yaml.constructor.ConstructorError(None, None, f"{twice} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; it should be a policy file") from None
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"{path} cannot be read: {cause}") from None


def _anchor(fields: dict[str, Any], folder: Path) -> None:
    """Make the paths of benchmarks independent of where the command runs."""
    gate = fields.get("contamination")
    benchmarks = gate.get("benchmarks") if isinstance(gate, dict) else None
    for benchmark in benchmarks if isinstance(benchmarks, list) else []:
        if isinstance(benchmark, dict) and isinstance(benchmark.get("path"), str):
            benchmark["path"] = str((folder / benchmark["path"]).resolve())


def _merged(below: Any, own: Any) -> Any:
    """Rules of a base with those of the policy, which replace rules of the same name in their place."""
    if not isinstance(below, list) or not isinstance(own, list | None):
        return own if own is not None else below
    rules = {rule.get("name") if isinstance(rule, dict) else number: rule for number, rule in enumerate(below)}
    for number, rule in enumerate(own or [], len(below)):
        rules[rule.get("name") if isinstance(rule, dict) else number] = rule
    return list(rules.values())


def _sentence(error: ValidationError) -> str:
    """The problems: each field as one would write it, what is wrong, and the name that was probably meant."""
    entries = sorted(error.errors(include_url=False), key=lambda entry: entry["type"] != "extra_forbidden")
    more = f" (and {len(entries) - _SHOWN} more)" if len(entries) > _SHOWN else ""
    return "; ".join(_problem(entry) for entry in entries[:_SHOWN]) + more


def _problem(first: ErrorDetails) -> str:
    place = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        *outer, unknown = (str(step) for step in first["loc"])
        known = _fields_at(outer)
        near = difflib.get_close_matches(unknown, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
        return f"there is no field {place}; {hint}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{place or 'the policy'}: {message[:1].lower() + message[1:]}"


def _fields_at(place: list[str]) -> list[str]:
    """Names of the fields that are allowed at a place of a policy."""
    schema = Policy.model_json_schema()
    node: dict[str, Any] = schema
    for step in place:
        node = node.get("items", {}) if step.isdigit() else node.get("properties", {}).get(step, {})
        for option in (node, *node.get("anyOf", ())):
            if "$ref" in option:
                node = schema["$defs"][option["$ref"].rpartition("/")[2]]
            elif option.get("type") == "array":
                node = option
    return list(node.get("properties", ()))
