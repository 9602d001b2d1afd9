"""What can be compared: a selection, an export or a corpus, by what a person calls it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson
import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.accounts.decided import account_of, selection_paths
from curate.accounts.exported import corpus_of, data_files, id_batches, marker_of
from curate.accounts.lookup import first_line
from curate.corpus import Corpus, UserError

Kind = Literal["selection", "export", "corpus"]

KEPT = "kept"
SKIPPED = "skipped by the export"


@dataclass(frozen=True)
class Side:
    """One of the two things compared."""

    name: str
    """As the person wrote it."""
    kind: Kind
    path: Path
    corpus: Corpus | None
    """Where its samples are described; None when that corpus is not at hand."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The policy of a selection, the options of an export; empty when nothing is recorded."""
    version: str | None = None
    """The version of curate that wrote it."""


def open_side(name: str, default: Path) -> Side:
    """What ``name`` stands for.

    It is the directory of a corpus or an export, a decisions file, ``CORPUS#SELECTION``, or the name of a selection of
    the corpus ``default``. Raises UserError when it is none of them, with the names that there are, or when it
    may be two.
    """
    path = Path(name)
    _check_one_meaning(name, path, default)
    if (path / "corpus.json").is_file():
        corpus = Corpus.open(path)
        return Side(name, "corpus", path, corpus)
    if (marker := marker_of(path)) is not None:
        owner = corpus_of(path)
        options = marker.get("options")
        settings = {"format": marker.get("format"), **(options if isinstance(options, dict) else {})}
        return Side(name, "export", path, _corpus_at(owner), settings, marker.get("version"))
    if path.suffix == ".parquet" and path.is_file():
        return _selection(name, path, _corpus_at(path.absolute().parent.parent))
    folder, hash_sign, selection = name.rpartition("#")
    corpus = _corpus_named(name, Path(folder) if hash_sign else default)
    found = corpus.path / "decisions" / f"{selection}.parquet"
    if Path(selection).name != selection or not found.is_file():
        raise UserError(
            f"{name} is no selection of {corpus.path}, and no corpus or export{_there_are(corpus, selection)}"
        )
    return _selection(name, found, corpus)


def _check_one_meaning(name: str, path: Path, default: Path) -> None:
    if path.name == name and path.is_dir() and (default / "decisions" / f"{name}.parquet").is_file():
        raise UserError(f"{name} is a directory and a selection of {default}; write ./{name} or {default}#{name}")


def _selection(name: str, path: Path, corpus: Corpus | None) -> Side:
    try:
        columns = pl.read_parquet_schema(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read as decisions: {first_line(error)}; select again") from None
    if columns.get("id") != pl.String() or columns.get("kept") != pl.Boolean():
        raise UserError(f"{path} holds no decisions: these have the columns id and kept, it has {', '.join(columns)}")
    account = account_of(path)
    policy = account.get("policy")
    settings = {**policy, "where": account.get("where")} if isinstance(policy, dict) else {}
    return Side(name, "selection", path, corpus, settings, account.get("version"))


def _corpus_named(name: str, path: Path) -> Corpus:
    try:
        return Corpus.open(path)
    except UserError as error:
        raise UserError(
            f"{name} is no corpus, export or decisions file, and the name of a selection needs a corpus: {error}; give "
            "--corpus CORPUS or CORPUS#SELECTION"
        ) from None


def _there_are(corpus: Corpus, selection: str) -> str:
    names = [path.stem for path in selection_paths(corpus)]
    near = difflib.get_close_matches(selection, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; its selections are: {', '.join(names)}" if names else "; it has no selections yet"


def _corpus_at(path: Path | None) -> Corpus | None:
    try:
        return None if path is None else Corpus.open(path)
    except UserError:
        return None


class Keyed:
    """The samples of a selection or export in parts, the same parts for every side: by a hash of the id.

    Columns: ``id``, ``kept``, ``label`` (kept, or the rule that dropped), ``copies``, ``position`` (order in the file).
    """

    def __init__(self, side: Side) -> None:
        self._side = side
        self.rows = _listed_rows(side.path) if side.kind == "export" else pq.read_metadata(side.path).num_rows
        """Rows on disk, by which the number of parts is chosen."""
        self.samples = 0
        """Samples in the parts that were read so far."""

    def part(self, number: int, parts: int) -> pl.DataFrame:
        """One of ``parts`` parts."""
        if self._side.kind == "export":
            found = _export_part(self._side.path, number, parts)
        else:
            found = collect(_selection_frame(self._side.path).filter(in_part(number, parts)), self._side.path)
        self.samples += len(found)
        return found


def in_part(number: int, parts: int) -> pl.Expr:
    """Whether a row with an ``id`` belongs to a part."""
    return pl.col("id").hash(seed=7) % parts == number if parts > 1 else pl.lit(value=True)


def collect(frame: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """The rows of a table read from ``path``; UserError when it cannot be read."""
    try:
        return frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from None


def _selection_frame(path: Path) -> pl.LazyFrame:
    table = pl.scan_parquet(path)
    there = table.collect_schema().names()
    kept = pl.col("kept").fill_null(value=False)
    once = kept.cast(pl.Int32)
    copies = pl.when(kept).then(pl.col("copies").cast(pl.Int32)).otherwise(0).fill_null(once)
    rule = pl.col("rule").cast(pl.String) if "rule" in there else pl.lit(None, pl.String)
    return table.with_row_index("position").select(
        "id",
        kept=kept,
        label=pl.when(kept).then(pl.lit(KEPT)).otherwise(rule.fill_null("no rule")),
        copies=copies if "copies" in there else once,
        position=pl.col("position").cast(pl.Int64),
    )


def _listed_rows(directory: Path) -> int:
    listed = (marker_of(directory) or {}).get("files")
    rows = [entry.get("rows") for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    return sum(count for count in rows if isinstance(count, int))


def _export_part(directory: Path, number: int, parts: int) -> pl.DataFrame:
    """Samples of an export: in training or validation, how often, and those that it had to skip."""
    frames, start = [pl.DataFrame(schema={"id": pl.String, "label": pl.String, "position": pl.Int64})], 0
    for file, split in data_files(directory):
        for ids, chunk in id_batches(directory / file):
            rows = pl.DataFrame({"id": pl.Series(ids, dtype=pl.String)}).select(
                "id", label=pl.lit(split), position=start + pl.int_range(pl.len(), dtype=pl.Int64)
            )
            # Of a document that is cut into several rows the first is counted.
            whole = rows if chunk is None else rows.filter(pl.Series(pc.equal(chunk, 1)))
            frames.append(whole.filter(in_part(number, parts) & pl.col("id").is_not_null()))
            start += len(rows)
    rows = pl.concat(frames)
    kept = rows.group_by("id").agg(pl.col("label").first(), copies=pl.len().cast(pl.Int32), position=pl.min("position"))
    named = pl.DataFrame({"id": list(_skipped(directory))}, schema={"id": pl.String}).unique(maintain_order=True)
    skipped = named.select(
        "id", label=pl.lit(SKIPPED), copies=pl.lit(0, pl.Int32), position=start + pl.int_range(pl.len())
    )
    left_out = skipped.filter(in_part(number, parts)).join(kept, on="id", how="anti")
    return pl.concat([kept, left_out]).select("id", "label", "copies", "position", kept=pl.col("copies") > 0)


def _skipped(folder: Path) -> Iterator[str]:
    path = folder / "skipped.jsonl"
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                yield str(orjson.loads(line)["id"])
            except (orjson.JSONDecodeError, KeyError, TypeError):
                raise UserError(f"{path}:{number} is no record of a skipped sample; export again") from None
