"""``curate select`` and what an export makes of its decisions."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from support.cli import curate
from support.measured import caption, conversation, make_corpus, query, write_signals, write_verdicts

from curate.corpus import Corpus, Sample
from curate.exports import FORMATS
from curate.select.policy import EXPORT_SELECTIONS


@pytest.fixture
def samples() -> list[Sample]:
    return [
        caption("A caption of a radiograph.", source="radiology", license="CC-BY-4.0", meta={"year": 1999}),
        caption("Another caption of a radiograph.", source="radiology", license="CC-BY-4.0", meta={"year": 2024}),
        conversation("Hello?", "Yes, indeed.", source="chat"),
        query("Which?", "yes", query_type="yes_no", source="vqa"),
    ]


@pytest.fixture
def corpus(tmp_path: Path, samples: list[Sample]) -> Corpus:
    made = make_corpus(tmp_path / "curated", samples, per_shard=2)
    write_signals(made, {samples[0].id: {"text_words": 5}})
    low = {"judge_score": 3.6, "judge_medical_correctness": 2, "judge_defects": ["wrong_answer", "low_value"]}
    write_verdicts(made, {samples[2].id: low})
    return made


def policy(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(f"name: {name}\n{text}")
    return path


def rows(corpus: Corpus, name: str = "mine") -> dict[str, tuple[str | None, str | None, int]]:
    table = pl.read_parquet(corpus.path / "decisions" / f"{name}.parquet")
    return {row["id"]: (row["rule"], row["reason"], row["copies"]) for row in table.to_dicts()}


def test_rules_and_gates_say_the_numbers(tmp_path: Path, corpus: Corpus, samples: list[Sample]) -> None:
    text = """
judge: {min: {medical_correctness: 3}}
rules:
  - {name: few_words, when: text_words < 8, reason: "only {text_words} words at {image_entropy} bits, {meta.year}"}
  - {name: old, when: '"meta.year" < ''2000''', reason: "from {meta.year}", kinds: [query]}
"""
    ran = curate("select", corpus.path, "--policy", policy(tmp_path, text), "--json")
    assert ran.status == 0, ran.err
    assert "4 samples = 2 kept + 2 dropped" in ran.err
    found = rows(corpus)
    assert found[samples[0].id] == ("few_words", "only 5 words at 6.5 bits, 1999", 0)
    assert found[samples[1].id] == (None, None, 1)
    assert found[samples[2].id] == ("low_medical_correctness", "the judge gave medical correctness 2 of 5, below 3", 0)
    account = ran.json()
    assert account["counts"]["dropped"] == {"few_words": 1, "low_medical_correctness": 1}
    assert account["by_source"]["chat"] == {
        "samples": 1,
        "kept": 0,
        "rows": 0,
        "dropped": {"low_medical_correctness": 1},
    }
    assert json.loads((corpus.path / "decisions" / "mine.json").read_text()) == account
    assert Corpus.open(corpus.path).info.steps[-1].parameters["policy"] == "mine"


def test_kinds_licences_and_defects(tmp_path: Path, corpus: Corpus, samples: list[Sample]) -> None:
    text = "kinds: [image_caption, conversation]\njudge: {drop_defects: [low_value]}\n"
    assert curate("select", corpus.path, "--policy", policy(tmp_path, text)).status == 0
    found = rows(corpus)
    assert found[samples[2].id][:2] == ("judge_defect", "the judge found: low_value")
    assert found[samples[3].id][:2] == ("kind", "the policy keeps no samples of kind query")
    licensed = policy(tmp_path, "licenses: [CC-BY-4.0]\n", "licensed")
    assert curate("select", corpus.path, "--policy", licensed).status == 0
    found = rows(corpus, "licensed")
    assert found[samples[1].id][0] is None
    assert found[samples[3].id][:2] == ("license", "its licence (none) is not among those that the policy keeps")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "rules: [{name: a, when: text_wrods < 3, reason: b}]",
            "no column 'text_wrods' to select by; did you mean text_w",
        ),
        ("rules: [{name: a, when: text_words <, reason: b}]", "rules.a.when 'text_words <' is not understood"),
        ("rules: [{name: a, when: text_words < 3, reason: '{text_wrods}'}]", "did you mean text_words"),
        ("rules: [{name: a, when: text_words < 3, reason: '{text'}]", "rules.a.reason '{text': expected '}'"),
        ("rules: [{name: near_blank, when: text_words < 3, reason: b}]", "a built-in rule has this name"),
        ("ignore_rules: [not_deidentified]", "not_deidentified cannot be ignored: declare the sources"),
        ("rules: [{name: a, when: CAST(source AS INT) > 2, reason: b}]", "the rule a fails on a sample in"),
        ("subsets: {passes: CAST(source AS INT) > 2}", "subsets.passes fails on a sample in"),
        ("split: {together: [pateint]}", "split.together: there is no column 'pateint'"),
        ("rules: [{name: a, when: '\"meta.year\" < 5', reason: b}]", "the values of meta fields are strings"),
        ("ignore_rules: [nearly_blank]", "no such rule to ignore: nearly_blank; did you mean near_blank?"),
        ("subsets: {passes: judge_scor > 3}", "no column 'judge_scor' to select by; did you mean judge_score"),
        ("subsets: {passes: MEAN(judge_score) > 3}", "is not understood"),
        ("kinds: [interleaved]", "the policy mine keeps nothing: of 4 sample(s) all were dropped (kind 4)"),
        ("mixture: {by: sourec}", "no column 'sourec' to select by; did you mean source"),
    ],
)
def test_a_policy_that_cannot_be_applied_writes_nothing(
    tmp_path: Path, corpus: Corpus, text: str, message: str
) -> None:
    before = (corpus.path / "corpus.json").read_bytes()
    ran = curate("select", corpus.path, "--policy", policy(tmp_path, text))
    assert ran.status == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert not (corpus.path / "decisions").exists()
    assert (corpus.path / "corpus.json").read_bytes() == before


def test_two_policies_live_side_by_side_and_exports_follow_them(tmp_path: Path, corpus: Corpus) -> None:
    strict = policy(tmp_path, "rules: [{name: few, when: text_words < 8, reason: few}]", "strict")
    for given in (strict, policy(tmp_path, "", "loose")):
        assert curate("select", corpus.path, "--policy", given).status == 0
    exported = {}
    for name in ("strict", "loose"):
        target = tmp_path / name
        ran = curate("export", corpus.path, "--selection", name, "--format", "jsonl", "-o", target, "--json")
        assert ran.status == 0, ran.err
        exported[name] = ran.json()["written"]
        options = json.loads((target / "export.json").read_text())["options"]
        assert options["selection"] == name
    assert exported == {"strict": 3, "loose": 4}
    at_once = curate("export", corpus.path, "--policy", strict, "--format", "jsonl", "-o", tmp_path / "x", "--json")
    assert at_once.json()["written"] == 3
    assert {path.name for path in (corpus.path / "decisions").iterdir()} == {
        "strict.parquet",
        "strict.json",
        "loose.parquet",
        "loose.json",
    }


def test_a_selection_of_other_samples_is_refused(tmp_path: Path, corpus: Corpus, samples: list[Sample]) -> None:
    assert curate("select", corpus.path, "--policy", policy(tmp_path, "")).status == 0
    make_corpus(corpus.path, [*samples, caption("New.")], per_shard=2)
    write_signals(corpus)
    ran = curate("export", corpus.path, "--selection", "mine", "--format", "jsonl", "-o", tmp_path / "x")
    assert (ran.status, "was made from other samples" in ran.err) == (2, True)
    missing = curate("export", corpus.path, "--selection", "other", "--format", "jsonl", "-o", tmp_path / "x")
    assert (missing.status, "has no selection 'other'; there are: mine" in missing.err) == (2, True)


def test_options_that_a_policy_decides_are_not_given_twice(tmp_path: Path, corpus: Corpus) -> None:
    for option in (("--min-score", "2"), ("--where", "kind = 'query'"), ("--require-verdict",), ("--policy", "cpt")):
        ran = curate("export", corpus.path, "--selection", "mine", "--format", "jsonl", *option)
        assert ran.status == 2
        assert option[0] in ran.err or "policy" in ran.err


def test_names_presets_columns_and_a_policy_to_copy(tmp_path: Path, corpus: Corpus) -> None:
    assert "name a policy" in curate("select", corpus.path).err
    assert curate("select", corpus.path, "--policy", "cpt", "--name", "../up").status == 2
    assert "infimed2-decay" in curate("select", "--presets").out
    assert "judge_fluency" in curate("select", corpus.path, "--columns").out
    shown = curate("select", "--show", "lingshu-cpt").out
    (tmp_path / "copy.yaml").write_text(shown)
    again = curate("select", "--show", tmp_path / "copy.yaml").out
    assert shown == again
    assert not shown.startswith("name:"), "a copy is called after its file"


@pytest.mark.parametrize("name", ["../samples/part-00000", "a/b", ".hidden", "x" * 300, "verl"])
def test_a_name_is_no_path_and_none_of_an_exports_own(tmp_path: Path, corpus: Corpus, name: str) -> None:
    before = {path: path.read_bytes() for path in corpus.path.rglob("*.parquet")}
    path = tmp_path / "p.yaml"
    path.write_text(f"name: {name}\n")
    for arguments in (("--policy", path), ("--policy", "sft", "--name", name)):
        ran = curate("select", corpus.path, *arguments)
        assert ran.status == 2
        assert "name" in ran.err
    assert {path: path.read_bytes() for path in corpus.path.rglob("*.parquet")} == before


def test_the_names_of_exports_own_selections_are_their_formats() -> None:
    assert set(EXPORT_SELECTIONS) == set(FORMATS)


def test_names_that_no_sample_has_are_told(tmp_path: Path, corpus: Corpus) -> None:
    text = """
declare_deidentified: [radiolgy]
judge: {drop_defects: [wrong_anwser]}
rules:
  - {name: a, when: "\\"meta.yaer\\" < '2000'", reason: b, sources: [chta]}
"""
    ran = curate("select", corpus.path, "--policy", policy(tmp_path, text), "--json")
    assert ran.json()["notes"] == [
        "no sample is of the source 'chta' (rules.a.sources); did you mean chat?",
        "no sample is of the source 'radiolgy' (declare_deidentified); did you mean radiology?",
        "no verdict has the defect 'wrong_anwser' (judge.drop_defects); did you mean wrong_answer?",
        "no sample has meta.yaer",
    ]


def test_the_policy_of_the_examples_goes_through(tmp_path: Path) -> None:
    examples = Path(__file__).parents[2] / "examples"
    options = ("--judge", "--judge-url", "demo", "--declare-deidentified", "dicom")
    assert curate("score", examples / "raw", "-o", tmp_path / "c", *options).status == 0
    ran = curate("select", tmp_path / "c", "--policy", examples / "policy.yaml", "--json")
    assert ran.status == 0, ran.err
    assert "Mixture by tokens" in ran.err
    assert {subset["source"] for subset in ran.json()["stages"]["subsets"]["subsets"]} >= {"radiology", "dicom"}
    listed = curate("select", tmp_path / "c", "--list")
    assert "examples" in listed.err + listed.out
