"""The dataset card of an export: ``README.md`` with the header that the Hugging Face Hub reads.

It says nothing of the machine it was written on (no paths, no times), and exporting the same again gives the same card.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.corpus import Corpus, Step
from curate.exports.card_commands import commands, policy_file, policy_of, policy_text, preset_of
from curate.exports.card_counts import Counts, count_exported
from curate.exports.card_header import header
from curate.select import Decisions, declared_sources

CARD: Final = "README.md"

_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>#|~$&@]|:(?=//))")
_LONGEST_CELL: Final = 300
_DEIDENTIFIED: Final = "not_deidentified"
"""The rule that drops samples which may identify someone."""
_IMAGES: Final = {
    "path": "Rows refer to pictures by path, relative to this directory: `images/ab/abcd….png` or `.jpg`, named by the "
    "SHA-256 of the file.",
    "base64": "Pictures are inside the rows, as base64.",
    "embed": "Pictures are inside the Parquet rows, as the bytes of PNG or JPEG files.",
}
_VERL_PATHS: Final = (
    "Rows refer to pictures by absolute path, as verl needs it: this directory must stay where it is, and cannot be "
    "published as it is; export with `--images embed` for that."
)


def write_card(
    directory: Path,
    corpus: Corpus,
    decisions: Decisions,
    sides: Sequence[npt.NDArray[np.int8]],
    description: Mapping[str, Any],
) -> None:
    """Write the card into the directory of an export whose data files are complete.

    ``sides`` says which samples are in it (:class:`curate.exports.plan.Plan`), ``description`` is the content of
    ``export.json``.
    """
    counts = count_exported(corpus, sides, directory / "skipped.jsonl")
    licenses = [str(row[0]) if row[0] is not None else None for row in counts.by("license")]
    files = sorted(description["files"], key=lambda file: str(file["path"]))
    top = header(description["format"], licenses=licenses, languages=counts.languages, files=files)
    body = "\n".join(_body(corpus, decisions, counts, description, files))
    (directory / CARD).write_text(f"{top}\n{body}\n", encoding="utf-8")


def _body(
    corpus: Corpus, decisions: Decisions, counts: Counts, description: Mapping[str, Any], files: list[dict[str, Any]]
) -> Iterator[str]:
    name, options = description["format"], description["options"]
    yield f"# Medical dataset in the format {_text(name)}"
    rows = sum(int(file["rows"]) for file in files)
    yield f"\n{counts.samples:,} samples in {rows:,} rows, curated with medcurate {_text(description['version'])}."
    yield from _section("Files and splits", _files(name, files, options, decisions))
    yield from _section(
        "Pictures", [_VERL_PATHS if name == "verl" and options["images"] == "path" else _IMAGES[options["images"]]]
    )
    yield from _section("Sources and licences", _sources(counts))
    yield from _section("Selection", _selection(decisions, description["counts"]))
    yield from _section("Judge", _judge(corpus, decisions))
    yield from _section("Contamination", _contamination(decisions))
    yield from _section(
        "Privacy", _privacy(counts, _declared(corpus, decisions, options), _ignored(decisions, options))
    )
    yield from _section("Provenance", _provenance(corpus, decisions, description))


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield f"\n## {title}\n"
    yield from lines


def _files(
    format_name: str, files: list[dict[str, Any]], options: Mapping[str, Any], decisions: Decisions
) -> Iterator[str]:
    rows = [(file["path"], file["split"], int(file["rows"]), int(file["sample_count"])) for file in files]
    yield from _table(("file", "split", "rows", "samples"), rows)
    if {file["split"] for file in files} == {"train", "val"}:
        yield ""
        together = (policy_of(decisions).get("split") or {}).get("together") or []
        linked = f", or a value of {', '.join(map(_text, together))}," if together else ""
        yield (
            f"Samples that share a picture{linked} are on the same side. Validation was to have a share of "
            f"{options['val_fraction']}, drawn with seed {options['seed']}."
        )
    yield ""
    yield "Every row carries the id of its sample. `datasets.load_dataset` reads this directory" + (
        " where `image` is a string in every row." if format_name == "image-caption" else "."
    )


def _sources(counts: Counts) -> Iterator[str]:
    rows = [
        (source, license_name or "none given", kind, n)
        for source, license_name, kind, n in counts.by("source", "license", "kind")
    ]
    yield from _table(("source", "licence", "kind", "samples"), rows)
    if any(name is None for name, _ in counts.by("license")):
        yield ""
        yield "Samples without a licence may not be free to share: ask their source."


def _selection(decisions: Decisions, counts: Mapping[str, Any]) -> Iterator[str]:
    policy = policy_of(decisions)
    if digest := decisions.account.get("policy_sha256"):
        yield f"Policy {_text(policy.get('name', decisions.path.stem))}, SHA-256 `{_text(digest)}`."
    if policy.get("description"):
        yield f"{_text(policy['description'])}\n"
    dropped = decisions.total - decisions.kept
    yield f"Of {decisions.total:,} samples {decisions.kept:,} were kept and {dropped:,} dropped:\n"
    told = {str(rule.get("name")): rule for rule in policy.get("rules") or () if isinstance(rule, dict)}
    least = (policy.get("judge") or {}).get("min_score")
    told |= {
        "where": {"when": f"not ({decisions.account.get('where')})"},
        "low_score": {"when": f"mean score < {least}"},
    }
    rows = [
        (rule, told.get(rule, {}).get("when", "built in"), told.get(rule, {}).get("basis") or "", n)
        for rule, n in decisions.dropped.items()
    ]
    yield from _table(("rule", "condition", "basis", "dropped"), rows)
    others, skipped = counts.get("other_kinds") or {}, counts.get("skipped") or {}
    if others:
        yield f"\nKept, of kinds that this format does not hold: {_listed(others)}."
    if skipped:
        yield f"\nKept, and could not be written (`skipped.jsonl` says why of each): {_listed(skipped)}."


def _judge(corpus: Corpus, decisions: Decisions) -> Iterator[str]:
    step = _last(corpus, "judge")
    if not decisions.judged or step is None:
        yield "No sample was judged by a model."
        return
    yield f"Scored by the model {_text(step.parameters.get('model', 'unknown'))} from 0 to 5 in five dimensions."
    if step.parameters.get("endpoint") == "demo":
        yield "\n**This is the demo judge: a few fixed rules, no medical judgement.**"
    unscored = sum(decisions.unjudged.values())
    left = f"{unscored:,} of the kept samples have no score: {_listed(decisions.unjudged)}."
    yield f"\n{left if unscored else 'Every kept sample has a score.'}\n"
    rubrics = [
        (name.removeprefix("rubric."), digest) for name, digest in step.hashes.items() if name.startswith("rubric.")
    ]
    yield from _table(("rubric for", "SHA-256"), rubrics)


def _contamination(decisions: Decisions) -> Iterator[str]:
    gate = policy_of(decisions).get("contamination")
    if not gate:
        yield "**Not checked**: the data was not compared with any benchmark."
        return
    names = [str(part.get("name")) for part in gate.get("benchmarks") or () if isinstance(part, dict)]
    dropped = {rule: n for rule, n in decisions.dropped.items() if rule.startswith("contaminated")}
    yield f"Compared with {', '.join(map(_text, names))} by picture and by question."
    yield f"Dropped: {_listed(dropped) or 'none'}."


def _privacy(counts: Counts, declared: Sequence[str], ignored: Collection[str]) -> Iterator[str]:
    marked = sum(int(str(n)) for _, n in counts.by("source", where=pl.col("privacy") == "deidentified"))
    identified = counts.by("source", where=pl.col("privacy") == "identified")
    unknown = sum(int(str(n)) for _, n in counts.by("source", where=pl.col("privacy") == "unknown"))
    yield f"- {marked:,} sample(s) come from DICOM files that are marked as de-identified."
    named = [row for row in identified if row[0] in declared]
    if named:
        yield (
            f"- {_total(named):,} sample(s) come from DICOM files without such a mark. Whoever made this dataset "
            "declared that they identify nobody:"
        )
        yield from (f"  - {_text(source)}: {n:,} sample(s)" for source, n in named)
    unnamed = [row for row in identified if row[0] not in declared]
    if unnamed:
        why = f": the rule {_DEIDENTIFIED} was ignored for:" if _DEIDENTIFIED in ignored else ":"
        yield (
            f"- **{_total(unnamed):,} sample(s) come from DICOM files without such a mark, and are NOT declared to "
            f"identify nobody**{why}"
        )
        yield from (f"  - {_text(source)}: {n:,} sample(s)" for source, n in unnamed)
    others = [source for source in declared if source not in {row[0] for row in identified}]
    if others:
        yield f"- Also declared, with no such sample in here: {', '.join(map(_text, others))}."
    yield f"- {unknown:,} sample(s) do not come from DICOM files: nothing says whether they identify anybody."
    yield "- No picture carries a DICOM header; what records keep of it is in their field `dicom`, if they have one."
    yield "- Text that is burnt into pictures was not looked for."


def _total(rows: Iterable[tuple[object, ...]]) -> int:
    return sum(int(str(row[-1])) for row in rows)


def _provenance(corpus: Corpus, decisions: Decisions, description: Mapping[str, Any]) -> Iterator[str]:
    rows = [(f"ids of {file['path']}, in order", file["samples"]) for file in description["files"]]
    rows.append(("listing of the raw data and how it was read", corpus.info.input_hash))
    samples = (decisions.account.get("corpus") or {}).get("samples")
    rows += [("samples that were selected from", samples)] if samples else []
    yield from _table(("SHA-256 of", "value"), rows)
    yield f"\nMade from the same corpus by:\n\n{_fenced('sh', commands(corpus, decisions, description))}"
    if description["options"].get("selection"):
        file = preset_of(decisions) is None
        told = f"The file {_text(policy_file(decisions))} holds this policy:" if file else "The preset is this policy:"
        yield f"\n{told}\n\n{_fenced('yaml', policy_text(policy_of(decisions)))}"
    yield "\n`curate explain FILE:ROW` tells the story of a row: its origin, what is known of it, and why it was kept."


def _fenced(language: str, text: str) -> str:
    """A block of code, whatever backticks are in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _declared(corpus: Corpus, decisions: Decisions, options: Mapping[str, Any]) -> list[str]:
    """Sources that the user declared de-identified, here, in a policy or to the judge."""
    named = [*(policy_of(decisions).get("declare_deidentified") or ()), *(options.get("declared_deidentified") or ())]
    return declared_sources(corpus, list(map(str, named)))


def _ignored(decisions: Decisions, options: Mapping[str, Any]) -> set[str]:
    """Built-in rules that did not apply."""
    return {*(policy_of(decisions).get("ignore_rules") or ()), *(options.get("ignore_rules") or ())}


def _last(corpus: Corpus, name: str) -> Step | None:
    return next((step for step in reversed(corpus.info.steps) if step.name == name), None)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{_text(name)} {count:,}" for name, count in counts.items())


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A Markdown table; numbers are aligned to the right. Without rows a dash."""
    body = [list(row) for row in rows]
    if not body:
        yield "-"
        return
    yield f"| {' | '.join(columns)} |"
    yield f"|{'|'.join('--:' if isinstance(value, int) else '---' for value in body[0])}|"
    for row in body:
        yield f"| {' | '.join(f'{value:,}' if isinstance(value, int) else _text(value) for value in row)} |"


def _text(value: object) -> str:
    """Text from outside that Markdown shows as it is: on one line, of bounded length, and without markup."""
    line = " ".join("".join(char if char.isprintable() else " " for char in str(value)).split())
    short = line if len(line) <= _LONGEST_CELL else f"{line[:_LONGEST_CELL]} …"
    return _MARKUP.sub(r"\\\1", short)
