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


def corpus_in_place(corpus: Corpus, inputs: Sequence[Path]) -> bool:
    """Whether the samples and stored pictures are there, and files outside the listing have their size and time.

    The listing of a folder covers what is walked in it. It does not cover hidden folders, allowed roots, or the
    neighbours of an input that is a single file.
    """
    if not corpus.shards():
        return False
    if any(path.is_file() for path in inputs) and _some_reject_about_pictures(corpus):
        return False
    return all(_in_place(corpus, image, inputs) for shard in corpus.shards() for image in _pictures(shard))


def _pictures(shard: Path) -> list[dict[str, Any]]:
    names = ("sha256", "format", "size", "stored", "root", "path", "mtime_ns")
    images = pl.scan_parquet(shard).select(pl.col("images").explode()).drop_nulls()
    fields = images.select(pl.col("images").struct.field(name).alias(name) for name in names)
    return fields.unique().collect().to_dicts()


def _in_place(corpus: Corpus, image: dict[str, Any], inputs: Sequence[Path]) -> bool:
    try:
        if image["stored"]:
            place = stored_image_path(corpus.path, image["sha256"], image["format"])
            if place.stat().st_size != image["size"]:
                return False
        if image["path"] is None or _listed(image["root"], Path(image["path"]), inputs):
            return True
        status = (Path(corpus.info.roots[image["root"]]) / image["path"]).stat()
    except OSError:
        return False
    same_size = image["stored"] or status.st_size == image["size"]
    return bool(same_size and status.st_mtime_ns == image["mtime_ns"])


def _listed(root: int, path: Path, inputs: Sequence[Path]) -> bool:
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return root < len(inputs) and inputs[root].is_dir() and not hidden


def _some_reject_about_pictures(corpus: Corpus) -> bool:
    for part in (corpus.path / "rejects").glob("part-*.jsonl"):
        with part.open("rb") as file:
            if any(orjson.loads(line)["reason"] in _ABOUT_PICTURES for line in file):
                return True
    return False
