"""The stage of a selection that keeps the best of each cluster of duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from curate.select.duplicates.clusters import Dropped, Layer, keep_best
from curate.select.duplicates.layers import NO_PICTURE, best_first, layers
from curate.select.policy_sections import Duplicates
from curate.select.pool import DROPPED, Pool, Stage

_CLUSTERS_TOLD = 50
_MEMBERS_TOLD = 20


def duplicates_stage(pool: Pool, policy: Duplicates) -> Stage:
    """Drop samples whose text, pictures, or both are near-duplicates of a better sample's.

    Better is the sample with the higher judge score (any before none), then with more pixels in its largest picture,
    then with the longer text, then with the smaller id. Every dropped sample points to a kept one that it is itself
    near to. Rules: ``duplicate_text``, ``duplicate_image``, ``duplicate_pair``. The account has ``compared``,
    ``dropped``, ``by_kind``, ``sizes`` (how many clusters have so many samples), ``clusters``, the largest ones, and
    ``pictures``, how many could not be compared.

    Raises UserError when the samples are not measured.
    """
    samples = best_first(pool)
    made, pictures = layers(pool, policy, samples) if len(samples) > 1 else ([], {})
    dropped = keep_best(samples["row"].to_numpy(), made)
    told = _told(dropped, made, samples, pool)
    frame = told.select(
        "row",
        rule=pl.lit("duplicate_") + pl.col("layer"),
        reason=_sentence(),
        related=pl.col("id_kept"),
    ).cast({name: kind for name, kind in DROPPED.items()})  # noqa: C416 - widened for mypy
    return Stage(frame.sort("row"), _account(told, made) | {"pictures": pictures})


def _told(dropped: Dropped, made: list[Layer], samples: pl.DataFrame, pool: Pool) -> pl.DataFrame:
    """One row a dropped sample: what it has in common with the sample it points to, and what is known of the two."""
    names = [layer.name for layer in made]
    frame = pl.DataFrame(
        {
            "row": dropped.row,
            "row_kept": dropped.keeper,
            "layer": pl.Series([names[number] for number in dropped.layer], dtype=pl.String),
        }
    )
    frame = frame.hstack(_common(dropped, made))
    known = samples.select("row", "id", "kind", "judge_score", "width", "height", "text_chars", "pictures")
    frame = frame.join(known, on="row", how="left", maintain_order="left").join(
        known, left_on="row_kept", right_on="row", how="left", suffix="_kept", maintain_order="left"
    )
    return frame.join(_places(pool, dropped), on="row_kept", how="left", maintain_order="left")


def _common(dropped: Dropped, made: list[Layer]) -> pl.DataFrame:
    """Similarity, distance and manner of match of each dropped sample and the one it points to."""
    parts = [pl.DataFrame({"nth": pl.Series([], dtype=pl.Int64), **_of_same(0, None, None, None)})]
    for number, layer in enumerate(made):
        nth = np.flatnonzero(dropped.layer == number)
        edge = dropped.edge[nth]
        same, near = nth[edge < 0], nth[edge >= 0]
        parts.append(pl.DataFrame({"nth": same, **_of_same(len(same), *layer.same)}))
        found = layer.edges.select("similarity", "distance", "how")[edge[edge >= 0]]
        parts.append(pl.DataFrame({"nth": near}).hstack(found))
    return pl.concat(parts).sort("nth").drop("nth")


def _of_same(count: int, similarity: float | None, distance: int | None, how: str | None) -> dict[str, pl.Series]:
    return {
        "similarity": pl.Series([similarity] * count, dtype=pl.Float32),
        "distance": pl.Series([distance] * count, dtype=pl.Int8),
        "how": pl.Series([how] * count, dtype=pl.String),
    }


def _places(pool: Pool, dropped: Dropped) -> pl.DataFrame:
    """``file:row`` of the samples that are pointed to."""
    wanted = pl.DataFrame({"row_kept": np.unique(dropped.keeper)})
    found = [wanted.clear().with_columns(place=pl.lit("", pl.String))]
    for rows, table in pool.samples(["file", "row"]) if len(wanted) else ():
        frame = pl.DataFrame({"file": pl.Series(table["file"]), "row": pl.Series(table["row"])})
        place = frame.select(row_kept=pl.Series(rows), place=pl.format("{}:{}", "file", "row"))
        found.append(place.join(wanted, on="row_kept", how="semi"))
    return pl.concat(found)


def _sentence() -> pl.Expr:
    """Why a sample is dropped, with the numbers."""
    place = pl.col("place")
    text = (
        pl.when(pl.col("similarity") < 1)
        .then(pl.format("its text is {} alike that of {}", (pl.col("similarity") * 100).floor() / 100, place))
        .otherwise(pl.format("its text is the same as that of {}", place))
    )
    bits = pl.when(pl.col("distance") == 1).then(pl.lit("1 bit")).otherwise(pl.format("{} bits", "distance"))
    how = pl.col("how")
    kind = (
        pl.when(how == "mirrored")
        .then(pl.format("the mirror image ({} of 64 apart) of", bits))
        .when(how == "cropped")
        .then(pl.format("but for borders ({} of 64 apart)", bits))
        .otherwise(pl.format("but for {} of 64", bits))
    )
    exact, mirrored = how == "exact", how == "mirrored"
    picture = (
        pl.when(exact)
        .then(pl.format("it has the same picture as {}", place))
        .when(mirrored)
        .then(pl.format("its picture is {} that of {}", kind, place))
        .otherwise(pl.format("its picture is, {}, that of {}", kind, place))
    )
    both = (
        pl.when((pl.col("pictures") == NO_PICTURE) | how.is_null())
        .then(pl.format("{} (neither has a picture)", text))
        .when(exact)
        .then(pl.format("{}, with the same picture", text))
        .when(mirrored)
        .then(pl.format("{}, and its picture is its mirror image ({} of 64 apart)", text, bits))
        .otherwise(pl.format("{}, and its picture, {}", text, kind))
    )
    which = pl.when(pl.col("layer") == "text").then(text).when(pl.col("layer") == "image").then(picture).otherwise(both)
    return pl.format("{}, which is preferred ({})", which, _better())


def _better() -> pl.Expr:
    """In what the kept sample is better."""
    score, kept_score = pl.col("judge_score"), pl.col("judge_score_kept")
    area, kept_area = pl.col("width") * pl.col("height"), pl.col("width_kept") * pl.col("height_kept")
    return (
        pl.when(kept_score.is_not_null() & score.is_null())
        .then(pl.format("judge score {} against none", kept_score.round(2)))
        .when(kept_score > score)
        .then(pl.format("judge score {} against {}", kept_score.round(2), score.round(2)))
        .when(kept_area > area)
        .then(pl.format("picture of {} x {} pixels against {} x {}", "width_kept", "height_kept", "width", "height"))
        .when(pl.col("text_chars_kept") > pl.col("text_chars"))
        .then(pl.format("text of {} characters against {}", "text_chars_kept", "text_chars"))
        .otherwise(pl.lit("equally good, with the smaller id"))
    )


def _account(told: pl.DataFrame, made: list[Layer]) -> dict[str, Any]:
    """What the report tells."""
    by_kind: dict[str, dict[str, int]] = {f"duplicate_{layer.name}": {} for layer in made}
    counts = told.group_by("layer", pl.col("kind").cast(pl.String)).len().sort("layer", "kind")
    for layer, kind, count in counts.iter_rows():
        by_kind[f"duplicate_{layer}"][kind] = count
    clusters = told.group_by("id_kept").agg(pl.len().alias("dropped"), pl.col("similarity").min().alias("least"))
    largest = clusters.sort("dropped", "least", "id_kept", descending=[True, False, False]).head(_CLUSTERS_TOLD)
    sizes = clusters.group_by(size=pl.col("dropped") + 1).len().sort("size")
    members = told.join(largest.select("id_kept"), on="id_kept", how="semi").sort(
        pl.col("similarity").fill_null(0) - pl.col("distance").fill_null(0), "id", descending=[True, False]
    )
    by_cluster = members.partition_by("id_kept", as_dict=True)
    return {
        "compared": {layer.name: len(layer.rows) for layer in made},
        "dropped": {rule: sum(kinds.values()) for rule, kinds in by_kind.items()},
        "by_kind": by_kind,
        "sizes": {str(size): count for size, count in sizes.iter_rows()},
        "clusters": [
            {
                "kept": kept,
                "size": dropped + 1,
                "members": [_member(row) for row in by_cluster[kept,].head(_MEMBERS_TOLD).iter_rows(named=True)],
            }
            for kept, dropped, _ in largest.iter_rows()
        ],
    }


def _member(row: dict[str, Any]) -> dict[str, Any]:
    member = {"id": row["id"], "rule": f"duplicate_{row['layer']}"}
    if row["similarity"] is not None:
        member["similarity"] = round(row["similarity"], 4)
    if row["distance"] is not None and row["pictures"] != NO_PICTURE:
        member.update(distance=row["distance"], how=row["how"])
    return member
