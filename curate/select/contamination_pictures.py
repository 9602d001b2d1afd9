"""Which samples show a benchmark's picture: the same file, the same pixels, or nearly the same picture.

Perceptual hashes within a few bits of each other only make candidates: chest radiographs of two patients can be as
near. So both pictures are compared as small grey copies, and count as one when these correlate.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.corpus import Corpus, Image, UserError
from curate.engine import usable_cores
from curate.select.benchmarks.pictures import look_at, thumbnails
from curate.select.benchmarks.tree import UnreadableError
from curate.select.duplicates.hamming import near_matches
from curate.select.pool import Pool

NEAR_BLANK = 1.5
"""Bits of information in the grey levels below which only the same file or pixels count: white pages look alike."""
SAME_PICTURE = 0.9
"""Least correlation of small grey copies of one picture."""

Numbers = npt.NDArray[np.int64]


class PictureHit(NamedTuple):
    """A picture of a sample that is a picture of a benchmark."""

    position: int
    """Which picture of the sample, from 0."""
    picture: int
    """Which picture of the benchmarks, by its row in the table of all."""
    how: str
    """same_file, same_pixels, near, or unconfirmed: the hashes are near and the sample's file cannot be read."""
    distance: int | None
    """Bits by which the perceptual hashes differ; null for the same file with a hash that was not compared."""
    similarity: float | None
    """Correlation of the small grey copies; null where they were not compared."""


@dataclass
class PictureIndex:
    """The pictures of all benchmarks, ready to be looked for."""

    table: pl.DataFrame
    """With the columns of :data:`curate.select.benchmarks.pictures.PICTURES`."""
    distance: int
    near: dict[int, tuple[Numbers, Numbers]]
    """For a hash in the corpus, the positions in ``table`` of pictures with near hashes, and the bits that differ."""

    @classmethod
    def of(cls, pool: Pool, table: pl.DataFrame, distance: int) -> PictureIndex:
        """Find what is near to any picture of the pool, in one pass over its perceptual hashes."""
        hashes = [np.empty(0, np.uint64)]
        if table.height:
            for _, facts in pool.facts(["image_phashes"]):
                values = facts["image_phashes"].explode().drop_nulls()
                hashes.append(np.unique(values.cast(pl.UInt64).to_numpy()))
        queries = np.unique(np.concatenate(hashes))
        measured = table.with_row_index("number").filter(pl.col("phash").is_not_null() & (pl.col("entropy") > 0))
        targets, place = np.unique(measured["phash"].to_numpy(), return_inverse=True)
        query, target, bits = near_matches(queries, targets, distance)
        numbers = measured["number"].to_numpy().astype(np.int64)
        grouped = [
            numbers[group] for group in np.split(np.argsort(place, kind="stable"), _borders(place, targets.size))
        ]
        near: dict[int, tuple[Numbers, Numbers]] = {}
        borders = np.searchsorted(query, np.arange(queries.size + 1)).tolist()
        for value, (start, end) in zip(queries.tolist(), pairwise(borders), strict=True):
            if start == end:
                continue
            groups = [grouped[number] for number in target[start:end]]
            differing = np.repeat(bits[start:end].astype(np.int64), [group.size for group in groups])
            near[value] = (np.concatenate(groups), differing)
        return cls(table, distance, near)

    def __post_init__(self) -> None:
        sha256 = self.table["sha256"].to_list()
        self._by_file = {value: number for number, value in enumerate(sha256) if value is not None}
        self._entropy = self.table["entropy"].fill_null(8.0).to_numpy()
        self._pixels = self.table["pixels"].to_list()
        self._thumbnails = self.table["thumbnail"]

    def hits(
        self, corpus: Corpus, images: Sequence[Sequence[dict[str, Any]]], facts: pl.DataFrame
    ) -> tuple[dict[int, list[PictureHit]], int]:
        """The hits of each sample (by position) of a shard, and how many candidate pictures could not be read.

        ``images`` are the samples' pictures as the samples table has them, ``facts`` their ``image_phashes`` and
        ``image_entropy``.
        """
        shown: list[tuple[int, int, tuple[str, int | None]]] = []
        distinct: dict[tuple[str, int | None], dict[str, Any]] = {}
        rows = zip(images, facts["image_phashes"].to_list(), facts["image_entropy"].to_list(), strict=True)
        for sample, (pictures, hashes, entropy) in enumerate(rows):
            # The entropy is that of the blankest picture, so it says nothing about one of several.
            blank = len(pictures) == 1 and entropy is not None and entropy < NEAR_BLANK
            known = hashes if hashes is not None and len(hashes) == len(pictures) else [None] * len(pictures)
            for position, (image, phash) in enumerate(zip(pictures, known, strict=True)):
                near = phash is not None and phash in self.near
                if near or image["sha256"] in self._by_file:
                    candidate = (image["sha256"], phash if near and not blank else None)
                    shown.append((sample, position, candidate))
                    distinct[candidate] = image
        with ThreadPoolExecutor(usable_cores()) as threads:
            compared = threads.map(lambda one: self._compare(corpus, one[1], one[0][1]), distinct.items())
            found = dict(zip(distinct, compared, strict=True))
        hits: dict[int, list[PictureHit]] = {}
        for sample, position, candidate in shown:
            if own := found[candidate]:
                hits.setdefault(sample, []).extend(hit._replace(position=position) for hit in own)
        return hits, sum(any(hit.how == "unconfirmed" for hit in own) for own in found.values())

    def _compare(self, corpus: Corpus, image: dict[str, Any], phash: int | None) -> list[PictureHit]:
        """Hits of one picture, the same file first."""
        position = 0
        own = self._by_file.get(image["sha256"])
        hits = []
        if own is not None and self._entropy[own] > 0:
            hits.append(PictureHit(position, own, "same_file", 0, 1.0))
        if phash is None:
            return hits
        numbers, bits = self.near[phash]
        others = numbers != own
        numbers, bits = numbers[others], bits[others]
        if not numbers.size:
            return hits
        try:
            look = look_at(corpus.image_bytes(Image(**image)))
        except (UserError, UnreadableError):
            near = zip(numbers.tolist(), bits.tolist(), strict=True)
            return hits + [PictureHit(position, number, "unconfirmed", differing, None) for number, differing in near]
        own_copy = thumbnails([look.thumbnail])[0]
        alike = thumbnails(self._thumbnails.gather(numbers).to_list()) @ own_copy
        for number, differing, similarity in zip(numbers.tolist(), bits.tolist(), alike.tolist(), strict=True):
            same = self._pixels[number] == look.pixels and look.entropy > 0
            blank = min(look.entropy, float(self._entropy[number])) < NEAR_BLANK
            if same or (similarity >= SAME_PICTURE and not blank):
                how = "same_pixels" if same else "near"
                hits.append(PictureHit(position, number, how, differing, round(similarity, 4)))
        return hits


def _borders(place: Numbers, groups: int) -> Numbers:
    """Where a new group starts in the order of ``place``."""
    borders: Numbers = np.cumsum(np.bincount(place, minlength=groups))[:-1]
    return borders
