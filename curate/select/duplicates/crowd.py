"""Candidates among many texts that share a band because they share phrases, by the rarest shingles of each.

Sets that are at least t alike share one of their rarest elements: of a set of n, one of the n - ceil(t n) + 1 rarest,
and of the smaller one even of the n - ceil(2 t / (1 + t) n) + 1 rarest (prefix filter: Bayardo et al. 2007, Xiao et
al. 2008). Phrases of a template are frequent in the crowd, and so are never among them unless the rest is the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]

_PAIRS_A_TEXT = 300
_MOST_SHINGLES = 20_000_000


def crowd_pairs(shingles: npt.NDArray[np.uint64], ends: Numbers, threshold: float) -> tuple[Numbers, Numbers] | None:
    """Pairs of sets that can be at least ``threshold`` alike, left < right; None when they are too many to look at.

    The shingles of set i are ``shingles[ends[i]:ends[i + 1]]``, each once.
    """
    sizes = np.diff(ends)
    if len(shingles) > _MOST_SHINGLES:
        return None
    _, which, counts = np.unique(shingles, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(counts, kind="stable")] = np.arange(len(counts))
    text = np.repeat(np.arange(len(sizes)), sizes)
    rarest_first = np.sort(text << 32 | rank[which])
    text, shingle = rarest_first >> 32, rarest_first & (2**32 - 1)
    place = np.arange(len(text)) - ends[:-1][text]
    # A hair below the bound, as t n is not exact: 0.8 * 35 must not become 29.
    probe = place <= (sizes - np.ceil(threshold * sizes - 1e-6))[text]
    index = place <= (sizes - np.ceil(2 * threshold / (1 + threshold) * sizes - 1e-6))[text]
    order = np.argsort(shingle[index], kind="stable")
    indexed, holder = shingle[index][order], text[index][order]
    first = np.searchsorted(indexed, shingle[probe], "left")
    found = np.searchsorted(indexed, shingle[probe], "right") - first
    total = int(found.sum())
    if total > _PAIRS_A_TEXT * len(sizes):
        return None
    larger = np.repeat(text[probe], found)
    at = np.arange(total) - np.repeat(np.cumsum(found) - found, found)
    smaller = holder[np.repeat(first, found) + at]
    fits = (smaller != larger) & (sizes[smaller] <= sizes[larger])
    fits &= sizes[smaller] >= threshold * sizes[larger] - 1e-6
    left, right = np.minimum(smaller, larger)[fits], np.maximum(smaller, larger)[fits]
    pairs = np.unique(left << 32 | right)
    return pairs >> 32, pairs & (2**32 - 1)
