"""Near-duplicate texts: MinHash and locality-sensitive hashing (Broder 1997), confirmed by the exact similarity.

Sketches of all texts are in memory (about 230 bytes each with 128 permutations at a threshold of 0.8); the texts
themselves are read shard by shard, and once more where they share a bucket with another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.engine import map_in_order
from curate.select.duplicates.near import Edges, Nodes, Numbers, Similarities, candidate_texts, near_nodes
from curate.select.duplicates.normalise import Hashes
from curate.select.duplicates.sketch import Sketches, distinct, shingle_sets, sketch
from curate.select.policy_sections import TextDuplicates
from curate.select.pool import Pool, Rows

_COLUMNS = ("kind", "turns", "answer", "choices")
_SHORT_REPLY = 40
"""Characters up to which what an assistant says is an answer, in which every word counts."""
_BATCH = 16_384
"""Samples whose texts are in memory at one time."""
_PATIENCE = 6.0
"""Seconds of processor time after which texts are sketched in processes."""
_PAIRS_AT_ONCE, _SHINGLES_AT_ONCE = 60_000, 4_000_000


@dataclass
class Texts:
    """The distinct texts of the samples of some kinds, sketched."""

    pool: Pool
    options: TextDuplicates
    rows: Rows
    """The samples that are compared, in order."""
    text: Numbers
    """For each of them the number of its text."""
    sketches: Sketches
    """One row a text."""
    _shingles: _ShingleFile = field(init=False)

    def __post_init__(self) -> None:
        first = np.full(len(self.sketches.empty), -1, np.int64)
        first[self.text[::-1]] = self.rows[::-1]
        self._shingles = _ShingleFile(self.pool, self.options.shingle, first)

    @classmethod
    def of(cls, pool: Pool, options: TextDuplicates, kinds: Collection[str]) -> Texts:
        """The texts of those samples of a pool that are of these kinds.

        The text of a caption or document is all it says; of a conversation all but system messages; of a query also
        the options and the answer. Two texts with equal tokens are one, unless only one of them asks or talks.
        """
        make = partial(_sketcher, options, tuple(sorted(kinds)))
        rows: list[Rows] = []
        numbers: list[Numbers] = []
        parts: list[Sketches] = []
        count = 0
        shards = _shards(pool)
        done = map_in_order(make, shards, size=lambda _: 0, patience=_PATIENCE)
        for shard, (kept, which, sketched) in zip(shards, done, strict=True):
            if sketched is not None:
                rows.append(pool.starts[shard.number] + kept)
                numbers.append(which + count)
                parts.append(sketched)
                count += len(sketched.empty)
        nothing = pl.Series([], dtype=pl.String)
        sketches = Sketches.joined(parts or [sketch(nothing, nothing, options)[0]])
        first, same = distinct(sketches.keys)
        empty = np.empty(0, np.int64)
        return cls(
            pool,
            options,
            np.concatenate([empty, *rows]),
            same[np.concatenate([empty, *numbers])],
            sketches.take(first) if len(first) < count else sketches,
        )

    def near(self, nodes: Nodes) -> tuple[Edges, bool]:
        """Near pairs of nodes, and whether these are all; see :func:`near_nodes`."""
        self._shingles.read(candidate_texts(nodes, self.sketches))
        return near_nodes(nodes, self.sketches, self.options.threshold, self._shingles)

    def similarity(self, left: Numbers, right: Numbers) -> Similarities:
        """Jaccard similarity of the sets of shingles of pairs of texts."""
        self._shingles.read(np.unique(np.concatenate([left, right])))
        return self._shingles.similarity(left, right)


def text_pairs(pool: Pool, options: TextDuplicates, kinds: Collection[str]) -> pa.Table:
    """Pairs of samples with near-duplicate texts: columns ``left``, ``right`` (row numbers, left < right) and
    ``similarity`` (exact Jaccard similarity of their shingles, 1 for equal texts).

    Of samples with equal texts (after normalisation) the first stands for all: the others are paired with it alone,
    and only it is paired with near texts. So it is in a crowd of texts that are all near one another
    (:func:`curate.select.duplicates.near.near_nodes`). Empty texts are no duplicates. Numbers, units, sides, negations
    and the like are the same in both texts, in the same order.
    """
    texts = Texts.of(pool, options, kinds)
    count = len(texts.sketches.empty)
    first = np.zeros(count, np.int64)
    first[texts.text[::-1]] = texts.rows[::-1]
    told = np.flatnonzero(~texts.sketches.empty)
    told = told[np.argsort(first[told])]
    edges, _ = texts.near(Nodes(told, np.zeros(len(told), np.uint64)))
    others = (texts.rows != first[texts.text]) & ~texts.sketches.empty[texts.text]
    left = np.concatenate([first[texts.text[others]], first[told[edges.left]]])
    right = np.concatenate([texts.rows[others], first[told[edges.right]]])
    similarity = np.concatenate([np.ones(int(others.sum()), np.float32), edges.similarity])
    order = np.lexsort((right, left))
    return pa.table({"left": left[order], "right": right[order], "similarity": similarity[order]})


def sample_texts(table: pa.Table) -> tuple[pl.Series, pl.Series]:
    """What samples say as one string each, and what must be equal as a whole; of a table with :data:`_COLUMNS`.

    That is the answers, and whether the text asks, tells or talks: a query and the conversation that was made of it
    train a model in different ways, and are no duplicates.
    """
    turns = table["turns"].combine_chunks()
    turn_of_row, parts = pc.list_flatten(turns), pc.list_flatten(pc.struct_field(pc.list_flatten(turns), [1]))
    turn = pc.list_parent_indices(pc.struct_field(turn_of_row, [1])).to_numpy()
    rows = pc.list_parent_indices(turns).to_numpy()
    said = (
        pl.DataFrame(
            {
                "row": rows[turn],
                "turn": turn,
                "role": pl.Series(pc.struct_field(turn_of_row, [0])).gather(turn),
                "text": pl.Series(pc.struct_field(parts, [0]), dtype=pl.String),
            }
        )
        .filter(pl.col("text").is_not_null() & (pl.col("role") != "system"))
        .group_by("row", "turn", "role", maintain_order=True)
        .agg(pl.col("text").str.join("\n"))
    )
    short = (pl.col("role") == "assistant") & (pl.col("text").str.len_chars() <= _SHORT_REPLY)
    spoken = said.group_by("row", maintain_order=True).agg(
        pl.col("text").str.join("\n"), pl.col("text").filter(short).str.join("\n").alias("reply")
    )
    frame = pl.DataFrame({"row": np.arange(len(table))}).join(spoken, on="row", how="left", maintain_order="left")
    more = pl.DataFrame({name: pl.Series(table[name]) for name in ("kind", "answer", "choices")})
    frame = frame.hstack(more).with_columns(
        pl.col("text", "reply").fill_null(""),
        answer=pl.col("answer").list.join("\n").fill_null(""),
        choices=pl.col("choices")
        .list.eval(pl.element().struct.field("label") + ". " + pl.element().struct.field("text"))
        .list.join("\n")
        .fill_null(""),
    )
    form = pl.when(pl.col("kind").is_in(["query", "conversation"])).then("kind").otherwise(pl.lit(""))
    whole = frame.select(
        text=pl.concat_str("text", "choices", "answer", separator="\n"),
        reply=pl.concat_str(form, "answer", "reply", separator="\n"),
    )
    return whole["text"], whole["reply"]


class _Shard(NamedTuple):
    number: int
    path: Path
    within: Numbers
    """Places in the shard of the samples that are still in."""


def _shards(pool: Pool) -> list[_Shard]:
    rows = [pool.rows(number) for number in range(len(pool.shards))]
    return [
        _Shard(number, path, rows[number] - pool.starts[number])
        for number, path in enumerate(pool.shards)
        if len(rows[number])
    ]


def _batches(shard: Path, within: Numbers) -> Iterator[tuple[Numbers, pa.Table]]:
    """Some samples of a shard, a bounded number at a time, with their places in the shard."""
    with pq.ParquetFile(shard) as file:
        start = 0
        for batch in file.iter_batches(_BATCH, columns=list(_COLUMNS)):
            places = within[(within >= start) & (within < start + len(batch))]
            if len(places):
                table = pa.table(batch)
                yield places, table if len(places) == len(batch) else table.take(pa.array(places - start))
            start += len(batch)


def _sketcher(options: TextDuplicates, kinds: Sequence[str]) -> Callable[[_Shard], _Sketched]:
    return partial(_sketch_shard, options, kinds)


_Sketched = tuple[Numbers, Numbers, Sketches | None]


def _sketch_shard(options: TextDuplicates, kinds: Sequence[str], shard: _Shard) -> _Sketched:
    """Places of the samples of these kinds, for each which of the sketches is its, and the sketches."""
    empty = np.empty(0, np.int64)
    places, which, parts, count = [empty], [empty], [], 0
    for within, samples in _batches(shard.path, shard.within):
        chosen = np.flatnonzero(pc.is_in(samples["kind"], pa.array(kinds, pa.string())))
        if not len(chosen):
            continue
        table = samples if len(chosen) == len(samples) else samples.take(pa.array(chosen))
        sketches, numbers = sketch(*sample_texts(table), options)
        places.append(within[chosen])
        which.append(numbers + count)
        parts.append(sketches)
        count += len(sketches.empty)
    return np.concatenate(places), np.concatenate(which), Sketches.joined(parts) if parts else None


class _ShingleFile:
    """Sets of shingles of the texts that have been asked for, in a file that goes when the selection ends."""

    def __init__(self, pool: Pool, words: int, first: Rows) -> None:
        self._pool, self._words = pool, words
        self._first = first
        """For each text a sample that has it."""
        self._starts = np.full(len(first), -1, np.int64)
        self._lengths = np.zeros(len(first), np.int64)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=pool.corpus.path)  # noqa: SIM115 - as long as the texts
        self._values: Hashes = np.empty(0, np.uint64)

    def read(self, texts: Numbers) -> None:
        """Have the shingles of these texts at hand."""
        missing = texts[self._starts[texts] < 0]
        if not len(missing):
            return
        missing = missing[np.argsort(self._first[missing])]
        rows = self._first[missing]
        done, end = 0, len(self._values)
        for number, path in enumerate(self._pool.shards):
            start, stop = self._pool.starts[number : number + 2]
            within = rows[(rows >= start) & (rows < stop)] - start
            for _, table in _batches(path, within) if len(within) else ():
                sets, ends = shingle_sets(sample_texts(table)[0], self._words)
                self._file.write(sets.tobytes())
                which = missing[done : done + len(table)]
                self._starts[which], self._lengths[which] = end + ends[:-1], np.diff(ends)
                done, end = done + len(table), end + int(ends[-1])
        self._file.flush()
        self._values = np.memmap(self._file, np.uint64, "r") if end else self._values

    def of(self, texts: Numbers) -> tuple[Hashes, Numbers]:
        """The shingles of texts that have been read, one after the other, and where each text's start."""
        ends = np.concatenate([[0], np.cumsum(self._lengths[texts])])
        return self._values[self._places(texts)], ends

    def similarity(self, left: Numbers, right: Numbers) -> Similarities:
        """Jaccard similarity of the sets of pairs of texts; 0 for two empty ones."""
        both = np.cumsum(self._lengths[left] + self._lengths[right])
        result = np.zeros(len(left), np.float32)
        first = 0
        while first < len(left):
            before = both[first - 1] if first else 0
            last = int(np.searchsorted(both, before + _SHINGLES_AT_ONCE, "right"))
            last = max(first + 1, min(last, first + _PAIRS_AT_ONCE))
            result[first:last] = self._jaccard(left[first:last], right[first:last])
            first = last
        return result

    def _jaccard(self, left: Numbers, right: Numbers) -> Similarities:
        # The hash of a shingle, 48 bits, beside the number of its pair: one sort finds what the two sides share.
        values = np.sort(np.concatenate([self._tagged(left), self._tagged(right)]))
        shared = values[1:][values[1:] == values[:-1]] >> np.uint64(48)
        common = np.bincount(shared.astype(np.int64), minlength=len(left))
        union = self._lengths[left] + self._lengths[right] - common
        similarity: Similarities = (common / np.maximum(union, 1)).astype(np.float32)
        return similarity

    def _tagged(self, texts: Numbers) -> Hashes:
        pair = np.repeat(np.arange(len(texts), dtype=np.uint64), self._lengths[texts])
        tagged: Hashes = pair << np.uint64(48) | self._values[self._places(texts)]
        return tagged

    def _places(self, texts: Numbers) -> Numbers:
        """Where the shingles of texts are in the file."""
        lengths = self._lengths[texts]
        before = np.cumsum(lengths) - lengths
        places: Numbers = np.arange(int(lengths.sum())) + np.repeat(self._starts[texts] - before, lengths)
        return places
