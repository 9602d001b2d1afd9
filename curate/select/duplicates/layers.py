"""The three ways in which samples are duplicates, as layers: equal or near texts, pictures, and both."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate.select.duplicates.clusters import EDGES, Layer
from curate.select.duplicates.images import image_pairs
from curate.select.duplicates.near import Nodes, Numbers
from curate.select.duplicates.normalise import Hashes
from curate.select.duplicates.sketch import distinct, mixed
from curate.select.duplicates.text import Texts
from curate.select.policy_sections import Duplicates, ImageDuplicates, TextDuplicates
from curate.select.pool import Pool, Rows

NO_PICTURE = 0
"""Value of the column ``pictures`` for a sample without any."""

_BEST_FIRST: dict[str, pl.DataType] = {
    "id": pl.String(),
    "kind": pl.Categorical(),
    "source": pl.Categorical(),
    "judge_score": pl.Float64(),
    "text_chars": pl.Int32(),
    "row": pl.Int64(),
    "pictures": pl.UInt64(),
    "width": pl.Int64(),
    "height": pl.Int64(),
}
_EDGES_AT_ONCE = 50_000
_NO_EDGES = pl.DataFrame(schema=EDGES)


def best_first(pool: Pool) -> pl.DataFrame:
    """The samples of a pool, the best first: judge score, then pixels of the largest picture, longer text, id.

    Columns: row, id, kind, source, judge_score, width and height of the largest picture, text_chars, and ``pictures``,
    which is equal for samples that have the same picture files.
    """
    frames = []
    wanted = ["kind", "source", "judge_score", "text_chars"]
    for (rows, samples), (_, facts) in zip(pool.samples(["images"]), pool.facts(wanted), strict=True):
        frames.append(facts.select("id", *wanted).with_columns(row=pl.Series(rows)).hstack(_pictures(samples)))
    if not frames:
        return pl.DataFrame(schema=_BEST_FIRST)
    return (
        pl.concat(frames)
        .with_columns(pl.col("kind", "source").cast(pl.Categorical))
        .sort(
            pl.col("judge_score").fill_nan(None),
            pl.col("width") * pl.col("height"),
            "text_chars",
            "id",
            "row",
            descending=[True, True, True, False, False],
            nulls_last=True,
        )
    )


def _pictures(samples: pa.Table) -> pl.DataFrame:
    """Size of the largest picture, and a number for the set of picture files, of each sample."""
    images = samples["images"].combine_chunks()
    flat = pc.list_flatten(images)
    columns = {name: pl.Series(pc.struct_field(flat, name)) for name in ("sha256", "width", "height")}
    frame = pl.DataFrame({"nth": pc.list_parent_indices(images).to_numpy().astype(np.int64), **columns})
    frame = frame.with_columns(pl.col("width", "height").cast(pl.Int64), file=pl.col("sha256").hash())
    area = pl.col("width") * pl.col("height")
    of_sample = frame.group_by("nth", maintain_order=True).agg(
        pl.col("file").unique().sum().alias("pictures"), pl.col("width", "height").sort_by(area, "width").last()
    )
    return (
        pl.DataFrame({"nth": np.arange(len(samples))})
        .join(of_sample, on="nth", how="left", maintain_order="left")
        .select(pl.col("pictures").fill_null(NO_PICTURE), pl.col("width", "height").fill_null(0))
    )


def layers(pool: Pool, policy: Duplicates, samples: pl.DataFrame) -> tuple[list[Layer], dict[str, int]]:
    """The layers that a policy asks for, text first, then image, then pair; of samples in the order of best_first.

    And how many pictures or pairs of pictures could not be compared, by cause (:func:`image_pairs`).
    """
    compared = _Compared(pool, policy, samples)
    made = []
    if policy.text is not None:
        made.append(compared.text_layer(policy.text.kinds))
    if policy.image is not None:
        made.append(compared.image_layer(policy.image.kinds))
    if policy.pair is not None:
        made.append(compared.pair_layer(policy.pair.kinds))
    return made, compared.pictures_told


@dataclass(frozen=True)
class _Nodes:
    """Samples that are the same in a layer, taken together. The node with the best sample comes first."""

    node: Numbers
    """For each sample its node."""
    first: Numbers
    """For each node its best sample's place among the samples."""


class _Compared:
    """What all layers share: texts and pictures of the samples, compared once."""

    def __init__(self, pool: Pool, policy: Duplicates, samples: pl.DataFrame) -> None:
        self._samples = samples
        sections = [section for section in (policy.text, policy.image, policy.pair) if section is not None]
        text_kinds = {kind for section in sections if section is not policy.image for kind in section.kinds}
        image_kinds = {kind for section in sections if section is not policy.text for kind in section.kinds}
        source = samples["source"].to_physical().to_numpy().astype(np.uint64)
        self._source = np.zeros_like(source) if policy.across_sources else source
        self._pictures = samples["pictures"].to_numpy()
        self._text = np.full(len(samples), -1, np.int64)
        self.pictures_told: dict[str, int] = {}
        if text_kinds:
            self._texts = Texts.of(pool, policy.text or TextDuplicates(), text_kinds)
            place = np.full(len(pool.alive), -1, np.int64)
            place[samples["row"].to_numpy()] = np.arange(len(samples))
            self._text[place[self._texts.rows]] = self._texts.text
        if image_kinds:
            pairs = image_pairs(pool, policy.image or ImageDuplicates(), image_kinds)
            self._near_pictures = self._between_sets(pairs, len(pool.alive))
            self.pictures_told = {
                name.decode(): int(count) for name, count in (pairs.schema.metadata or {}).items() if count.isdigit()
            }

    def text_layer(self, kinds: Collection[str]) -> Layer:
        chosen = self._of(kinds)
        chosen = chosen[~self._texts.sketches.empty[self._text[chosen]]]
        nodes = _nodes(self._text[chosen].astype(np.uint64), self._source[chosen])
        search = _TextSearch(self._texts, self._text[chosen][nodes.first], self._source[chosen][nodes.first])
        edges = search(np.ones(len(nodes.first), bool))
        same = (1.0, None, None)
        return Layer("text", self._rows(chosen), nodes.node, edges, same, None if search.complete else search)

    def image_layer(self, kinds: Collection[str]) -> Layer:
        chosen = self._of(kinds)
        chosen = chosen[self._pictures[chosen] != NO_PICTURE]
        pictures, source = self._pictures[chosen], self._source[chosen]
        nodes = _nodes(pictures, source)
        known = pl.DataFrame({"pictures": pictures[nodes.first], "source": source[nodes.first]}).with_row_index("node")
        found = [_NO_EDGES, *(_edges(part) for part in self._joined(known, ["source"]))]
        return Layer("image", self._rows(chosen), nodes.node, pl.concat(found), (None, 0, "exact"))

    def pair_layer(self, kinds: Collection[str]) -> Layer:
        chosen = self._of(kinds)
        pictures, source, text = self._pictures[chosen], self._source[chosen], self._text[chosen]
        nodes = _nodes(text.astype(np.uint64), pictures, source)
        pictures, source, text = pictures[nodes.first], source[nodes.first], text[nodes.first]
        # Near texts with the same pictures: texts are compared within the samples of one set of pictures.
        search = _TextSearch(self._texts, text, mixed(mixed(pictures) + source), pictures)
        found = [search(np.ones(len(nodes.first), bool))]
        # Equal or near texts with near pictures: for each pair of such pictures, the texts of the two sides.
        critical = self._texts.sketches.critical[text]
        known = pl.DataFrame({"pictures": pictures, "source": source, "critical": critical}).with_row_index("node")
        for part in self._joined(known, ["source", "critical"]):
            left, right = part["left"].to_numpy(), part["right"].to_numpy()
            similarity = self._texts.similarity(text[left], text[right])
            near = similarity >= np.float32(self._texts.options.threshold)
            found.append(_edges(part.with_columns(similarity=pl.Series(similarity)).filter(pl.Series(near))))
        same = (1.0, 0, "exact")
        return Layer(
            "pair", self._rows(chosen), nodes.node, pl.concat(found), same, None if search.complete else search
        )

    def _of(self, kinds: Collection[str]) -> Numbers:
        """Places of the samples of some kinds, best first."""
        chosen = self._samples["kind"].cast(pl.String).is_in(sorted(kinds))
        return chosen.arg_true().to_numpy().astype(np.int64)

    def _rows(self, chosen: Numbers) -> Rows:
        rows: Rows = self._samples["row"].to_numpy()[chosen]
        return rows

    def _between_sets(self, pairs: pa.Table, count: int) -> pl.DataFrame:
        """Near pairs of samples as near pairs of sets of pictures: columns one, other, distance, how."""
        of_row = np.zeros(count, np.uint64)
        of_row[self._samples["row"].to_numpy()] = self._pictures
        one, other = (of_row[pairs[side].to_numpy()] for side in ("left", "right"))
        told = {"distance": pl.Series(pairs["distance"]), "how": pl.Series(pairs["how"])}
        return (
            pl.DataFrame({"one": np.minimum(one, other), "other": np.maximum(one, other), **told})
            .filter(pl.col("one") != pl.col("other"))
            .sort("one", "other", "distance", "how")
            .unique(["one", "other"], keep="first", maintain_order=True)
        )

    def _joined(self, nodes: pl.DataFrame, equal: list[str]) -> Iterator[pl.DataFrame]:
        """Pairs of nodes with near pictures and otherwise equal columns: left, right, distance, how."""
        nodes = nodes.with_columns(pl.col("node").cast(pl.Int64))
        for near in self._near_pictures.iter_slices(_EDGES_AT_ONCE):
            sides = near.join(nodes, left_on="one", right_on="pictures").join(
                nodes, left_on=["other", *equal], right_on=["pictures", *equal], suffix="_other"
            )
            left, right = pl.min_horizontal("node", "node_other"), pl.max_horizontal("node", "node_other")
            yield sides.select("distance", "how", left=left, right=right).sort("left", "right")


class _TextSearch:
    """Near texts among nodes, within groups."""

    def __init__(self, texts: Texts, text: Numbers, group: Hashes, pictures: Hashes | None = None) -> None:
        self._texts, self._text, self._group, self._pictures = texts, text, group, pictures
        self.complete = True
        """Whether the last search found all pairs."""

    def __call__(self, remains: npt.NDArray[np.bool_]) -> pl.DataFrame:
        """Edges among the nodes that remain."""
        which = np.flatnonzero(remains)
        found, self.complete = self._texts.near(Nodes(self._text[which], self._group[which]))
        edges = pl.DataFrame(
            {"left": which[found.left], "right": which[found.right], "similarity": found.similarity}
        ).with_columns(distance=pl.lit(None, pl.Int8), how=pl.lit(None, pl.String))
        if self._pictures is not None:
            shown = pl.Series(self._pictures[which[found.left]] != NO_PICTURE)
            edges = edges.with_columns(
                distance=pl.when(shown).then(pl.lit(0, pl.Int8)), how=pl.when(shown).then(pl.lit("exact"))
            )
        return _edges(edges)


def _edges(frame: pl.DataFrame) -> pl.DataFrame:
    missing = [pl.lit(None, kind).alias(name) for name, kind in EDGES.items() if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in EDGES.items())


def _nodes(*columns: Hashes) -> _Nodes:
    first, node = distinct(np.stack(columns, axis=1))
    return _Nodes(node, first)
