"""The stored pictures of derived samples: the files of the parent corpus under a second name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.corpus import Corpus, UserError, atomic_file, stored_image_path
from curate.sources.derive.balance import CONVERT, States


def adopt_pictures(parent: Corpus, corpus: Corpus) -> int:
    """Give the samples of ``corpus`` the pictures that the store of ``parent`` holds; how many were not there yet.

    Hard links where the file system allows them, else copies. Pictures that lie in the inputs are referred to and stay
    there. Raises UserError when the store lacks one.
    """
    adopted = 0
    for shard in corpus.shards():
        for sha256, image_format, size in _stored(shard):
            source = stored_image_path(parent.path, sha256, image_format)
            target = stored_image_path(corpus.path, sha256, image_format)
            if target.exists() and target.stat().st_size == size:
                continue
            _check(parent, source)
            _link(source, target)
            adopted += 1
    return adopted


def check_pictures(parent: Corpus, shards: Sequence[Path], states: Sequence[States], output: Path) -> None:
    """Raise UserError when the store of ``parent`` lacks a picture of a sample that is to be converted.

    Looked at before anything is written. What ``output`` has already is not missed.
    """
    for shard, state in zip(shards, states, strict=True):
        for sha256, image_format, size in _stored(shard, state == CONVERT):
            target = stored_image_path(output, sha256, image_format)
            if not (target.exists() and target.stat().st_size == size):
                _check(parent, stored_image_path(parent.path, sha256, image_format))


def _check(parent: Corpus, source: Path) -> None:
    if not source.is_file():
        raise UserError(f"{source} is missing; samples of {parent.path} show it: ingest its raw data again")


def _stored(shard: Path, rows: npt.NDArray[np.bool_] | None = None) -> Iterator[tuple[str, str, int]]:
    """Digest, format and bytes of the stored pictures of a shard's samples, of all of them or of these rows."""
    samples = pl.scan_parquet(shard)
    if rows is not None:
        samples = samples.filter(pl.lit(pl.Series(rows)))
    images = samples.select(pl.col("images").explode()).drop_nulls()
    fields = images.select(pl.col("images").struct.field(name) for name in ("sha256", "format", "size", "stored"))
    yield from fields.filter("stored").drop("stored").unique().sort("sha256").collect().iter_rows()


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        with atomic_file(target) as file, source.open("rb") as original:
            while block := original.read(2**20):
                file.write(block)
