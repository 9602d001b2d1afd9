"""What can be compared: a selection, an export or a corpus, by what a person calls it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal

import orjson
import polars as pl
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.accounts.decided import account_of, selection_paths
from curate.accounts.exported import corpus_of, data_files, id_batches, marker_of
from curate.accounts.lookup import first_line, is_file, is_folder
from curate.corpus import Corpus, UserError

Kind = Literal["selection", "export", "corpus"]

KEPT = "kept"
SKIPPED = "skipped by the export"
_SEED: Final = 7
"""Of the hash by which samples are put into parts."""
_BATCH: Final = 16_384
_SPILL_ROWS: Final = 1_000_000
"""Rows of an export that are held before they are written aside."""


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
    if is_file(path / "corpus.json"):
        corpus = Corpus.open(path)
        return Side(name, "corpus", path, corpus)
    if (marker := marker_of(path)) is not None:
        owner = corpus_of(path)
        options = marker.get("options")
        settings = {"format": marker.get("format"), **(options if isinstance(options, dict) else {})}
        return Side(name, "export", path, _corpus_at(owner), settings, marker.get("version"))
    if path.suffix == ".parquet" and is_file(path):
        return _selection(name, path, _corpus_at(path.absolute().parent.parent))
    folder, hash_sign, selection = name.rpartition("#")
    corpus = _corpus_named(name, Path(folder) if hash_sign else default)
    found = corpus.path / "decisions" / f"{selection}.parquet"
    if Path(selection).name != selection or not is_file(found):
        raise UserError(
            f"{name} is no selection of {corpus.path}, and no corpus or export{_there_are(corpus, selection)}"
        )
    return _selection(name, found, corpus)


def _check_one_meaning(name: str, path: Path, default: Path) -> None:
    if path.name == name and is_folder(path) and is_file(default / "decisions" / f"{name}.parquet"):
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
    except (UserError, OSError) as error:
        cause = f"{path} is no corpus" if isinstance(error, OSError) else str(error)
        raise UserError(
            f"{name} is no corpus, export or decisions file, and the name of a selection needs a corpus: {cause}; give "
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
    except (UserError, OSError):
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
        self._exported: _ExportedParts | None = None

    def __enter__(self) -> Keyed:
        return self

    def __exit__(self, *error: object) -> None:
        if self._exported is not None:
            self._exported.close()

    def part(self, number: int, parts: int) -> pl.DataFrame:
        """One of ``parts`` parts."""
        if self._side.kind == "export":
            if self._exported is None:
                self._exported = _ExportedParts(self._side.path, parts)
            found = self._exported.read(number)
        else:
            found = collect(_selection_frame(self._side.path).filter(in_part(number, parts)), self._side.path)
        self.samples += len(found)
        return found


def in_part(number: int, parts: int) -> pl.Expr:
    """Whether a row with an ``id`` belongs to a part."""
    return pl.col("id").hash(seed=_SEED) % parts == number if parts > 1 else pl.lit(value=True)


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


_LISTED: Final = pl.Schema({"id": pl.String, "label": pl.String, "position": pl.Int64})


class _ExportedParts:
    """The rows of an export in parts by a hash of the id: its files are read once, and memory is that of a part."""

    def __init__(self, directory: Path, parts: int) -> None:
        self._folder = TemporaryDirectory(prefix="curate-diff-") if parts > 1 else None
        self._kept: dict[int, list[pl.DataFrame]] = {number: [] for number in range(parts)}
        self._written = 0
        try:
            for rows in _export_rows(directory):
                self._add(rows, parts)
        except BaseException:
            self.close()
            raise

    def _add(self, rows: pl.DataFrame, parts: int) -> None:
        if self._folder is None:
            self._kept[0].append(rows)
            return
        numbered = rows.with_columns((pl.col("id").hash(seed=_SEED) % parts).alias("part"))
        for (number,), some in numbered.partition_by("part", as_dict=True, include_key=False).items():
            self._kept[number].append(some)
        self._written += len(rows)
        if self._written >= _SPILL_ROWS:
            self._spill(self._folder.name)

    def _spill(self, folder: str) -> None:
        for number, frames in self._kept.items():
            if frames:
                place = Path(folder) / str(number)
                place.mkdir(exist_ok=True)
                pl.concat(frames).write_ipc(place / f"{len(list(place.iterdir())):06}.arrow")
            self._kept[number] = []
        self._written = 0

    def read(self, number: int) -> pl.DataFrame:
        """The samples of a part: in training or validation, how often, and those that the export had to skip."""
        place = None if self._folder is None else Path(self._folder.name) / str(number)
        files = sorted(place.iterdir()) if place is not None and place.is_dir() else []
        spilled = [pl.read_ipc(file) for file in files]
        rows = pl.concat([pl.DataFrame(schema=_LISTED), *spilled, *self._kept[number]])
        skips = pl.col("label") == SKIPPED
        kept = (
            rows.filter(~skips)
            .group_by("id")
            .agg(
                pl.col("label").sort_by("position").first(), copies=pl.len().cast(pl.Int32), position=pl.min("position")
            )
        )
        skipped = rows.filter(skips).unique("id", keep="first", maintain_order=True)
        left_out = skipped.with_columns(copies=pl.lit(0, pl.Int32)).join(kept, on="id", how="anti")
        columns = ("id", "label", "copies", "position")
        return pl.concat([kept.select(columns), left_out.select(columns)]).with_columns(kept=pl.col("copies") > 0)

    def close(self) -> None:
        """Remove what was written aside."""
        if self._folder is not None:
            self._folder.cleanup()


def _export_rows(directory: Path) -> Iterator[pl.DataFrame]:
    """The rows of an export's files, then what it skipped: id, label, and where it stands."""
    start = 0
    for file, split in data_files(directory):
        for ids, chunk in id_batches(directory / file):
            rows = pl.DataFrame({"id": pl.Series(ids, dtype=pl.String)}).select(
                "id", label=pl.lit(split), position=start + pl.int_range(pl.len(), dtype=pl.Int64)
            )
            start += len(rows)
            # Of a document that is cut into several rows the first is counted.
            whole = rows if chunk is None else rows.filter(pl.Series(pc.equal(chunk, 1)))
            yield whole.filter(pl.col("id").is_not_null())
    skipped = _skipped(directory)
    while ids := list(islice(skipped, _BATCH)):
        places = pl.int_range(pl.len(), dtype=pl.Int64)
        yield pl.DataFrame({"id": ids}, schema={"id": pl.String}).select(
            "id", label=pl.lit(SKIPPED), position=start + places
        )
        start += len(ids)


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
