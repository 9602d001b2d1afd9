"""The evidence of contamination: one row a hit, kept in ``contamination/hits.parquet`` of the corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path

import orjson
import polars as pl

from curate.corpus import Corpus, UserError, shard_fingerprint, write_shard
from curate.select.facts import first_line

HITS = pl.Schema(
    {
        "id": pl.String,
        "origin": pl.String,
        "benchmark": pl.String,
        "benchmark_key": pl.String,
        "benchmark_row": pl.String,
        "split": pl.String,
        "kind": pl.String,
        "how": pl.String,
        "both": pl.Boolean,
        "distance": pl.Int8,
        "similarity": pl.Float32,
        "share": pl.Float32,
        "rows": pl.Int32,
        "sample_text": pl.String,
        "benchmark_text": pl.String,
        "picture_sha256": pl.String,
        "picture": pl.String,
        "benchmark_picture": pl.String,
    }
)
"""``id`` and ``origin`` (file:row) are the sample's; ``benchmark_key`` tells copies and splits of
a benchmark apart. ``benchmark_row`` is file:row of the first row that asks or shows
it, ``rows`` how many do. ``kind`` is image or question. ``how``: same_file, same_pixels, near or unconfirmed; of
questions ngrams or whole. ``both``: the same row was hit in its other half too. ``distance`` is in bits of 64,
``similarity`` a correlation, ``share`` that of the question's n-grams. ``picture`` is the sample's file, null when it
came inside a record; ``benchmark_picture`` where the benchmark has it."""


def hits_path(corpus: Corpus) -> Path:
    """Where the hits are: of all samples, with every benchmark that a selection has compared them with."""
    return corpus.path / "contamination" / "hits.parquet"


def read_hits(corpus: Corpus) -> pl.DataFrame:
    """The hits, with the columns of :data:`HITS`; empty when no selection has looked for any.

    Raises UserError when the table cannot be read.
    """
    path = hits_path(corpus)
    if not path.exists():
        return pl.DataFrame(schema=HITS)
    try:
        return pl.read_parquet(path).select(list(HITS)).cast(HITS)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(
            f"{path} cannot be read ({first_line(error)}); remove it and run the same curate select again"
        ) from None


def hits_are_current(corpus: Corpus) -> bool:
    """Whether the latest comparison with benchmarks was of the samples that the corpus holds now."""
    return shard_fingerprint(hits_path(corpus)) == samples_fingerprint(corpus.shards())


def write_hits(corpus: Corpus, hits: pl.DataFrame, benchmarks: Collection[str]) -> None:
    """Replace the hits with the benchmarks of these keys. Hits with others stay: a picture that was found in a
    benchmark once is a test picture for good, whatever became of the sample that showed it."""
    others = read_hits(corpus).filter(~pl.col("benchmark_key").is_in(list(benchmarks)))
    write_shard(hits_path(corpus), pl.concat([others, hits]).to_arrow(), samples_fingerprint(corpus.shards()))


def samples_fingerprint(shards: Sequence[Path]) -> str:
    """Hash of what all samples shards were made from."""
    return hashlib.sha256(orjson.dumps([shard_fingerprint(shard) for shard in shards])).hexdigest()
