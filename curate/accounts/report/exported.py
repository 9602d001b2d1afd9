"""The exports that were made of a selection, and which samples are in them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.accounts.exported import data_files, id_batches
from curate.accounts.report.selection import Selection
from curate.corpus import Corpus, Step, UserError
from curate.exports.options import FORMATS

State = Literal["there", "gone", "overwritten", "earlier", "unreadable"]


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
    """Whether the directory still holds it. ``earlier``: the selection has been made anew since, and is another now, so
    that these are not its rows."""

    @property
    def label(self) -> str:
        """Format and directory, the latter without the path that leads to it."""
        return f"{self.format} ({self.directory.name})"

    @property
    def countable(self) -> bool:
        """Whether it is known which samples are in it: those of these decisions, as its rows were found to be."""
        return self.format in FORMATS and self.state == "there"

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
        exported = _exported(directory, str(parameters.get("format")), step)
        if (step.counts.get("kept"), step.counts.get("dropped")) != now:
            exported = replace(exported, state="earlier")
        latest[str(directory)] = exported
    return [_compared(corpus, selection, exported) for exported in latest.values()]


def _compared(corpus: Corpus, selection: Selection, exported: Exported) -> Exported:
    """The same, with a state that says whether its rows are the samples of the decisions, each as often as they say."""
    if not exported.countable:
        return exported
    rows: dict[str, list[npt.NDArray[np.uint64]]] = {"train": [], "val": []}
    try:
        for file, split in data_files(exported.directory):
            for ids, chunk in id_batches(exported.directory / file):
                # Of a document that is cut into several rows the first is counted.
                first = ids if chunk is None else ids.filter(pc.equal(chunk, 1))
                rows.setdefault(split, []).append(_keys(pl.Series(first.cast(pa.string()), dtype=pl.String)))
    except UserError:
        return replace(exported, state="unreadable")
    found = {split: np.sort(np.concatenate(parts or [_NO_KEYS])) for split, parts in rows.items()}
    asked = [_asked(corpus, selection, exported, number) for number in range(len(corpus.shards()))]
    keys, copies = (np.concatenate(parts) for parts in zip(*asked, strict=True))
    once = np.isin(keys, found["val"])  # validation has every sample once
    train = np.sort(np.repeat(keys[~once], copies[~once]))
    same = np.array_equal(np.sort(keys[once]), found["val"]) and np.array_equal(train, found["train"])
    return exported if same else replace(exported, state="earlier")


_NO_KEYS: Final = np.empty(0, np.uint64)


def _keys(ids: pl.Series) -> npt.NDArray[np.uint64]:
    """64 bits for every id, by which ids are compared in an eighth of the memory."""
    keys: npt.NDArray[np.uint64] = ids.hash(seed=11).to_numpy()
    return keys


def _asked(
    corpus: Corpus, selection: Selection, exported: Exported, number: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
    """The samples of a shard that the decisions put into an export, and how often."""
    kinds = pl.read_parquet(corpus.shards()[number], columns=["kind"])
    rows = selection.rows(number).select("id", "kept", "copies").hstack(kinds)
    held = rows.filter(exported.holds(rows))
    return _keys(held["id"]), held["copies"].to_numpy()


def _counts(selection: Selection) -> tuple[int, dict[str, int]]:
    """Kept samples, and dropped ones by rule."""
    rows = pl.scan_parquet(selection.path).group_by("kept", "rule").len().collect()
    dropped = {rule: number for kept, rule, number in rows.iter_rows() if not kept}
    return int(rows.filter("kept")["len"].sum()), dropped


def _exported(directory: Path, format_name: str, step: Step) -> Exported:
    at, counts = step.at, step.counts
    try:
        written = orjson.loads((directory / "export.json").read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return Exported(format_name, directory, at, counts, state="gone")
    same = isinstance(written, dict) and written.get("format") == format_name
    files = written.get("files") if same else None
    hashes = {
        file.get("path"): file.get("samples")
        for file in (files if isinstance(files, list) else [])
        if isinstance(file, dict)
    }
    if not same or hashes != step.hashes:
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
