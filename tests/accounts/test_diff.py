"""``curate diff``: what came in, what went out, because of which rule, and that the counts are right."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inside import curate
from judged import moved
from support.measured import GOOD_VERDICT, NO_SCORE, caption, make_corpus, query, write_signals, write_verdicts

from curate.accounts import diff_selections as module
from curate.accounts import exported, sides
from curate.accounts.diff import diff
from curate.accounts.settings import differing
from curate.corpus import Corpus, Sample, UserError
from curate.exports import ExportOptions, export
from curate.select import load_policy, select_by_policy

LOOSE = 'name: loose\nrules:\n  - {name: short_text, when: text_words < 3, reason: "it has {text_words} words"}\n'
STRICT = 'name: strict\nrules:\n  - {name: short_text, when: text_words < 8, reason: "it has {text_words} words"}\n'


@pytest.fixture(scope="module")
def place(judged_examples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, measured, with the selections loose and strict and an export of each."""
    folder = tmp_path_factory.mktemp("compared")
    moved(judged_examples, folder)
    shutil.rmtree(folder / "curated" / "verdicts")
    corpus = Corpus.open(folder / "curated")
    for text in (LOOSE, STRICT):
        (folder / "policy.yaml").write_text(text)
        name = select_by_policy(corpus, load_policy(str(folder / "policy.yaml")), picture_hash=lambda _: None).path.stem
        export(corpus, "verl", folder / f"{name}-rows", ExportOptions(selection=name, val_fraction=0.2))
    return folder


def compared(place: Path, *arguments: str) -> dict[str, Any]:
    ran = curate("diff", *arguments, "--json", cwd=place)
    assert ran.status == 0, ran.err
    return dict(ran.json())


def test_two_selections_of_the_examples(place: Path) -> None:
    found = compared(place, "loose", "curated#strict", "--limit", "100")
    went = found["changes"]
    assert [(change["from"], change["to"], change["samples"]) for change in went] == [("kept", "short_text", 5)]
    assert went[0]["examples"][0]["place"] == "vqa/queries.jsonl:3"
    assert went[0]["examples"][0]["reason_b"] == "it has 6 words"
    assert len(went[0]["examples"]) == found["went_out"] == found["kept"]["a"] - found["kept"]["b"] == 5
    assert found["by_source"] == [
        {"source": "vqa", "came_in": 0, "went_out": 5, "more_copies": 0, "fewer_copies": 0, "other": 0}
    ]
    fields = {entry["field"]: (entry["a"], entry["b"]) for entry in found["settings"]}
    assert fields == {"name": ("loose", "strict"), "rules.short_text.when": ("text_words < 3", "text_words < 8")}
    text = curate("diff", "loose", "strict", cwd=place).out
    assert f"= {found['kept']['a']} + 0 in - 5 out" in text
    assert "vqa/queries.jsonl:3: B: it has 6 words" in text
    assert (
        text.index("What changed, by rule") < text.index("Where the policies differ") < text.index("rules.short_text")
    )


def test_two_exports_and_an_export_beside_a_selection(place: Path) -> None:
    found = compared(place, "loose-rows", "strict-rows")
    assert found["a"]["kind"] == found["b"]["kind"] == "export"
    assert found["went_out"] == 5
    assert {change["to"] for change in found["changes"] if change["from"] == "not there"} == set()
    beside = compared(place, "./strict-rows", "curated/decisions/loose.parquet")
    assert (beside["a"]["kind"], beside["b"]["kind"]) == ("export", "selection")
    gained = {(change["from"], change["to"]): change["samples"] for change in beside["changes"]}
    assert gained["not there", "kept"] == beside["came_in"]
    assert ("train", "kept") not in gained
    assert beside["settings"] == []


def test_the_same_twice_is_said_to_be_the_same(place: Path) -> None:
    found = compared(place, "loose", "loose")
    assert (found["changes"], found["settings"], found["same"]) == ([], [], found["samples"])
    text = curate("diff", "loose", "loose", cwd=place).out
    assert f"The same is decided about all {found['samples']} samples." in text
    assert "The policies say the same." in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("loos", "strict"), "loos is no selection of curated, and no corpus or export; did you mean loose?"),
        (("curated", "strict"), "curated is a corpus and strict a selection: compare two corpora, or name a selection"),
        (("curated", "strict-rows"), "curated is a corpus and strict-rows an export"),
        (("nowhere#loose", "strict"), "nowhere is no corpus"),
        (("loose", "strict", "--corpus", "nowhere"), "the name of a selection needs a corpus: nowhere is no corpus"),
        (("curated#../decisions/loose", "strict"), "is no selection of curated"),
        (("curated/signals/part-00000.parquet", "strict"), "holds no decisions: these have the columns id and kept"),
        (("broken.parquet", "strict"), "broken.parquet cannot be read as decisions"),
        (("raw", "strict"), "raw is a directory and a selection of curated; write ./raw or curated#raw"),
        (("", "strict"), "is no selection of curated"),
        (("x" * 300, "strict"), "is no selection of curated"),
        (("x" * 300 + "#loose", "strict"), "is no corpus"),
        (("x" * 300 + ".parquet", "strict"), "is no selection of curated"),
        (("loose", "strict", "--corpus", "y" * 300), "is no corpus"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence_with_status_2(
    place: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (place / "broken.parquet").write_bytes(b"PAR1")
    if arguments[0] == "raw":
        shutil.copy(place / "curated/decisions/loose.parquet", place / "curated/decisions/raw.parquet")
    ran = curate("diff", *arguments, cwd=place)
    assert (ran.status, ran.out) == (2, "")
    assert sentence in ran.err


def two(tmp_path: Path) -> tuple[Corpus, Corpus]:
    """Two corpora: the first sample only in the left, the last only in the right, two of the others differ."""
    left = [caption(f"Caption {number}.", row=number, license="CC0") for number in range(1, 6)]
    fields: dict[int, dict[str, Any]] = {3: {"license": "CC-BY-4.0", "source": "other"}}
    right = [
        caption(f"Caption {number}.", row=number, **{"license": "CC0", **fields.get(number, {})})
        for number in range(2, 7)
    ]
    a, b = make_corpus(tmp_path / "a", left, per_shard=2), make_corpus(tmp_path / "b", right, per_shard=3)
    write_signals(a)
    write_signals(b, {left[3].id: {"text_words": 99, "image_phashes": [2]}})
    write_verdicts(a, {left[4].id: NO_SCORE | {"judge_status": "failed"}})
    write_verdicts(b, {left[3].id: GOOD_VERDICT | {"judge_score": 1.0, "judge_verdict": "reject"}})
    return a, b


def test_two_corpora(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    found = compared(tmp_path, "a", "b")
    assert [found[name] for name in ("only_a", "only_b", "both", "changed")] == [1, 1, 4, 3]
    assert [entry["place"] for entry in found["examples"]["only_a"]] == ["made.jsonl:1"]
    assert [entry["place"] for entry in found["examples"]["only_b"]] == ["made.jsonl:6"]
    columns = {entry["column"]: entry for entry in found["columns"]}
    assert columns["license"]["how"] == {"CC0 -> CC-BY-4.0": 1}
    assert columns["judge_verdict"]["how"] == {"accept -> reject": 1, "nothing -> accept": 1}
    assert columns["judge_score"]["how"] == {"lower": 1, "new": 1}
    assert columns["image_phashes"]["examples"][0]["a"] == [1]
    assert columns["text_words"]["how"] == {"higher": 1}
    assert {"judge_key", "signals_key", "id"}.isdisjoint(columns)
    text = curate("diff", a.path, b.path, cwd=tmp_path).out
    assert "4 samples are in both, 3 of them with something else known of them" in text
    assert "made.jsonl:3: CC0 -> CC-BY-4.0" in text


def test_corpora_of_different_versions_and_without_facts(tmp_path: Path) -> None:
    a, b = two(tmp_path)
    for shard in a.shards():
        path = a.facts_shard("signals", shard)
        pl.read_parquet(path).with_columns(image_modality=pl.lit("CT")).drop("text_letters").write_parquet(path)
    shutil.rmtree(b.path / "verdicts")
    found = compared(tmp_path, "a", "b")
    assert set(found["columns_only_a"]) >= {"image_modality", "judge_score"}
    assert found["columns_only_b"] == ["text_letters"]
    assert "judge_score" not in {entry["column"] for entry in found["columns"]}
    b.facts_shard("signals", b.shards()[0]).write_bytes(b"nothing")
    ran = curate("diff", "a", "b", cwd=tmp_path)
    assert (ran.status, ran.out) == (2, "")
    assert "signals/part-00000.parquet cannot be read" in ran.err


def test_hostile_names_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    samples = [caption("A.", row=1, source="\x1b[31mred\u202e"), caption("B.", row=2, source="[bold]b[/bold]")]
    corpus = make_corpus(tmp_path / "curated", samples)
    for name, rule in (("one", None), ("two", "\x1b]0;owned\x07\nrule")):
        rows = [{"id": s.id, "kept": rule is None, "rule": rule, "reason": rule} for s in samples]
        decide(corpus, name, rows)
    for columns in ("200", "20"):
        ran = curate("diff", "one", "two", cwd=tmp_path, env={"COLUMNS": columns})
        assert ran.status == 0
        assert not any((ord(char) < 32 and char != "\n") or char in "\x9b\u202e" for char in ran.out)
    assert "[bold]b[/bold]" in curate("diff", "one", "two", cwd=tmp_path).out


def decide(corpus: Corpus, name: str, rows: list[dict[str, Any]]) -> None:
    path = corpus.path / "decisions" / f"{name}.parquet"
    path.parent.mkdir(exist_ok=True)
    schema = {"id": pl.String, "kept": pl.Boolean, "rule": pl.String, "reason": pl.String, "copies": pl.Int32}
    columns = schema if any("copies" in row for row in rows) else {k: v for k, v in schema.items() if k != "copies"}
    pl.DataFrame(rows, schema=columns).write_parquet(path)


SAMPLES: list[Sample] = [query(f"Question {n}?", "a", row=n + 1, source=f"s{n % 3}") for n in range(24)]
DECISION = st.one_of(st.none(), st.integers(1, 3), st.sampled_from(["near_blank", "low_score", "mixture"]))
"""Of one sample: not there, so many copies, or dropped by a rule."""
SELECTION = st.lists(DECISION, min_size=len(SAMPLES), max_size=len(SAMPLES))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(a=SELECTION, b=SELECTION, part=st.sampled_from([3, 10, 1000]))
def test_the_counts_are_those_of_going_through_the_samples_one_by_one(
    a: list[Any], b: list[Any], part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART_ROWS", part)
    corpus = make_corpus(tmp_path / "curated", SAMPLES, per_shard=7)
    for name, decisions in (("a", a), ("b", b)):
        rows = [
            {"id": s.id, "kept": isinstance(d, int), "rule": d if isinstance(d, str) else None, "copies": d}
            if isinstance(d, int)
            else {"id": s.id, "kept": False, "rule": d, "reason": f"because {d}", "copies": 0}
            for s, d in zip(SAMPLES, decisions, strict=True)
            if d is not None
        ]
        decide(corpus, name, rows)
    there = diff("a", "b", corpus=corpus.path, limit=2)
    back = diff("b", "a", corpus=corpus.path, limit=2)

    def label(decision: Any) -> str:
        return "not there" if decision is None else "kept" if isinstance(decision, int) else decision

    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None or y is not None]
    expected = Counter((label(x), label(y)) for x, y in pairs if x != y)
    assert {(change["from"], change["to"]): change["samples"] for change in there["changes"]} == expected
    assert there["samples"] == len(pairs) == there["same"] + expected.total()
    assert there["came_in"] == back["went_out"] == sum(n for (x, y), n in expected.items() if y == "kept" != x)
    assert there["more_copies"] == back["fewer_copies"]
    assert there["rows"]["b"] - there["rows"]["a"] == sum(d for d in b if isinstance(d, int)) - sum(
        d for d in a if isinstance(d, int)
    )
    for change in there["changes"]:
        firsts = [
            f"made.jsonl:{n + 1}"
            for n, (x, y) in enumerate(zip(a, b, strict=True))
            if (label(x), label(y)) == (change["from"], change["to"]) and x != y
        ]
        shown = [example["place"] for example in change["examples"]]
        assert len(shown) == min(2, change["samples"])
        assert set(shown) <= set(firsts)
    by_source = Counter(
        {
            row["source"]: row["came_in"] + row["went_out"] + row["more_copies"] + row["fewer_copies"] + row["other"]
            for row in there["by_source"]
        }
    )
    changed = Counter(s.source for s, x, y in zip(SAMPLES, a, b, strict=True) if x != y)
    assert by_source == changed


def test_few_fields_of_policies_are_shown_after_the_samples_and_all_are_in_json(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "curated", [caption("A.", row=1)])
    for name in ("a", "b"):
        decide(corpus, name, [{"id": next(corpus.samples(corpus.shards()[0])).id, "kept": True}])
        rules = [{"name": f"r{n}", "when": f"text_words < {ord(name)}", "basis": f"{name} says so"} for n in range(20)]
        account = {"policy": {"name": name, "description": f"Policy {name}", "rules": rules}}
        (corpus.path / "decisions" / f"{name}.json").write_text(json.dumps(account))
    assert len(compared(tmp_path, "a", "b")["settings"]) == 42
    text = curate("diff", "a", "b", cwd=tmp_path).out
    assert text.count(".when") + text.count("\nname ") == 12
    assert "says so" not in text
    assert "Policy a" not in text
    assert "and 30 more field(s); --json has all of them" in text


@pytest.mark.parametrize("spill", [1, 10**6])
def test_an_export_is_read_once_whatever_the_parts(
    place: Path, spill: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(Corpus.open(place / "curated"), "jsonl", tmp_path / "lines", ExportOptions(selection="loose"))
    lines = (tmp_path / "lines/train.jsonl").read_text().splitlines()
    (tmp_path / "lines/train.json").write_text("  [" + ",\n".join([*lines, lines[0]]) + "]")  # one of them twice
    described = json.loads((tmp_path / "lines/export.json").read_text())
    described["files"] = [{"path": "train.json", "split": "train", "rows": len(lines) + 1}]
    (tmp_path / "lines/export.json").write_text(json.dumps(described))
    whole = diff(str(tmp_path / "lines"), "strict", corpus=place / "curated")
    read: list[Path] = []
    original = exported._records

    def noted(path: Path, file: Any) -> Any:
        read.append(path)
        return original(path, file)

    monkeypatch.setattr(exported, "_records", noted)
    monkeypatch.setattr(module, "PART_ROWS", 5)
    monkeypatch.setattr(sides, "_SPILL_ROWS", spill)
    assert diff(str(tmp_path / "lines"), "strict", corpus=place / "curated") == whole
    assert len(read) == 1
    assert (whole["kept"]["a"], whole["rows"]["a"]) == (len(lines), len(lines) + 1)


def test_a_json_array_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    with path.open("wb") as file:
        file.write(b"[")
        for number in range(40):
            file.write(b"," * bool(number) + json.dumps({"id": f"{number:064x}", "text": "x" * 2**20}).encode())
        file.write(b"]")
    tracemalloc.start()
    ids = [name for batch, _ in exported.id_batches(path) for name in batch.to_pylist()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ids == [f"{number:064x}" for number in range(40)]
    assert peak < 12 * 2**20
    for content, words in (
        ("{}", "is no list of records"),
        ('[{"id": "a"}, {', "cannot be read as a file of an export"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=words):
            list(exported.id_batches(path))


def test_columns_of_other_types_are_compared_or_named(tmp_path: Path) -> None:
    samples = [caption(f"Caption {number}.", row=number) for number in range(1, 5)]
    a, b = (make_corpus(tmp_path / name, samples, per_shard=2) for name in "ab")
    for corpus in (a, b):
        write_signals(corpus)
    first, second = (a.facts_shard("signals", shard) for shard in a.shards())
    # A newer version measures one more column, and another type.
    pl.read_parquet(first).with_columns(pl.col("text_words").cast(pl.Float64), newer=pl.lit(1)).write_parquet(first)
    pl.read_parquet(second).with_columns(modality=pl.lit(3), text_chars=pl.lit(81)).write_parquet(second)
    for shard in b.shards():
        path = b.facts_shard("signals", shard)
        pl.read_parquet(path).with_columns(
            newer=pl.lit(1), text_language=pl.lit(7), image_phashes=pl.col("image_phashes").cast(pl.List(pl.Int64))
        ).write_parquet(path)
    found = compared(tmp_path, "a", "b")
    columns = {entry["column"]: (entry["samples"], entry["how"]) for entry in found["columns"]}
    assert columns == {"newer": (2, {"new": 2}), "text_chars": (2, {"lower": 2})}
    assert found["columns_not_compared"] == [
        {"table": "signals", "column": "text_language", "a": "String", "b": "Int32"},
        {"table": "signals", "column": "modality", "a": "Int32 or String", "b": "String"},
    ]
    assert "Int32 or String" in curate("diff", "a", "b", cwd=tmp_path).out


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(value=st.dictionaries(st.text(min_size=1, max_size=3), JSON, max_size=4), other=JSON)
def test_settings_differ_exactly_where_they_were_changed(value: dict[str, Any], other: Any) -> None:
    copied = json.loads(json.dumps(value))
    assert differing(value, copied) == []
    changed = {**copied, "field that is new": other}
    fields = {entry["field"].split(".")[0] for entry in differing(value, changed)}
    assert fields == ({"field that is new"} if says_something(other) else set())


def says_something(value: Any) -> bool:
    """Whether any field of a value is not left open."""
    return any(map(says_something, value.values())) if isinstance(value, dict) and value else value is not None


def test_named_entries_of_lists_are_compared_by_name() -> None:
    a = {"rules": [{"name": "x", "when": "1"}, {"name": "y", "when": "2"}], "kinds": ["query"]}
    b = {"rules": [{"name": "y", "when": "3"}, {"name": "x", "when": "1"}], "kinds": ["query", "conversation"]}
    assert differing(a, b) == [
        {"field": "rules.y.when", "a": "2", "b": "3"},
        {"field": "kinds", "a": ["query"], "b": ["query", "conversation"]},
    ]
