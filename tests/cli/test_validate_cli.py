"""The reports of ``curate validate``, read back by what they are for."""

import json
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cli import curate
from support.pictures import retina

HOSTILE = "\x1b[31mred\x1b[0m \u202eevil\u0000 %0A::error::\r\n::warning::x <b>&amp;]]>"
"""Escapes for a terminal, a right-to-left mark, NUL, line breaks, workflow commands and markup."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file with three broken rows of five, one with a warning only, one that is fine."""
    (tmp_path / "a.png").write_bytes(retina())
    good: dict[str, Any] = {"image": "a.png", "text": "A retina."}
    bad = [good | {"image": HOSTILE}, {"image": 5, "text": " "}, good | {"text": ""}]
    write_lines(tmp_path / "bad.jsonl", good, *bad, good)
    write_lines(tmp_path / "mixed.jsonl", good | {"n": 1}, good | {"n": "1"})
    (tmp_path / "good.csv").write_text("image,text\na.png,A retina.\n")
    (tmp_path / "table.json").write_text(json.dumps([good, good | {"text": 7}]))
    return tmp_path


def write_lines(path: Path, *records: dict[str, Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


ALL = ("bad.jsonl", "mixed.jsonl", "good.csv", "table.json")


def test_text_is_a_line_for_each_problem_and_a_summary_beside_it(data: Path) -> None:
    ran = curate("validate", *ALL, cwd=data)
    assert ran.status == 1
    lines = ran.out.splitlines()
    assert len(lines) == 6
    mixed = "curate reads both, but nothing that loads the file with Arrow does"
    assert re.fullmatch(r"bad\.jsonl:2  image: '.*' is no usable path  \[bad_path\]", lines[0])
    assert lines[1:] == [
        "bad.jsonl:3  image: it must be a string or a list of strings, this is a number  [wrong_type]",
        "bad.jsonl:3  text: it is empty  [empty]",
        "bad.jsonl:4  text: it is empty  [empty]",
        f"mixed.jsonl:2  warning: n: it is a string here and a number in row 1: {mixed}  [mixed_types]",
        "table.json:2  text: it must be a string, this is a number  [wrong_type]",
    ]
    assert "4 files, 10 rows = 6 sound + 4 with errors: 5 errors, 1 warning" in ran.err
    assert re.search(r"^wrong_type +2$", ran.err, re.MULTILINE)


def test_warnings_alone_pass_and_soundness_prints_nothing(data: Path) -> None:
    ran = curate("validate", "mixed.jsonl", cwd=data)
    assert (ran.status, len(ran.out.splitlines())) == (0, 1)
    ran = curate("validate", "good.csv", cwd=data)
    assert (ran.status, ran.out) == (0, "")
    assert ran.err == "1 file, 1 row = 1 sound + 0 with errors: 0 errors, 0 warnings\n"


@pytest.mark.parametrize("report", ["text", "github", "junit", "json"])
def test_no_control_character_of_the_data_reaches_stdout(data: Path, report: str) -> None:
    ran = curate("validate", *ALL, "--report", report, cwd=data)
    assert ran.status == 1
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f]", ran.out + ran.err)
    if report != "json":  # where characters beyond ASCII are data
        assert "\u202e" not in ran.out


def test_json_counts_everything_and_lists_up_to_the_limit(data: Path) -> None:
    whole = curate("validate", *ALL, "--report", "json", cwd=data).json()
    assert {key: whole[key] for key in ("files", "rows", "errors", "warnings")} == {
        "files": 4,
        "rows": 10,
        "errors": 5,
        "warnings": 1,
    }
    assert whole["by_code"] == {"wrong_type": 2, "empty": 2, "bad_path": 1, "mixed_types": 1}
    assert whole["problems"][-1] == {
        "severity": "error",
        "file": "table.json",
        "row": 2,
        "field": "text",
        "code": "wrong_type",
        "message": "it must be a string, this is a number",
    }
    for limit, severities in ((0, ""), (2, "ee"), (5, "eeeee"), (6, "eeeewe")):
        ran = curate("validate", *ALL, "--report", "json", "--limit", str(limit), cwd=data)
        assert "".join(problem["severity"][0] for problem in ran.json()["problems"]) == severities
        assert {key: value for key, value in ran.json().items() if key != "problems"} == {
            key: value for key, value in whole.items() if key != "problems"
        }
        assert ran.status == 1
    assert "2 of 6 are listed" in curate("validate", *ALL, "--limit", "2", cwd=data).err


def test_junit_has_a_suite_for_each_file_and_a_failure_for_each_row(data: Path) -> None:
    root = ET.fromstring(curate("validate", *ALL, "--report", "junit", cwd=data).out)
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "6", "4")
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == list(ALL)
    for suite in suites.values():
        cases, failures = suite.findall("testcase"), suite.findall("testcase/failure")
        assert (suite.get("tests"), suite.get("failures")) == (str(len(cases)), str(len(failures)))
        assert (suite.get("errors"), suite.get("skipped")) == ("0", "0")
        assert all(case.get("classname") == suite.get("name") for case in cases)
    bad = suites["bad.jsonl"]
    assert {p.get("name"): p.get("value") for p in bad.iter("property")} == {
        "rows": "5",
        "errors": "4",
        "warnings": "0",
    }
    assert [case.get("name") for case in bad.findall("testcase")] == ["bad.jsonl:2", "bad.jsonl:3", "bad.jsonl:4"]
    failure = bad.findall("testcase/failure")[1]
    assert (failure.get("type"), failure.text) == (
        "wrong_type",
        "image: it must be a string or a list of strings, this is a number [wrong_type]\ntext: it is empty [empty]",
    )
    mixed = suites["mixed.jsonl"].findall("testcase")
    assert [case.get("name") for case in mixed] == ["mixed.jsonl:2"]
    assert "mixed_types" in (mixed[0].findtext("system-out") or "")
    assert [case.get("name") for case in suites["good.csv"].findall("testcase")] == ["1 row"]


def test_junit_says_how_many_errors_it_does_not_list(data: Path) -> None:
    root = ET.fromstring(curate("validate", *ALL, "--report", "junit", "--limit", "1", cwd=data).out)
    left_out = {suite.get("name"): suite.find("testcase[@name='more errors']/failure") for suite in root}
    messages = {name: failure.get("message") for name, failure in left_out.items() if failure is not None}
    assert messages == {"bad.jsonl": "3 errors not listed", "table.json": "1 error not listed"}


def parse_command(line: str) -> tuple[str, dict[str, str], str]:
    """A workflow command as GitHub's runner reads it."""
    match = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
    assert match is not None, line
    name, properties, message = match.groups()

    def unescaped(text: str, *, value: bool) -> str:
        pairs = [("%0D", "\r"), ("%0A", "\n"), *([("%3A", ":"), ("%2C", ",")] if value else []), ("%25", "%")]
        for escaped, char in pairs:
            text = text.replace(escaped, char)
        return text

    pairs = (pair.partition("=") for pair in properties.split(","))
    return name, {key: unescaped(value, value=True) for key, _, value in pairs}, unescaped(message, value=False)


def test_github_annotations_name_the_line(data: Path) -> None:
    (data / "a,b: 100%.jsonl").write_text('{"image": "a.png", "text": " "}\n')
    ran = curate("validate", *ALL, "a,b: 100%.jsonl", data / "table.json", "--report", "github", cwd=data)
    commands = [parse_command(line) for line in ran.out.splitlines()]
    assert [name for name, *_ in commands] == ["error"] * 4 + ["warning"] + ["error"] * 3 + ["notice"]
    assert commands[3] == (
        "error",
        {"file": "bad.jsonl", "title": "empty at bad.jsonl:4", "line": "4"},
        "text: it is empty",
    )
    assert "line" not in commands[5][1], "rows of an array are no lines"
    assert commands[6][1]["file"] == "a,b: 100%.jsonl"
    assert commands[7][1]["file"] == "table.json", "annotations need paths relative to the checkout"
    assert commands[-1][2] == "6 files, 13 rows = 7 sound + 6 with errors: 7 errors, 1 warning"


def test_names_that_are_not_unicode_can_be_reported(tmp_path: Path) -> None:
    name = b"\xff.jsonl".decode(errors="surrogateescape")
    (tmp_path / name).write_text("{}\n")
    for report in ("text", "json", "junit", "github"):
        ran = curate("validate", name, "--report", report, cwd=tmp_path)
        assert ran.status == 1
        assert "udcff.jsonl" in ran.out


def test_wrong_use_is_said_and_exits_with_2(data: Path) -> None:
    for arguments in ((), ("none",), ("good.csv", "--report", "html"), ("good.csv", "--limit", "-1")):
        assert curate("validate", *arguments, cwd=data).status == 2


ROOT = Path(__file__).parents[2]


def test_the_hook_for_pre_commit_takes_the_files_it_is_meant_for(data: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert (hook["id"], hook["language"], hook["require_serial"]) == ("curate-validate", "python", True)
    files = ["a.jsonl", "b/c.csv", "d.parquet", "e.ndjson.zst", "f.jsonl.gz"]
    others = ["package.json", "a.jsonl.bak", "jsonl", "a.csv.md"]
    assert [name for name in [*files, *others] if re.search(hook["files"], name)] == files
    command, *arguments = shlex.split(hook["entry"])
    assert command == "curate"
    assert curate(*arguments, "good.csv", cwd=data).status == 0
    assert curate(*arguments, "good.csv", "bad.jsonl", cwd=data).status == 1


def test_the_workflow_runs_a_command_that_exists(data: Path) -> None:
    workflow = yaml.safe_load((ROOT / "examples" / "ci" / "validate.yml").read_text())
    steps = workflow["jobs"]["validate"]["steps"]
    command, *arguments = shlex.split(steps[-1]["run"])
    assert (command, arguments[:2]) == ("curate", ["validate", "data"])
    ran = curate(*["." if argument == "data" else argument for argument in arguments], cwd=data)
    assert ran.status == 1
    assert ran.out.count("::error ") == 5
