"""Policies as files: presets, what they extend, their JSON Schema, and mistakes told with the name that was meant."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from support.cli import curate

from curate.corpus import UserError
from curate.select import Policy, load_policy, preset_names

PRESETS = Path(__file__).parents[2] / "curate" / "select" / "presets"


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", preset_names())
def test_presets_say_what_they_are_for_and_where_their_thresholds_come_from(name: str) -> None:
    policy = load_policy(name)
    assert policy.name == name
    assert policy.description
    assert all(rule.basis for rule in policy.rules)


def test_the_published_schema_takes_every_preset_and_describes_every_field() -> None:
    schema = curate("schema", "policy").json()
    jsonschema.Draft202012Validator.check_schema(schema)
    for path in PRESETS.glob("*.yaml"):
        jsonschema.validate(yaml.safe_load(path.read_text()), schema)
    for section in [schema, *schema["$defs"].values()]:
        for field, entry in section["properties"].items():
            assert entry.get("description"), field
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", "ruels": []}, schema)


def test_a_policy_builds_on_others(tmp_path: Path) -> None:
    write(
        tmp_path / "base.yaml",
        "name: base\nseed: 7\njudge: {min_score: 2}\nrules:\n"
        "  - {name: a, when: text_words < 1, reason: a}\n  - {name: b, when: text_words < 2, reason: b}\n",
    )
    own = write(
        tmp_path / "own.yaml",
        "name: own\nextends: base.yaml\njudge: {min_score: 4}\nrules:\n"
        "  - {name: a, when: text_words < 10, reason: mine}\n  - {name: c, when: text_words < 3, reason: c}\n",
    )
    policy = load_policy(own)
    assert (policy.seed, policy.judge.min_score) == (7, 4)
    assert [(rule.name, rule.reason) for rule in policy.rules] == [("a", "mine"), ("b", "b"), ("c", "c")]
    bare = load_policy(write(tmp_path / "bare.yaml", "extends: own.yaml\n"))
    assert (bare.name, len(bare.rules)) == ("bare", 3)


def test_benchmarks_are_found_beside_the_policy(tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir()
    text = "name: x\ncontamination: {benchmarks: [{name: vqa-rad, path: ../bench/vqa}]}\n"
    policy = load_policy(write(tmp_path / "policies" / "p.yaml", text))
    assert policy.contamination is not None
    assert policy.contamination.benchmarks[0].path == str(tmp_path.resolve() / "bench" / "vqa")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nruels: []\n", "there is no field ruels; did you mean rules?"),
        ("name: x\nrules:\n - {name: a, when: b, reasn: c}\n", "there is no field rules.0.reasn; did you mean reason?"),
        ("name: x\njudge: {min: {fluencey: 3}}\n", "judge.min.fluencey"),
        ("name: x\njudge: {min_score: 7}\n", "judge.min_score: input should be less than or equal to 5"),
        ("name: x\nduplicates: {image: {distanze: 3}}\n", "no field duplicates.image.distanze; did you mean distance?"),
        ("name: x\nseed: yes\n", "seed: input should be a valid integer"),
        ("name: x\nkinds: [image-caption]\n", "kinds.0: input should be 'image_caption'"),
        ("name: x\nmixture: {unit: tokens}\n", "mixture needs either parts or by"),
        ("name: x\nmixture: {parts: [{name: a, weight: 0}]}\n", "weights of the mixture's parts are all 0"),
        (
            "name: x\nrules:\n - {name: a, when: b, reason: c}\n - {name: a, when: b, reason: c}\n",
            "two rules are called a",
        ),
        ("- a\n- b\n", "is no policy: it must be a mapping"),
        ("", "is no policy: it must be a mapping"),
        ("name: [x\n", "is no YAML"),
        ("name: x\nextends: ctp\n", "ctp is neither a policy file nor a preset; did you mean cpt?"),
        ("name: x\nextends: p.yaml\n", "extends itself"),
        ("name: x\nrules: []\nseed: 1\nrules: []\n", "rules is given twice"),
        ("name: x\nseed: 99999999999999999999\n", "seed: input should be less than"),
        ("name: ../up\n", "is no name: use at most 80 letters"),
        ("name: x\nkinds: " + "[" * 2000 + "]" * 2000, "is no YAML that can be read"),
        ("name: x\nrules: [{name: kept, when: a, reason: b}]\n", "a rule may not be called kept"),
        ("name: x\nkinds: [caption]\nseed: a\n", "kinds.0: input should be 'image_caption'"),
        ("name: x\nkinds: [caption]\nseed: a\n", "seed: input should be a valid integer; kinds.0: input"),
        (
            "name: x\ncontamination: {benchmarks: [{name: a, path: b}, {name: a, path: c}]}\n",
            "two benchmarks are called a",
        ),
        ("name: x\nextends: gone.yaml\n", "gone.yaml does not exist"),
    ],
)
def test_mistakes_in_a_policy_are_sentences(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "p.yaml", text)
    with pytest.raises(UserError) as caught:
        load_policy(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(UserError, match="is no UTF-8 text"):
        load_policy(str(tmp_path / "p.yaml"))


def test_the_hash_follows_the_content() -> None:
    assert Policy(name="a").sha256 == Policy(name="a").sha256 != Policy(name="a", seed=1).sha256
