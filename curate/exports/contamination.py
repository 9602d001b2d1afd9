"""The last check before an export: no picture of a benchmark is in it, whichever selection it goes by."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, UserError
from curate.exports.plan import Plan
from curate.select.contamination_hits import hits_are_current, hits_path, read_hits


def stop_at_test_pictures(corpus: Corpus, plan: Plan) -> str | None:
    """A note when there are samples that nobody has compared with the benchmarks; None when all is well.

    Raises UserError when a sample of the plan shows a picture that was found in a benchmark (``curate select``).

    Samples are compared by their pictures, so one that no policy has looked at is stopped too when its picture is known
    from another. Matches that could not be confirmed on the pixels do not stop an export.
    """
    if not hits_path(corpus).exists():
        return None
    hits = read_hits(corpus).filter((pl.col("kind") == "image") & (pl.col("how") != "unconfirmed"))
    known = hits["picture_sha256"].unique().to_arrow().cast(pa.string())
    found, first = 0, None
    for number, shard in enumerate(corpus.shards()):
        taken = plan.sides[number] > 0
        if not taken.any():
            continue
        with pq.ParquetFile(shard) as file:
            table = file.read(columns=["file", "row", "images.list.element.sha256"]).filter(pa.array(taken))
        images = table.column("images").combine_chunks()
        hashes = images.flatten().field("sha256")
        shown = pc.is_in(hashes, known).to_numpy(zero_copy_only=False)
        rows = np.unique(pc.list_parent_indices(images).to_numpy()[shown])
        found += rows.size
        if rows.size and first is None:
            place = table.slice(int(rows[0]), 1).to_pylist()[0]
            first = place, hashes.filter(pa.array(shown))[0].as_py()
    if first is not None:
        place, picture = first
        hit = hits.filter(pl.col("picture_sha256") == picture).row(0, named=True)
        raise UserError(
            f"{found:,} sample(s) of this export show a picture of a benchmark; the first, {place['file']}:"
            f"{place['row']}, that of {hit['benchmark']} {hit['benchmark_row']}. Leave them out: export a selection "
            "whose policy has this contamination section (curate select --policy), or remove them from the raw data"
        )
    if hits_are_current(corpus):
        return None
    return "the samples have changed since they were compared with benchmarks; curate select --policy compares them"
