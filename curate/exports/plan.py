"""Which samples an export takes, and on which side of the split each belongs; decided before anything is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, UserError
from curate.exports.job import Split
from curate.exports.options import FORMATS, ExportOptions
from curate.exports.splits import Links, validation_rows, value_keys
from curate.exports.turns import lengths
from curate.rewards import known_types
from curate.select import Decisions
from curate.select.draws import content_keys
from curate.select.facts import check_columns, fact_columns, read_facts
from curate.select.policy_sections import Split as SplitSection

_LEFT_OUT, _TRAIN, _VAL = range(3)


@dataclass
class Plan:
    """The samples of an export, shard by shard."""

    sides: list[npt.NDArray[np.int8]] = field(default_factory=list)
    """For every sample of each shard: left out, training or validation."""
    copies: list[npt.NDArray[np.int32]] = field(default_factory=list)
    """How often each sample is written when it is for training; validation has each once."""
    unlinked: bool = False
    """Whether there is a split, and no column that tells patients or studies has a value."""
    other_kinds: Counter[str] = field(default_factory=Counter)
    """Selected samples of kinds that the format cannot hold."""

    @property
    def samples(self) -> int:
        """How many samples are to be exported."""
        return sum(int(np.count_nonzero(side)) for side in self.sides)

    @property
    def repeats(self) -> int:
        """How many rows are written beside one for each sample."""
        pairs = zip(self.sides, self.copies, strict=True)
        return sum(int((copies[side == _TRAIN] - 1).sum()) for side, copies in pairs)

    def chosen(self, table: pa.Table, shard: int, split: Split) -> pa.Table:
        """The samples of a shard that go to this side, of a table of all of them."""
        flags = self.sides[shard] == (_TRAIN if split == "train" else _VAL)
        return table if flags.all() else table.filter(pa.array(flags))

    def repeated(self, table: pa.Table, shard: int) -> Iterator[pa.Table]:
        """Those of the same that are written again: the samples with a second copy, those with a third, ..."""
        copies = np.where(self.sides[shard] == _TRAIN, self.copies[shard], 1)
        for number in range(1, int(copies.max(initial=1))):
            yield table.filter(pa.array(copies > number))


def make_plan(
    corpus: Corpus,
    decisions: Decisions,
    format_name: str,
    options: ExportOptions,
    together: Sequence[str] | None = None,
) -> Plan:
    """Read the columns that decide, and decide.

    ``together`` names the columns whose equal values keep samples on one side of the split, beside shared pictures;
    None for those that a policy has by default. Raises UserError when no selected sample fits the format, when verl
    would get a query without a reward, or for a column that does not exist.
    """
    plan = Plan()
    kinds = pa.array(FORMATS[format_name].kinds, pa.string())
    unknown = _UnknownTypes()
    image_keys, images_per_row, row_keys = [], [], []
    split = bool(options.val_fraction)
    linking = _Linking(corpus, SplitSection().together if together is None else together) if split else None
    columns = ["kind", "query_type", "file", "row", *(["id", "images.list.element.sha256"] if split else [])]
    for number, shard in enumerate(corpus.shards()):
        with pq.ParquetFile(shard) as file:
            table = file.read(columns=columns)
        kept = decisions.kept_rows(number).to_numpy(zero_copy_only=False)
        kind = table.column("kind")
        fits = kept & pc.is_in(kind, kinds).to_numpy()
        plan.other_kinds.update(kind.filter(pa.array(kept & ~fits)).to_pylist())
        plan.sides.append(fits.astype(np.int8))
        plan.copies.append(decisions.copies(number))
        chosen = table.filter(pa.array(fits))
        if format_name == "verl":
            unknown.note(chosen)
        if linking is not None:
            linking.note(shard, fits)
            images = chosen.column("images").combine_chunks()
            images_per_row.append(lengths(images))
            image_keys.append(content_keys(images.flatten().field("sha256").to_pylist()))
            row_keys.append(content_keys(chosen.column("id").to_pylist()))
    unknown.check()
    if not plan.samples:
        raise UserError(_nothing(format_name, decisions, plan))
    if linking is not None:
        links = linking.links()
        plan.unlinked = not any(len(link.row) for link in links)
        validation = validation_rows(
            np.concatenate(image_keys),
            np.concatenate(images_per_row),
            np.concatenate(row_keys),
            fraction=options.val_fraction or 0.0,
            seed=options.seed or 0,
            together=links,
        )
        _assign(plan, validation)
    return plan


def _assign(plan: Plan, validation: npt.NDArray[np.bool_]) -> None:
    start = 0
    for side in plan.sides:
        taken = np.flatnonzero(side)
        side[taken[validation[start : start + len(taken)]]] = _VAL
        start += len(taken)


class _Linking:
    """The values by which exported rows belong together, in the order of the rows."""

    def __init__(self, corpus: Corpus, columns: Sequence[str]) -> None:
        self._corpus = corpus
        self._columns = list(dict.fromkeys(columns))
        self._rows = 0
        self._found: dict[str, list[Links]] = {name: [] for name in self._columns}
        if self._columns:
            known = fact_columns(corpus)
            try:
                check_columns(self._columns, known)
            except UserError as error:
                raise UserError(f"split.together: {error}") from None
            for name in self._columns:
                if name in known and known[name].is_nested():
                    raise UserError(f"split.together: the column {name!r} holds lists; name one with a value a sample")

    def note(self, shard: Path, fits: npt.NDArray[np.bool_]) -> None:
        """Read the values of the rows of a shard that are exported."""
        if self._columns and fits.any():
            facts = read_facts(self._corpus, shard, self._columns).filter(pl.Series(fits))
            for name in self._columns:
                self._found[name].append(_links(facts[name], self._rows))
        self._rows += int(np.count_nonzero(fits))

    def links(self) -> list[Links]:
        """The values of all shards, for each column that has any."""
        return [
            Links(np.concatenate([links.row for links in found]), np.concatenate([links.key for links in found]))
            for found in self._found.values()
            if found
        ]


def _links(values: pl.Series, first_row: int) -> Links:
    """The rows that have a value; white space around it does not matter, and a blank one is none."""
    # A column of numbers with gaps makes 17.0 of 17 in pandas, and a list of one is that one.
    texts = values.cast(pl.String).str.replace(r'^\[\s*"?([^,"\]]*)"?\s*\]$', "$1").str.strip_chars()
    texts = texts.str.replace(r"^(-?\d+)\.0+$", "$1")
    given = (texts.is_not_null() & (texts != "")).fill_null(value=False)
    rows = given.arg_true().cast(pl.Int64).to_numpy() + first_row
    frame = texts.filter(given).rename("value").to_frame()
    names = frame.unique(maintain_order=True)
    keys = names.with_columns(key=pl.Series(value_keys(names["value"].to_list()), dtype=pl.UInt64))
    return Links(rows, frame.join(keys, on="value", how="left", maintain_order="left")["key"].to_numpy())


class _UnknownTypes:
    """Query types that no reward knows, with the first place of each."""

    def __init__(self) -> None:
        self._known = known_types()
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def note(self, table: pa.Table) -> None:
        types: list[Any] = table.column("query_type").to_pylist()
        for position, name in enumerate(types):
            if name not in self._known:
                self._counts[str(name)] += 1
                if str(name) not in self._first:
                    place = table.slice(position, 1).select(["file", "row"]).to_pylist()[0]
                    self._first[str(name)] = f"{place['file']}:{place['row']}"

    def check(self) -> None:
        if self._counts:
            found = ", ".join(
                f"{name!r} in {count:,} sample(s), first {self._first[name]}"
                for name, count in self._counts.most_common(5)
            )
            raise UserError(
                f"no reward is known for query_type {found}; known are {', '.join(self._known)}. Change the "
                f"records, or leave them out with --where \"query_type <> '{next(iter(self._counts))}'\""
            )


def _nothing(format_name: str, decisions: Decisions, plan: Plan) -> str:
    dropped = ", ".join(f"{rule} {count:,}" for rule, count in decisions.dropped.items())
    others = ", ".join(f"{kind} {count:,}" for kind, count in sorted(plan.other_kinds.items()))
    return (
        f"there is nothing to export: of {decisions.total:,} sample(s) {decisions.total - decisions.kept:,} were "
        f"dropped{f' ({dropped})' if dropped else ''} and {plan.other_kinds.total():,} are of other kinds"
        f"{f' ({others})' if others else ''}; {format_name} takes {', '.join(FORMATS[format_name].kinds)}"
    )
