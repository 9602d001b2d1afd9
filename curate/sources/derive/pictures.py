"""The stored pictures of derived samples: the files of the parent corpus under a second name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from curate.corpus import Corpus, UserError, atomic_file, stored_image_path


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
            if not source.is_file():
                raise UserError(f"{source} is missing; samples of {parent.path} show it: ingest its raw data again")
            _link(source, target)
            adopted += 1
    return adopted


def _stored(shard: Path) -> Iterator[tuple[str, str, int]]:
    images = pl.scan_parquet(shard).select(pl.col("images").explode()).drop_nulls()
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
