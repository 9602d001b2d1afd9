"""What ``curate validate`` found, for a person, a program, a test reporter or GitHub: strings for stdout.

Messages quote data from outside. Each format keeps it from meaning anything: no control character reaches a terminal,
XML holds only what XML may, and no text can begin a GitHub workflow command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from curate.cli.visible import visible

if TYPE_CHECKING:
    from curate.sources.validate import Finding, Report


def summary(report: Report) -> str:
    """One line of counts; rows = sound + with errors."""
    rows = f"{_count(report.rows, 'row')} = {report.rows - report.unsound:,} sound + {report.unsound:,} with errors"
    found = ", ".join(_count(number, name) for number, name in ((report.errors, "error"), (report.warnings, "warning")))
    return f"{_count(report.files, 'file')}, {rows}: {found}"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" + ("" if number == 1 else "s")


def where(finding: Finding) -> str:
    """``file:row``, or the file alone for what concerns all of it."""
    return f"{finding.file}:{finding.row}" if finding.row else finding.file


def sentence(finding: Finding) -> str:
    """Field and message."""
    return f"{finding.field}: {finding.message}" if finding.field else finding.message


def as_json(report: Report) -> dict[str, Any]:
    """All counts, and the findings that were kept."""
    return {
        "files": report.files,
        "rows": report.rows,
        "rows_with_errors": report.unsound,
        "errors": report.errors,
        "warnings": report.warnings,
        "by_code": dict(report.by_code.most_common()),
        "problems": [
            {key: value for key, value in finding._asdict().items() if key not in ("line", "group")}
            for finding in report.findings()
        ],
    }


def as_junit(report: Report) -> str:
    """JUnit XML: a test suite for each file, a failed test for each row with errors.

    A suite without errors has one passed test. Warnings are the output of a test that passed. Errors that the report
    did not keep are one failure more of their suite.
    """
    root = ET.Element("testsuites", name="curate validate")
    kept = {name: list(findings) for name, findings in groupby(report.findings(), key=lambda finding: finding.group)}
    for name, counts in report.groups.items():
        suite = ET.SubElement(root, "testsuite", name=_xml(name))
        properties = ET.SubElement(suite, "properties")
        for key in ("rows", "errors", "warnings"):
            ET.SubElement(properties, "property", name=key, value=str(getattr(counts, key)))
        findings = kept.get(name, [])
        for place, of_row in groupby(findings, key=where):
            _add_case(suite, place, list(of_row))
        missing = counts.errors - sum(finding.severity == "error" for finding in findings)
        if missing:
            case = ET.SubElement(suite, "testcase", name="more errors", classname=_xml(name))
            ET.SubElement(case, "failure", type="more", message=f"{_count(missing, 'error')} not listed")
        if len(suite) == 1:
            ET.SubElement(suite, "testcase", name=_count(counts.rows, "row"), classname=_xml(name))
        suite.set("tests", str(len(suite.findall("testcase"))))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        suite.set("errors", "0")
        suite.set("skipped", "0")
    for total in ("tests", "failures", "errors", "skipped"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in root)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode")


def _add_case(suite: ET.Element, place: str, findings: list[Finding]) -> None:
    case = ET.SubElement(suite, "testcase", name=_xml(place), classname=_xml(findings[0].group))
    errors = [finding for finding in findings if finding.severity == "error"]
    warnings = [finding for finding in findings if finding.severity == "warning"]
    if errors:
        first = errors[0]
        failure = ET.SubElement(case, "failure", type=first.code, message=_xml(sentence(first)))
        failure.text = _xml("\n".join(f"{sentence(finding)} [{finding.code}]" for finding in errors))
    if warnings:
        output = ET.SubElement(case, "system-out")
        output.text = _xml("\n".join(f"{sentence(finding)} [{finding.code}]" for finding in warnings))


def _xml(text: str) -> str:
    return visible(text)


def as_github(report: Report) -> Iterator[str]:
    """Workflow commands that put each finding beside its line in a pull request, and a last one with the counts."""
    for finding in report.findings():
        place = {"file": _in_checkout(finding.file), "title": f"{finding.code} at {where(finding)}"}
        if finding.line:
            place["line"] = str(finding.line)
        yield _command(finding.severity, place.items(), sentence(finding))
    yield _command("notice", [("title", "curate validate")], summary(report))


def _in_checkout(file: str) -> str:
    """Annotations need paths relative to the checkout, which the command runs in."""
    path = Path(file)
    return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else file


def _command(name: str, properties: Iterable[tuple[str, str]], message: str) -> str:
    """https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts"""
    text = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    described = ",".join(f"{key}={_property(value)}" for key, value in properties)
    return f"::{name} {described}::{text}"


def _property(value: str) -> str:
    for char, escaped in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        value = value.replace(char, escaped)
    return value
