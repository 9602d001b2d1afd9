"""Samples whose pictures are the same, up to near-duplicates."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from curate.corpus import Image, UserError
from curate.select.duplicates.hamming import Hashes
from curate.select.duplicates.images_classes import HOW, Classes, classify
from curate.select.duplicates.images_search import PictureHashes, Search
from curate.select.duplicates.images_series import Places
from curate.select.duplicates.images_thumbnails import read_thumbnails
from curate.select.policy_sections import ImageDuplicates
from curate.select.pool import Pool, Rows

PAIRS = pa.schema([("left", pa.int64()), ("right", pa.int64()), ("distance", pa.int8()), ("how", pa.string())])
"""Columns of :func:`image_pairs`."""

_MOST_TOGETHER = 4096
"""Different sets of pictures of which all pairs are told; larger clusters fall apart into clusters of so many."""
_CROPS = 16
_MEASURED: dict[str, Any] = {
    "image_phashes": pl.UInt64,
    "image_phashes_mirrored": pl.UInt64,
    "image_phashes_trimmed": pl.UInt64,
    "image_content_boxes": pl.List(pl.Float32),
    "image_phashes_cropped": pl.List(pl.UInt64),
}
_IMAGE = ("sha256", "format", "width", "height", "stored", "root", "path")


def image_pairs(pool: Pool, options: ImageDuplicates, kinds: Collection[str]) -> pa.Table:
    """Pairs of samples of ``kinds`` that show the same pictures: one row a pair, with the columns of :data:`PAIRS`.

    Two samples are the same when each picture of one goes with one of the other and none is left over: files with the
    same bytes (``exact``, distance 0), or pictures whose perceptual hashes differ in at most ``options.distance`` bits
    and whose pixels agree but for compression, size, brightness and contrast (``near``), mirrored (``mirrored``), or
    with borders added or up to 5 % of a side cut off (``cropped``). ``distance`` is the largest of a sample's pictures.

    Never the same, unless their bytes are equal: slices of one DICOM series or frames of one file, neighbours and
    stacks among numbered files (:mod:`curate.select.duplicates.images_series`), pictures that differ in one place such
    as a lesion or an arrow (:mod:`curate.select.duplicates.images_compare`), and pictures that are nearly blank.

    ``left`` and ``right`` are row numbers of the corpus, left < right. Samples with the same files are paired with the
    first of them only, and only that one with samples that have other files, so that a picture used a hundred
    thousand times makes as many rows. The schema's metadata counts what could not be compared: ``unreadable`` (files
    gone, changed or damaged since they were measured), ``low_contrast``, and ``in_series`` and ``compared`` pairs of
    pictures.

    Raises UserError when the samples are not measured, or were by an earlier version.
    """
    references = _references(pool, kinds)
    pictures, numbered = _pictures(references)
    classes = _classes(pool, pictures, numbered, options)
    sets = _sets(numbered, classes)
    told = {name: str(getattr(classes, name)) for name in ("unreadable", "low_contrast", "in_series", "compared")}
    parts = [*_exact(sets), *_near(sets)]
    table = pl.concat(parts).sort("left", "right") if parts else pl.DataFrame(schema=_PAIR_TYPES)
    return table.to_arrow().cast(PAIRS).replace_schema_metadata(told)


_PAIR_TYPES = {"left": pl.Int64, "right": pl.Int64, "distance": pl.Int8, "how": pl.String}


def _references(pool: Pool, kinds: Collection[str]) -> pl.DataFrame:
    """One row for each picture of each sample: the row, where the picture lies, its series and its hashes."""
    frames = [pl.DataFrame(schema={"row": pl.Int64})]
    wanted = sorted(kinds)
    for (rows, samples), (_, facts) in zip(
        pool.samples(["kind", "images", "meta"]), pool.facts(list(_MEASURED)), strict=True
    ):
        missing = [name for name in _MEASURED if name not in facts.columns]
        if missing:
            raise UserError(
                f"the samples in {pool.corpus.path} were measured by an earlier curate, without {missing[0]}; "
                f"run: curate score {pool.corpus.path}"
            )
        frame = cast("pl.DataFrame", pl.from_arrow(samples)).with_columns(
            row=pl.Series(rows),
            series=pl.when(pl.col("meta").str.contains('"dicom"', literal=True)).then(
                pl.col("meta").str.json_path_match("$.dicom.series")
            ),
        )
        frame = frame.hstack(facts.select(list(_MEASURED)))
        frame = frame.filter(pl.col("kind").is_in(wanted) & (pl.col("images").list.len() > 0))
        frames.append(_exploded(frame))
    return pl.concat(frames, how="diagonal")


def _exploded(frame: pl.DataFrame) -> pl.DataFrame:
    count = pl.col("images").list.len()
    whole = [
        pl.when(pl.col(name).list.len() == count).then(name).otherwise(pl.lit(None, kind).repeat_by(count)).alias(name)
        for name, kind in _MEASURED.items()
    ]
    return (
        frame.select("row", "series", "images", *whole)
        .explode("images", *_MEASURED)
        .with_columns(pl.col("images").struct.field(*_IMAGE))
        .drop("images")
        .with_columns(pl.col("format").cast(pl.Categorical))
    )


def _pictures(references: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The distinct pictures, the largest first, and the references with the column ``picture``, a row of those."""
    if references.is_empty():
        return references, references
    ordered = references.sort(
        _content_area(),
        "sha256",
        pl.col("image_phashes").is_null(),
        "root",
        "path",
        descending=[True, False, False, False, False],
        nulls_last=True,
    )
    pictures = ordered.unique("sha256", keep="first", maintain_order=True).with_row_index("picture")
    numbers = pictures.select("sha256", pl.col("picture").cast(pl.Int64))
    columns = ["row", "sha256", "series", "root", "path", "stored"]
    return pictures, references.select(columns).join(numbers, on="sha256", how="left").drop("sha256")


def _content_area() -> pl.Expr:
    """Pixels inside the borders: a picture comes before its copies with a frame, as well as before smaller ones."""
    box = pl.col("image_content_boxes")
    left, top, right, bottom = (box.list.get(side, null_on_oob=True) for side in range(4))
    share = ((right - left) * (bottom - top)).fill_null(1)
    return (pl.col("width").cast(pl.Int64) * pl.col("height") * share).round()


def _classes(pool: Pool, pictures: pl.DataFrame, references: pl.DataFrame, options: ImageDuplicates) -> Classes:
    count = len(pictures)
    if not count:
        return Classes.none(0)
    hashes = _hashes(pictures)
    search = Search(hashes, options.distance, mirrored=options.mirrored, cropped=options.cropped)
    weights = search.weights()
    wanted = np.flatnonzero(weights > 0)
    rows = pictures[wanted].select(*_IMAGE, "image_content_boxes")
    boxes = rows["image_content_boxes"].list.to_array(4).to_numpy().astype(np.float32).reshape(-1, 4)
    thumbnails = read_thumbnails(pool.corpus, wanted, list(_images(rows)), boxes, count)
    places = Places.of(references.drop("row"), hashes.whole, hashes.known)
    return classify(search, weights, hashes.whole, thumbnails, places, cropped=options.cropped)


def _hashes(pictures: pl.DataFrame) -> PictureHashes:
    """The hashes as arrays; a picture counts as measured when it has all of them."""
    crops, box = pl.col("image_phashes_cropped"), pl.col("image_content_boxes")
    known = pictures.select(
        (crops.list.len() == _CROPS)
        & (box.list.len() == 4)
        & pl.all_horizontal(pl.col(name).is_not_null() for name in list(_MEASURED)[:3])
    ).to_series()
    cropped = np.zeros((len(pictures), _CROPS), np.uint64)
    known_rows = known.fill_null(value=False).to_numpy()
    cropped[known_rows] = pictures.filter(known)["image_phashes_cropped"].explode().to_numpy().reshape(-1, _CROPS)

    def column(name: str) -> Hashes:
        return cast("Hashes", pictures[name].fill_null(0).to_numpy())

    return PictureHashes(
        known_rows,
        column("image_phashes"),
        column("image_phashes_mirrored"),
        column("image_phashes_trimmed"),
        cropped,
    )


def _images(rows: pl.DataFrame) -> Iterator[Image]:
    for row in rows.select(_IMAGE).iter_rows(named=True):
        fields: dict[str, Any] = {**row, "size": 0, "mtime_ns": 0, "name": None}
        yield Image(**fields)


def _sets(references: pl.DataFrame, classes: Classes) -> pl.DataFrame:
    """One row a sample: its row, the set of its picture files, what those stand for, and the weakest of its matches."""
    if references.is_empty():
        return pl.DataFrame(schema={"row": pl.Int64})
    known = pl.DataFrame(
        {
            "picture": np.arange(classes.stands.size),
            "stands": classes.stands,
            "how": classes.how,
            "distance": classes.distance,
        }
    )
    distinct = references.select("row", "picture").unique().join(known, on="picture")
    return (
        distinct.group_by("row")
        .agg(
            pl.col("picture").sort(),
            pl.col("stands").sort(),
            pl.col("distance").max(),
            cropped=(pl.col("how") == HOW.index("cropped")).any(),
            mirrored=pl.col("how").eq(HOW.index("mirrored")).any(),
        )
        .sort("row")
        .with_columns(
            files=pl.col("row").min().over("picture"),
            together=pl.col("row").min().over("stands"),
        )
        .drop("picture", "stands")
    )


def _exact(sets: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Samples with the same files, each with the first of them."""
    if len(sets):
        same = sets.filter(pl.col("files") != pl.col("row"))
        yield same.select(left="files", right="row", distance=pl.lit(0, pl.Int8), how=pl.lit("exact")).cast(_PAIR_TYPES)  # type: ignore[arg-type]


def _near(sets: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """All pairs of samples with other files that stand for the same pictures, of each set of files the first."""
    if not len(sets):
        return
    first = sets.filter(pl.col("files") == pl.col("row"))
    first = first.filter(pl.len().over("together") > 1).sort("together", "row")
    for _, cluster in first.group_by("together", maintain_order=True):
        for start in range(0, len(cluster), _MOST_TOGETHER):
            yield _all_pairs(cluster[start : start + _MOST_TOGETHER])


def _all_pairs(cluster: pl.DataFrame) -> pl.DataFrame:
    rows: Rows = cluster["row"].to_numpy()
    one, other = np.triu_indices(len(rows), 1)
    distance = cluster["distance"].to_numpy()
    cropped, mirrored = cluster["cropped"].to_numpy(), cluster["mirrored"].to_numpy()
    # Two mirror images of one picture are near each other.
    how = np.where(
        cropped[one] | cropped[other], "cropped", np.where(mirrored[one] ^ mirrored[other], "mirrored", "near")
    )
    told: dict[str, npt.NDArray[Any]] = {
        "left": rows[one],
        "right": rows[other],
        "distance": np.maximum(distance[one], distance[other]),
        "how": how,
    }
    return pl.DataFrame(told).cast(_PAIR_TYPES)  # type: ignore[arg-type]
