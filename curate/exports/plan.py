"""Which samples an export takes, and on which side of the split each belongs; decided before anything is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, UserError
from curate.exports.job import Split
from curate.exports.options import FORMATS, ExportOptions
from curate.exports.splits import content_keys, validation_rows
from curate.exports.turns import lengths
from curate.rewards import known_types
from curate.select import Decisions

_LEFT_OUT, _TRAIN, _VAL = range(3)


@dataclass
class Plan:
    """The samples of an export, shard by shard."""

    sides: list[npt.NDArray[np.int8]] = field(default_factory=list)
    """For every sample of each shard: left out, training or validation."""
    other_kinds: Counter[str] = field(default_factory=Counter)
    """Selected samples of kinds that the format cannot hold."""

    @property
    def samples(self) -> int:
        """How many samples are to be exported."""
        return sum(int(np.count_nonzero(side)) for side in self.sides)

    def chosen(self, table: pa.Table, shard: int, split: Split) -> pa.Table:
        """The samples of a shard that go to this side, of a table of all of them."""
        flags = self.sides[shard] == (_TRAIN if split == "train" else _VAL)
        return table if flags.all() else table.filter(pa.array(flags))


def make_plan(corpus: Corpus, decisions: Decisions, format_name: str, options: ExportOptions) -> Plan:
    """Read the columns that decide, and decide.

    Raises UserError when no selected sample fits the format, or when verl would get a query without a reward.
    """
    plan = Plan()
    kinds = pa.array(FORMATS[format_name].kinds, pa.string())
    unknown = _UnknownTypes()
    image_keys, images_per_row, row_keys = [], [], []
    split = bool(options.val_fraction)
    columns = ["kind", "query_type", "file", "row", *(["id", "images.list.element.sha256"] if split else [])]
    for number, shard in enumerate(corpus.shards()):
        with pq.ParquetFile(shard) as file:
            table = file.read(columns=columns)
        kept = decisions.kept_rows(number).to_numpy(zero_copy_only=False)
        kind = table.column("kind")
        fits = kept & pc.is_in(kind, kinds).to_numpy()
        plan.other_kinds.update(kind.filter(pa.array(kept & ~fits)).to_pylist())
        plan.sides.append(fits.astype(np.int8))
        chosen = table.filter(pa.array(fits))
        if format_name == "verl":
            unknown.note(chosen)
        if split:
            images = chosen.column("images").combine_chunks()
            images_per_row.append(lengths(images))
            image_keys.append(content_keys(images.flatten().field("sha256").to_pylist()))
            row_keys.append(content_keys(chosen.column("id").to_pylist()))
    unknown.check()
    if not plan.samples:
        raise UserError(_nothing(format_name, decisions, plan))
    if split:
        validation = validation_rows(
            np.concatenate(image_keys),
            np.concatenate(images_per_row),
            np.concatenate(row_keys),
            fraction=options.val_fraction or 0.0,
            seed=options.seed,
        )
        _assign(plan, validation)
    return plan


def _assign(plan: Plan, validation: npt.NDArray[np.bool_]) -> None:
    start = 0
    for side in plan.sides:
        taken = np.flatnonzero(side)
        side[taken[validation[start : start + len(taken)]]] = _VAL
        start += len(taken)


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
