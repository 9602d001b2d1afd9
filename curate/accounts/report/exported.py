"""The exports that were made of a selection, and which samples are in them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import orjson
import polars as pl

from curate.accounts.report.selection import Selection
from curate.corpus import Corpus
from curate.exports.options import FORMATS

State = Literal["there", "gone", "overwritten", "earlier"]


@dataclass(frozen=True)
class Exported:
    """The last export of a selection into a directory."""

    format: str
    directory: Path
    at: str
    counts: dict[str, Any]
    skipped: frozenset[str] = field(default_factory=frozenset)
    """Ids of selected samples that could not be written."""
    state: State = "there"
    """Whether the directory still holds it. ``earlier``: the selection has been made anew since, and is another now."""

    @property
    def label(self) -> str:
        """Format and directory, the latter without the path that leads to it."""
        return f"{self.format} ({self.directory.name})"

    @property
    def countable(self) -> bool:
        """Whether it can be told which samples are in it."""
        if self.format not in FORMATS or self.state in ("earlier", "overwritten"):
            return False
        return self.state == "there" or not self.counts.get("skipped")

    @property
    def written(self) -> int:
        """Samples in its files."""
        written = self.counts.get("written")
        return written if isinstance(written, int) else 0

    def holds(self, frame: pl.DataFrame) -> pl.Series:
        """For samples with ``id``, ``kind`` and ``kept``, whether they are in the export."""
        held = frame["kept"] & frame["kind"].is_in(list(FORMATS[self.format].kinds))
        return held & ~frame["id"].is_in(list(self.skipped)) if self.skipped else held


def exports_of(corpus: Corpus, selection: Selection | None) -> list[Exported]:
    """The exports of a selection that the lineage knows, the newest of each directory, in the order they were made.

    An export without a selection of its own makes decisions that are called like its format.
    """
    if selection is None:
        return []
    now = _counts(selection)
    latest: dict[str, Exported] = {}
    for step in corpus.info.steps:
        parameters = step.parameters
        if step.name != "export" or (parameters.get("selection") or parameters.get("format")) != selection.name:
            continue
        directory = Path(str(parameters.get("directory", "")))
        latest.pop(str(directory), None)
        exported = _exported(directory, str(parameters.get("format")), step.at, step.counts)
        if (step.counts.get("kept"), step.counts.get("dropped")) != now:
            exported = replace(exported, state="earlier")
        latest[str(directory)] = exported
    return list(latest.values())


def _counts(selection: Selection) -> tuple[int, dict[str, int]]:
    """Kept samples, and dropped ones by rule."""
    rows = pl.scan_parquet(selection.path).group_by("kept", "rule").len().collect()
    dropped = {rule: number for kept, rule, number in rows.iter_rows() if not kept}
    return int(rows.filter("kept")["len"].sum()), dropped


def _exported(directory: Path, format_name: str, at: str, counts: dict[str, Any]) -> Exported:
    try:
        written = orjson.loads((directory / "export.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return Exported(format_name, directory, at, counts, state="gone")
    same = isinstance(written, dict) and written.get("format") == format_name
    its_counts = written.get("counts") if same else None
    if not isinstance(its_counts, dict) or its_counts.get("written") != counts.get("written"):
        return Exported(format_name, directory, at, counts, state="overwritten")
    return Exported(format_name, directory, at, counts, _skipped(directory / "skipped.jsonl"))


def _skipped(path: Path) -> frozenset[str]:
    ids = set()
    try:
        with path.open("rb") as lines:
            for line in lines:
                row = orjson.loads(line)
                if isinstance(row, dict) and isinstance(row.get("id"), str):
                    ids.add(row["id"])
    except (OSError, orjson.JSONDecodeError):
        return frozenset(ids)
    return frozenset(ids)
