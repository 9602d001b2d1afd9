"""Which samples of the parent corpus are converted: those of the right kind, and of a selection where one is named."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, Kind, UserError
from curate.sources.derive.account import Passed
from curate.sources.derive.balance import CONVERT, LEAVE, States
from curate.sources.derive.options import ConvertOptions


def choose(
    parent: Corpus, shards: Sequence[Path], kinds: Sequence[Kind], options: ConvertOptions
) -> tuple[list[States], Passed]:
    """For every sample, shard by shard, whether it is converted or left, and the counts of those that are left.

    Raises UserError when nothing is to be converted, or the selection does not exist or is about other samples.
    """
    selection = None if options.selection is None else _selection(parent, options.selection)
    wanted = pa.array(kinds, pa.string())
    states, others, not_selected = [], Counter[str](), 0
    for number, shard in enumerate(shards):
        try:
            table = pq.read_table(shard, columns=["id", "kind"] if selection else ["kind"])
        except (OSError, pa.ArrowException) as error:
            cause = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"{shard} cannot be read ({cause}): ingest the raw data of its corpus again") from None
        fits = pc.is_in(table["kind"], wanted).to_numpy()
        kept: npt.NDArray[np.bool_] = np.ones(table.num_rows, bool)
        if selection is not None:
            kept = _kept(parent, selection, len(shards), number, table["id"])
        others.update(table["kind"].filter(pa.array(kept & ~fits)).to_pylist())
        not_selected += int(np.count_nonzero(~kept))
        states.append(np.where(fits & kept, CONVERT, LEAVE).astype(np.uint8))
    total = sum(map(len, states))
    if not any((state == CONVERT).any() for state in states):
        raise UserError(_nothing(parent, kinds, options, total, not_selected, others))
    digest = None
    if selection is not None:
        with selection.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return states, Passed(total, not_selected, dict(sorted(others.items())), digest)


def _selection(parent: Corpus, name: str) -> Path:
    """The decisions of a selection of the corpus."""
    known = {path.stem: path for path in sorted((parent.path / "decisions").glob("*.parquet"))}
    if name in known:
        return known[name]
    if not known:
        raise UserError(f"{parent.path} has no selection; make one with: curate select {parent.path}")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    raise UserError(f"{parent.path} has no selection {name!r}; {hint}")


def _kept(parent: Corpus, selection: Path, shards: int, number: int, ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """For every sample of a shard whether the selection keeps it."""
    stale = f"the selection {selection.stem!r} is about other samples than {parent.path} holds now: make it again"
    try:
        with pq.ParquetFile(selection) as file:
            if file.num_row_groups != shards:
                raise UserError(stale)
            table = file.read_row_group(number, columns=["id", "kept"])
    except (OSError, KeyError, pa.ArrowException) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{selection} cannot be read ({cause}): make the selection again") from None
    if table.column_names != ["id", "kept"] or not table["id"].combine_chunks().equals(ids.combine_chunks()):
        raise UserError(stale)
    kept: npt.NDArray[np.bool_] = pc.fill_null(table["kept"], False).to_numpy()
    return kept


def _nothing(
    parent: Corpus, kinds: Sequence[Kind], options: ConvertOptions, total: int, not_selected: int, others: Counter[str]
) -> str:
    takes = f"--to {options.to} takes samples of kind {' or '.join(kinds)}"
    if not total:
        return f"{parent.path} holds no samples; fill it with: curate ingest RAW -o {parent.path}"
    holds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(others.items()))
    if not_selected:
        left = f"the selection {options.selection!r} keeps {total - not_selected:,} of {total:,} samples"
        return f"{takes}, and {left}" + (f": {holds}" if holds else "")
    return f"{takes}, and {parent.path} has none: it holds {holds}"
