"""Which samples are kept of those that are near each other: the best first, and nothing goes that is near none kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.select.pool import Rows

Numbers = npt.NDArray[np.int64]
LayerName = Literal["text", "image", "pair"]

HOW: dict[str, pl.DataType] = {"similarity": pl.Float32(), "distance": pl.Int8(), "how": pl.String()}
"""What is said of an edge: similarity of the texts, bits by which the pictures differ and how they match, or null."""
EDGES: dict[str, pl.DataType] = {"left": pl.Int64(), "right": pl.Int64(), **HOW}


@dataclass
class Layer:
    """One way in which samples can be duplicates: samples of one node are the same, those of joined nodes near."""

    name: LayerName
    rows: Rows
    node: Numbers
    """For each of ``rows`` its node, counted from 0."""
    edges: pl.DataFrame
    """Pairs of nodes with the columns of :data:`EDGES`, each once."""
    same: tuple[float | None, int | None, str | None]
    """What is said of two samples of one node, as :data:`HOW`."""
    search: Callable[[npt.NDArray[np.bool_]], pl.DataFrame] | None = None
    """Edges among nodes that remain (one flag a node); None when there are no more than ``edges``."""

    @property
    def count(self) -> int:
        """How many nodes there are."""
        return int(self.node.max(initial=-1)) + 1


@dataclass(frozen=True)
class Dropped:
    """Samples that are dropped, each with the sample it points to."""

    row: Rows
    keeper: Rows
    layer: npt.NDArray[np.int8]
    """Number of the layer in which the two are duplicates."""
    edge: Numbers
    """Row of that layer's edges; -1 for samples of one node."""


def keep_best(best_first: Rows, layers: Sequence[Layer]) -> Dropped:
    """Go through the samples, best first: one that is not dropped yet is kept, and all that it is near are dropped.

    So in a chain A ~ B ~ C with B the worst both ends stay, and with B the best both go: every dropped sample is near
    the kept one it points to, in the first of the layers in which it is. ``best_first`` has all samples of the layers.
    Edges that a layer's search finds among the kept ones are added to the layer until there are none.
    """
    while True:
        dropped = _once(best_first, layers)
        kept = np.ones(int(best_first.max(initial=-1)) + 1, bool)
        kept[dropped.row] = False
        found = False
        for layer in layers:
            if layer.search is not None:
                remains = np.zeros(layer.count, bool)
                remains[layer.node[kept[layer.rows]]] = True
                more = layer.search(remains)
                found |= bool(len(more))
                layer.edges = pl.concat([layer.edges, more])
        if not found:
            return dropped


def _once(best_first: Rows, layers: Sequence[Layer]) -> Dropped:
    size = int(best_first.max(initial=-1)) + 1
    graphs = [_Graph(layer, size) for layer in layers]
    involved = np.zeros(size, bool)
    for graph in graphs:
        involved |= graph.involved
    keeper = np.full(size, -1, np.int64)
    number = np.full(size, -1, np.int8)
    by_edge = np.full(size, -1, np.int64)
    for row in best_first[involved[best_first]].tolist():
        if keeper[row] >= 0:
            continue
        for layer, graph in enumerate(graphs):
            for edge, rows in graph.near(row):
                free = rows[(keeper[rows] < 0) & (rows != row)]
                keeper[free], number[free], by_edge[free] = row, layer, edge
    gone = np.flatnonzero(keeper >= 0)
    return Dropped(gone, keeper[gone], number[gone], by_edge[gone])


class _Graph:
    """A layer for look-up by sample."""

    def __init__(self, layer: Layer, size: int) -> None:
        count = layer.count
        self._node = np.full(size, -1, np.int64)
        self._node[layer.rows] = layer.node
        members = np.bincount(layer.node, minlength=count)
        self._members = layer.rows[np.argsort(layer.node, kind="stable")]
        self._starts = np.concatenate([[0], np.cumsum(members)])
        left, right = layer.edges["left"].to_numpy(), layer.edges["right"].to_numpy()
        ends, others = np.concatenate([left, right]), np.concatenate([right, left])
        order = np.argsort(ends, kind="stable")
        self._others = others[order]
        self._edges = np.tile(np.arange(len(left)), 2)[order]
        degrees = np.bincount(ends, minlength=count)
        self._first = np.concatenate([[0], np.cumsum(degrees)])
        self.involved = np.zeros(size, bool)
        """Samples that have a duplicate."""
        self.involved[layer.rows] = ((members > 1) | (degrees > 0))[layer.node]
        self._done = np.zeros(count, bool)
        """Nodes whose samples have been dropped, all of them or but for the kept one."""

    def near(self, row: int) -> list[tuple[int, Rows]]:
        """The samples of the node of a sample that is kept (edge -1) and of the nodes near it, by their edges."""
        node = self._node[row]
        if node < 0:
            return []
        at = slice(self._first[node], self._first[node + 1])
        found = [(-1, node), *zip(self._edges[at].tolist(), self._others[at].tolist(), strict=True)]
        near = [(edge, self._members[self._starts[n] : self._starts[n + 1]]) for edge, n in found if not self._done[n]]
        self._done[[n for _, n in found]] = True
        return near
