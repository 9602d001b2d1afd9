"""The dataset card: true, valid for the Hugging Face Hub whatever the data is called, and the same every time."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.cli import curate
from support.ingesting import EXAMPLES
from support.measured import caption, make_corpus, query, stored, write_signals
from support.pictures import distinct

from curate.corpus import Corpus
from curate.exports import FORMATS, ExportOptions, export
from curate.exports.card import _privacy
from curate.exports.card_commands import preset_of
from curate.exports.card_counts import Counts
from curate.exports.card_header import header, size_category
from curate.select import Decisions, load_policy, select_by_policy

HOSTILE = "a\"b'c: d\n---\n| x | `y` <script>\x1b[31m {{z}} [link](http://h) # * _ ~ $ \\ &amp; @you"


def card_of(directory: Path) -> tuple[dict[str, Any], str]:
    """The header of a card as YAML, and the text after it."""
    text = (directory / "README.md").read_text(encoding="utf-8")
    found = re.match(r"^---\n(.*?)\n---\n", text, re.DOTALL)
    assert found is not None
    return dict(yaml.safe_load(found[1])), text[found.end() :]


def cells(text: str, *, of: str) -> list[list[str]]:
    """The rows of the table under a heading."""
    section = text.split(f"\n## {of}\n")[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, judged, and exported in every format."""
    folder = tmp_path_factory.mktemp("carded")
    shutil.copytree(EXAMPLES, folder / "raw")
    judged = ("score", "raw", "--judge", "--judge-url", "demo", "--declare-deidentified", "dicom")
    assert curate(*judged, cwd=folder).status in (0, 1)
    for name in FORMATS:
        export(Corpus.open(folder / "curated"), name, folder / "exports" / name)
    return folder


@pytest.mark.parametrize("name", list(FORMATS))
def test_the_header_names_the_files_that_are_there(place: Path, name: str) -> None:
    folder = place / "exports" / name
    head, text = card_of(folder)
    described = json.loads((folder / "export.json").read_text())
    listed = {(entry["split"], entry["path"]) for entry in head["configs"][0]["data_files"]}
    splits = {"train": "train", "val": "validation"}
    assert listed == {(splits[file["split"]], file["path"]) for file in described["files"]}
    assert all((folder / path).is_file() for _, path in listed)
    assert (head["size_categories"], head["language"]) == (["n<1K"], ["en"])
    assert {"medical", "medcurate"} <= set(head["tags"])
    samples = sum(int(row[-1]) for row in cells(text, of="Sources and licences"))
    assert samples == described["counts"]["written"]
    dropped = {row[0].replace("\\", ""): int(row[-1]) for row in cells(text, of="Selection")}
    assert dropped == described["counts"]["dropped"]
    assert f"{file_hash(described)}" in text


def file_hash(described: dict[str, Any]) -> str:
    return str(described["files"][0]["samples"])


def test_what_it_says_of_judge_privacy_contamination_and_splits(place: Path) -> None:
    _, text = card_of(place / "exports/image-caption")
    assert "Scored by the model curate-demo-judge" in text
    assert "This is the demo judge: a few fixed rules, no medical judgement." in text
    assert "**Not checked**: the data was not compared with any benchmark." in text
    assert "3 sample(s) come from DICOM files without such a mark. Whoever made this dataset declared" in text
    assert "  - dicom: 3 sample(s)" in text
    _, verl = card_of(place / "exports/verl")
    assert "Validation was to have a share of 0.1, drawn with seed 0." in verl
    assert "Also declared, with no such sample in here: dicom." in verl
    assert "Pictures are inside the Parquet rows" in verl


def test_nothing_of_the_machine_is_in_it(place: Path) -> None:
    for name in FORMATS:
        text = (place / "exports" / name / "README.md").read_text()
        assert str(place) not in text
        assert not re.search(r"\d\d:\d\d:\d\d", text)


def test_the_command_in_it_makes_the_same_export(place: Path, tmp_path: Path) -> None:
    for folder in ("raw", "curated"):
        shutil.copytree(place / folder, tmp_path / folder)
    where = "source <> 'radiology' AND text_words > 3 -- ```"
    options = ("--val-fraction", "0.3", "--seed", "7", "--where", where, "--ignore-rule", "cut_off_text")
    assert curate("export", "--format", "jsonl", *options, cwd=tmp_path).status == 0
    _, text = card_of(tmp_path / "exports/jsonl")
    line = next(line for line in text.splitlines() if line.startswith("curate export"))
    before = (tmp_path / "exports/jsonl/train.jsonl").read_bytes()
    words = shlex.split(line)[1:]
    assert words[:2] == ["export", "curated"]
    assert curate(*words, "-o", "again", cwd=tmp_path).status == 0
    assert (tmp_path / "again/train.jsonl").read_bytes() == before
    assert (tmp_path / "again/README.md").read_text() == (tmp_path / "exports/jsonl/README.md").read_text()
    assert "\n````sh\n" in text


def test_a_selection_by_policy_is_in_it_whole(place: Path, tmp_path: Path) -> None:
    for folder in ("raw", "curated"):
        shutil.copytree(place / folder, tmp_path / folder)
    rule = '{name: short, when: text_words < 8, reason: "of {text_words} | words", basis: "Lingshu"}'
    (tmp_path / "p.yaml").write_text(f"name: strict\ndescription: For a | test\nrules:\n  - {rule}\n")
    assert curate("select", "--policy", "p.yaml", cwd=tmp_path).status == 0
    assert curate("export", "--selection", "strict", "--format", "jsonl", cwd=tmp_path).status == 0
    _, text = card_of(tmp_path / "exports/jsonl")
    assert ["short", "text\\_words \\< 8", "Lingshu", "5"] in cells(text, of="Selection")
    assert "For a \\| test" in text
    policy = yaml.safe_load(text.split("```yaml\n")[1].split("```")[0])
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(policy))
    before = json.loads((tmp_path / "curated/decisions/strict.json").read_text())
    assert before["policy_sha256"] in text
    assert curate("select", "--policy", "again.yaml", cwd=tmp_path).status == 0
    after = json.loads((tmp_path / "curated/decisions/strict.json").read_text())
    assert after["policy_sha256"] == before["policy_sha256"]


def test_the_commands_of_a_selection_by_another_name_and_of_a_preset(place: Path, tmp_path: Path) -> None:
    corpus_path = tmp_path / "curated"
    shutil.copytree(place / "curated", corpus_path)
    shutil.copytree(place / "raw", tmp_path / "raw")
    (tmp_path / "p.yaml").write_text("name: strict\nrules:\n  - {name: short, when: text_words < 8, reason: short}\n")
    corpus = Corpus.open(corpus_path)
    lines = {}
    for policy, name in (
        (str(tmp_path / "p.yaml"), "foo"),
        ("sft", None),
        ("sft", "bar"),
        (str(tmp_path / "p.yaml"), None),
    ):
        made = select_by_policy(corpus, load_policy(policy), name=name, picture_hash=lambda _: None).path.stem
        export(corpus, "jsonl", tmp_path / made, ExportOptions(selection=made))
        _, text = card_of(tmp_path / made)
        lines[made] = [line for line in text.splitlines() if line.startswith("curate ")], text
    assert lines["foo"][0] == [
        "curate select curated --policy strict.yaml --name foo",
        "curate export curated --format jsonl --selection foo",
    ]
    assert lines["sft"][0][0] == "curate select curated --policy sft"
    assert lines["bar"][0][0] == "curate select curated --policy sft --name bar"
    assert lines["strict"][0][0] == "curate select curated --policy strict.yaml"
    assert "The file strict.yaml holds this policy:" in lines["foo"][1]
    assert "The preset is this policy:" in lines["bar"][1]
    # What the card says can be typed as it stands, for a file once its text is copied.
    (tmp_path / "strict.yaml").write_text(lines["foo"][1].split("```yaml\n")[1].split("```")[0])
    before = (tmp_path / "foo/train.jsonl").read_bytes()
    for line in lines["foo"][0]:
        more = ("-o", "again") if "export" in line else ()
        assert curate(*shlex.split(line)[1:], *more, cwd=tmp_path).status == 0
    assert (tmp_path / "again/train.jsonl").read_bytes() == before


def test_a_preset_that_was_changed_is_a_file(tmp_path: Path) -> None:
    policy = load_policy("sft")
    for changes, preset in (({}, "sft"), ({"declare_deidentified": ["a"]}, "sft"), ({"seed": 9}, None)):
        account = {"policy": policy.model_copy(update=changes).model_dump()}
        assert preset_of(Decisions(tmp_path / "sft.parquet", 1, 1, account=account)) == preset


def test_samples_that_may_identify_someone_are_declared_or_said_not_to_be() -> None:
    groups = [
        ("named", "identified", 3),
        ("DOE", "identified", 2),
        ("films", "unknown", 5),
        ("marked", "deidentified", 7),
    ]
    counts = Counts(
        pl.DataFrame(
            [{"source": s, "license": None, "kind": "query", "privacy": p, "samples": n} for s, p, n in groups],
            schema_overrides={"license": pl.String},
        ),
        [],
    )
    told = list(_privacy(counts, ["named", "spare"], ["not_deidentified"]))
    declared = told.index(
        "- 3 sample(s) come from DICOM files without such a mark. Whoever made this dataset declared that they "
        "identify nobody:"
    )
    assert told[declared + 1] == "  - named: 3 sample(s)"
    undeclared = next(n for n, line in enumerate(told) if "NOT declared to identify nobody" in line)
    assert "- **2 sample(s) come" in told[undeclared]
    assert told[undeclared].endswith("**: the rule not_deidentified was ignored for:")
    assert told[undeclared + 1] == "  - DOE: 2 sample(s)"
    assert "- Also declared, with no such sample in here: spare." in told
    assert "NOT declared" not in " ".join(_privacy(counts, ["named", "DOE"], []))
    assert "declared that" not in " ".join(_privacy(counts, [], ["not_deidentified"]))


@pytest.mark.parametrize(
    ("said", "identifier"),
    [
        ("CC-BY", None),
        ("cc by", None),
        ("Public Domain", None),
        ("CC-BY-NC", None),
        ("CC BY 4.0", "cc-by-4.0"),
        ("CC-BY-SA-3.0", "cc-by-sa-3.0"),
        ("CC0", "cc0-1.0"),
    ],
)
def test_no_version_of_a_licence_is_invented(said: str, identifier: str | None) -> None:
    fields = yaml.safe_load(header("jsonl", licenses=[said], languages=[], files=[]).strip("-\n"))
    assert (fields["license"], fields.get("license_name")) == ((identifier or "other"), None if identifier else said)


def test_hostile_sources_and_licences_break_neither_yaml_nor_tables(tmp_path: Path) -> None:
    image = stored(tmp_path / "curated", distinct(0))
    samples = [
        query("Q?", "a", images=[image], source=HOSTILE, license=HOSTILE, row=1),
        query("R?", "b", source="plain", license="CC-BY-4.0", row=2),
        caption("A caption.", image, row=3),
    ]
    write_signals(make_corpus(tmp_path / "curated", samples))
    for _ in range(2):  # a card does not keep its export from being replaced
        assert curate("export", "--format", "verl", "--val-fraction", "0", cwd=tmp_path).status == 0
    head, text = card_of(tmp_path / "exports/verl")
    assert set(head["license"]) == {"other", "cc-by-4.0"}
    assert "\n" not in head["license_name"]
    assert "\x1b" not in text
    rows = cells(text, of="Sources and licences")
    assert sorted((row[-1], len(row)) for row in rows) == [("1", 4), ("1", 4)]
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "image\\_caption 1" in text


def test_samples_that_could_not_be_written_are_not_counted_as_exported(tmp_path: Path) -> None:
    images = [stored(tmp_path / "curated", distinct(number)) for number in range(2)]
    samples = [query(f"Q{n}?", "a", images=[image], source=f"s{n}", row=n + 1) for n, image in enumerate(images)]
    corpus = make_corpus(tmp_path / "curated", samples)
    write_signals(corpus)
    corpus.image_path(images[0]).unlink()
    assert curate("export", "--format", "verl", "--images", "path", "--val-fraction", "0", cwd=tmp_path).status == 1
    _, text = card_of(tmp_path / "exports/verl")
    assert [row[0] for row in cells(text, of="Sources and licences")] == ["s1"]
    assert "picture missing or changed 1" in text
    assert "this directory must stay where it is" in text
    assert "No sample was judged by a model." in text


def test_validate_passes_over_the_card(place: Path) -> None:
    for name in ("verl", "llamafactory-sft", "jsonl"):
        ran = curate("validate", place / "exports" / name, cwd=place)
        assert ran.status == 0, ran.out
        assert "README" not in ran.out + ran.err


@given(st.lists(st.none() | st.text(), max_size=5), st.sampled_from(list(FORMATS)))
def test_any_licence_gives_a_header_of_one_document(licenses: list[str | None], name: str) -> None:
    files = [{"split": "train", "path": "train.jsonl", "rows": 5}]
    text = header(name, licenses=licenses, languages=["en"], files=files)
    assert re.match(r"^---\n(.*?)\n---\n$", text, re.DOTALL)
    assert len(re.findall(r"^---", text, re.MULTILINE)) == 2
    fields = yaml.safe_load(text.strip("-\n"))
    assert fields["license"]
    assert fields["configs"][0]["data_files"] == [{"split": "train", "path": "train.jsonl"}]


@pytest.mark.parametrize(
    ("rows", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (99_999, "10K<n<100K"),
        (10**6, "1M<n<10M"),
        (10**12, "n>1T"),
    ],
)
def test_sizes_have_the_names_of_the_hub(rows: int, category: str) -> None:
    assert size_category(rows) == category
