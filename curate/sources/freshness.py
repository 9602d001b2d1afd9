"""Whether the pictures of a corpus are still as at ingest, where the listing of the inputs does not show it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.corpus import Corpus, stored_image_path

_ABOUT_PICTURES = frozenset(
    {"missing_image", "unreadable_file", "empty_image", "truncated_image", "unreadable_image", "not_an_image"}
)
"""Reasons of rejects that a change beside a record file can put right."""
_HIDDEN = r"(^|/)(\.|__MACOSX(/|$))"
"""Paths that the listing of a folder does not cover."""


def corpus_in_place(corpus: Corpus, inputs: Sequence[Path]) -> bool:
    """Whether the samples and stored pictures are there, and files outside the listing have their size and time.

    The listing of a folder covers what is walked in it. It does not cover hidden folders, allowed roots, or the
    neighbours of an input that is a single file.
    """
    if not corpus.shards():
        return False
    if any(path.is_file() for path in inputs) and _some_reject_about_pictures(corpus):
        return False
    walked = [number for number, path in enumerate(inputs) if path.is_dir()]
    return all(_in_place(corpus, image) for shard in corpus.shards() for image in _pictures(shard, walked))


def _pictures(shard: Path, walked: Sequence[int]) -> list[dict[str, Any]]:
    """The pictures of a shard that have to be looked at, each once, with ``listed``: its file is in the listing."""
    names = ("sha256", "format", "size", "stored", "root", "path", "mtime_ns")
    images = pl.scan_parquet(shard).select(pl.col("images").explode()).drop_nulls()
    fields = images.select(pl.col("images").struct.field(name).alias(name) for name in names)
    in_listing = pl.col("root").is_in(list(walked)) & ~pl.col("path").str.contains(_HIDDEN)
    found = fields.with_columns(listed=pl.col("path").is_null() | in_listing)
    return found.filter(pl.col("stored") | ~pl.col("listed")).unique().collect().to_dicts()


def _in_place(corpus: Corpus, image: dict[str, Any]) -> bool:
    try:
        if image["stored"]:
            place = stored_image_path(corpus.path, image["sha256"], image["format"])
            if place.stat().st_size != image["size"]:
                return False
        if image["listed"]:
            return True
        status = (Path(corpus.info.roots[image["root"]]) / image["path"]).stat()
    except OSError:
        return False
    same_size = image["stored"] or status.st_size == image["size"]
    return bool(same_size and status.st_mtime_ns == image["mtime_ns"])


def _some_reject_about_pictures(corpus: Corpus) -> bool:
    for part in (corpus.path / "rejects").glob("part-*.jsonl"):
        with part.open("rb") as file:
            if any(orjson.loads(line)["reason"] in _ABOUT_PICTURES for line in file):
                return True
    return False
