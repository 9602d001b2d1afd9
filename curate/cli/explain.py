"""``curate explain``: tell a sample's whole story."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

_LONGEST_TEXT = 1_000
"""Characters of a turn, a rationale or a meta value that are printed; ``--json`` has all of them."""
_NEIGHBOURS_SHOWN = 10
_HASH = re.compile(r"(?<![0-9a-zA-Z/])([0-9a-f]{12})[0-9a-f]{52}(?![0-9a-zA-Z.])")
"""An id or another SHA-256, of which the beginning says enough; in the name of a file it stays whole."""

Row = dict[str, Any]


@click.command()
@click.argument("what", metavar="ID|FILE:ROW")
@click.option(
    "--corpus",
    "corpus_path",
    type=click.Path(path_type=Path),
    help="The corpus the sample is in; by default that of the export whose row is named, else curated.",
)
@click.option(
    "--derived",
    "derived_paths",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="CORPUS",
    help="A corpus in which to look for samples made from this one. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the story as JSON on stdout, with nothing shortened.")
def command(what: str, corpus_path: Path | None, derived_paths: tuple[Path, ...], as_json: bool) -> int:
    """Tell where a sample came from, what is known of it, what was decided, and where it went.

    The sample is named by its id or the first 6 or more characters of it, by the row of raw data it was made from
    (captions.jsonl:12), or by a row of an export (exports/verl/train.parquet:12). Rows count from 1. A row that was
    rejected at ingest is told with the reason.
    """
    from dataclasses import asdict

    from curate.accounts.find import corpus_meant, find
    from curate.accounts.story import tell
    from curate.cli.console import print_json
    from curate.corpus import Corpus

    meant = corpus_path or corpus_meant(what) or Path("curated")
    corpus = Corpus.open(meant)
    derived = [Corpus.open(path) for path in derived_paths]
    found = find(corpus, what)
    rejected = asdict(found.rejected) if found.rejected else None
    story = None if found.sample_id is None else tell(corpus, found.sample_id, derived=derived)
    if as_json:
        print_json({"asked": what, "found": found.how, "rejected": rejected, "sample": story})
        return 0
    lines = [*_found(found.how, rejected), *(_story(story) if story is not None else [])]
    _print(lines)
    return 0


class _Lines(list[tuple[int, str]]):
    """Lines with their indentation."""

    def head(self, title: str) -> None:
        self.append((0, ""))
        self.append((0, title))

    def say(self, text: str, level: int = 1) -> None:
        self.extend((level, line) for line in text.split("\n"))

    def field(self, name: str, value: object, level: int = 1) -> None:
        if value not in (None, "", [], {}):
            self.say(f"{name}: {_value(value)}", level)


def _print(lines: list[tuple[int, str]]) -> None:
    """Print to stdout, wrapped between words where it is a terminal; a path is never broken."""
    import shutil
    import sys
    import textwrap

    from curate.cli.visible import visible

    width = max(20, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None
    shown: list[str] = []
    for level, text in lines:
        safe, indent = _HASH.sub(r"\1…", visible(text)).replace("\t", " "), "  " * level
        if width is None or len(indent + safe) <= width:
            shown.append(indent + safe)
        else:
            shown += textwrap.wrap(
                safe,
                width,
                initial_indent=indent,
                subsequent_indent=f"{indent}  ",
                break_long_words=False,
                break_on_hyphens=False,
            ) or [""]
    click.echo("\n".join(line.rstrip() for line in shown).strip("\n"))


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(part)}" for name, part in value.items() if part is not None)
    return _short(str(value))


def _short(text: str, longest: int = _LONGEST_TEXT) -> str:
    return text if len(text) <= longest else f"{text[:longest]} … ({len(text):,} characters)"


def _found(how: str, rejected: Row | None) -> _Lines:
    lines = _Lines()
    if rejected is not None:
        place = f"{rejected['file']}:{rejected['row']}" if rejected["row"] else rejected["file"]
        verb = "merged" if rejected["reason"] == "duplicate" else "rejected"
        lines.say(f"{place} was {verb} at ingest ({rejected['reason']}): {rejected['message']}", 0)
    elif how:
        lines.say(f"{how[:1].upper()}{how[1:]}", 0)
    return lines


def _story(story: Row) -> _Lines:
    lines = _Lines()
    lines.say(f"Sample {story['id']}", 0)
    for tell in (_origin, _content, _family, _measured, _judged, _decided, _duplicates, _evidence, _exported):
        tell(lines, story)
    if story["problems"]:
        lines.head("What could not be told")
        for problem in story["problems"]:
            lines.say(problem)
    return lines


def _origin(lines: _Lines, story: Row) -> None:
    lines.field("origin", story["origin"]["place"])
    lines.field("file", story["origin"]["path"] or "it is not where it was ingested from any more")
    for name in ("source", "license", "kind", "query_type", "privacy"):
        lines.field(name.replace("_", " "), story[name] or ("none" if name == "license" else None))
    for entry in story["merged"]:
        lines.field("the same content", f"{entry['file']}:{entry['row']}, merged into this sample at ingest")


def _content(lines: _Lines, story: Row) -> None:
    lines.head("Text")
    for turn in story["turns"]:
        lines.say(f"{turn['role']}: {_short(turn['text'])}")
    for choice in story["choices"]:
        lines.say(f"{choice['label']}. {_short(choice['text'])}", 2)
    lines.field("answer", story["answer"])
    for name, value in story["meta"].items():
        lines.field(f"meta.{name}", value)
    if story["pictures"]:
        lines.head("Pictures")
    for number, shown in enumerate(story["pictures"], 1):
        size = f"{shown['width']} x {shown['height']} pixels, {shown['bytes']:,} bytes, {shown['format']}"
        lines.say(f"{number}. {shown['path']}")
        lines.say(size if shown["state"] == "there" else f"{size}; the file is {shown['state']}", 2)


def _family(lines: _Lines, story: Row) -> None:
    parent = story["parent"]
    if parent is None and not story["children"]:
        return
    lines.head("Made from, and made of it")
    if parent is not None:
        where = f"{parent['place']} in {parent['corpus']}" if parent["corpus"] else "in no corpus that is at hand"
        lines.field("parent", f"{parent['id']} ({where})")
        lines.field("derived by", parent["derived"], 2)
    for child in story["children"]:
        lines.field("child", f"{child['id']} ({child['kind']}, {child['place']} in {child['corpus']})")


def _measured(lines: _Lines, story: Row) -> None:
    lines.head("Signals")
    if story["signals"] is None:
        lines.say(f"not measured yet; run: curate score {story['corpus']}")
        return
    told: dict[str, list[str]] = {}
    for entry in story["fired"]:
        for column in entry["columns"]:
            told.setdefault(column, []).append(entry["rule"])
    for name, value in story["signals"].items():
        if value is not None and value != [] and name != "signals_key":
            fires = f"  <- fires {', '.join(dict.fromkeys(told[name]))}" if name in told else ""
            lines.say(f"{name}: {_value(value)}{fires}")
    unknown = [name for name, value in story["signals"].items() if value in (None, []) and name != "signals_key"]
    lines.field("do not apply", unknown)
    if story["fired"]:
        lines.head("Rules that it violates as measured now")
    for entry in story["fired"]:
        everywhere = len(entry["selections"]) == len(story["decisions"]) > 1
        policies = "every selection" if everywhere else ", ".join(entry["selections"])
        lines.say(f"{entry['rule']}: {entry['reason']}  ({policies})")


def _judged(lines: _Lines, story: Row) -> None:
    lines.head("Verdict")
    verdict = story["verdict"]
    if verdict is None:
        lines.say("not judged")
        return
    given = {name.removeprefix("judge_"): value for name, value in verdict.items()}
    lines.field("status", given.pop("status", None))
    lines.field("reason", given.pop("reason", None))
    lines.field("decided", given.pop("verdict", None))
    lines.field("mean score of 5", given.pop("score", None))
    scores = {name: value for name, value in given.items() if isinstance(value, int)}
    for name, value in scores.items():
        lines.field(name.replace("_", " "), value, 2)
    for name in ("defects", "rationale", "model", "rubric"):
        lines.field(name, given.get(name))


def _decided(lines: _Lines, story: Row) -> None:
    lines.head("Selections")
    if not story["decisions"]:
        lines.say("none has been made yet")
    for row in story["decisions"]:
        if row["kept"] is None:
            what = "made from other samples than the corpus has now; select again"
        elif row["kept"]:
            copies = "" if row["copies"] in (None, 1) else f", {row['copies']} times"
            what = f"kept{copies}"
        else:
            what = f"dropped by {row['rule']}: {row['reason']}"
        when = f" ({row['at']})" if row["at"] else ""
        lines.say(f"{row['selection']}: {what}{when}")
        if row["related"]:
            lines.say(f"points to {row['related']}", 2)


def _duplicates(lines: _Lines, story: Row) -> None:
    duplicates = story["duplicates"]
    if not duplicates.get("kept_instead") and not duplicates.get("stands_for"):
        return
    lines.head("Duplicates")
    for heading, entries in (
        ("kept in its place", duplicates["kept_instead"]),
        ("it is kept in place of", duplicates["stands_for"]),
    ):
        for entry in entries[:_NEIGHBOURS_SHOWN]:
            place = f" ({entry['place']})" if "place" in entry else ""
            lines.say(f"{heading}: {entry['id']}{place}, by {entry['rule']} of {entry['selection']}")
            for path in entry.get("pictures", ()):
                lines.say(path, 2)
        if len(entries) > _NEIGHBOURS_SHOWN:
            lines.say(f"and {len(entries) - _NEIGHBOURS_SHOWN:,} more; --json has all of them")


def _evidence(lines: _Lines, story: Row) -> None:
    if story["contamination"]:
        lines.head("Found in benchmarks")
    for hit in story["contamination"]:
        _hit(lines, hit)
    if story["rollouts"]:
        lines.head("Rollouts")
    for run, row in story["rollouts"].items():
        given = {name.removeprefix("rollout_").replace("_", " "): value for name, value in row.items()}
        lines.say(f"{run}: {_value(given)}")


def _hit(lines: _Lines, hit: Row) -> None:
    from curate.accounts.hits import hit_sentence

    lines.say(hit_sentence(hit))
    for title, name in (
        ("the sample's picture", "picture"),
        ("the benchmark's picture", "benchmark_picture"),
        ("the sample says", "sample_text"),
        ("the benchmark says", "benchmark_text"),
        ("dropped for this benchmark in", "dropped_in"),
        ("kept all the same in", "kept_in"),
    ):
        lines.field(title, hit.get(name), 2)


def _exported(lines: _Lines, story: Row) -> None:
    lines.head("Exports")
    if not story["exports"]:
        lines.say("none has been made yet")
    for entry in story["exports"]:
        what = ", ".join(entry["rows"]) or ("not in it" if entry["state"] in ("there", "changed") else "")
        if entry["skipped"]:
            what = f"left out: {entry['skipped']}"
        told = "; ".join(part for part in (what, entry["sentence"]) if part)
        lines.say(f"{entry['directory']} ({entry['format']}, {entry['at']}): {told}")
