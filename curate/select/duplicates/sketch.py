"""Texts as small sketches: which are equal, which may be near, and a key of what must not differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from rensa import RMinHash  # type: ignore[import-untyped,unused-ignore]

from curate.select.duplicates.normalise import CRITICAL, WITH_NEXT, WITH_NEXT_TWO, Hashes, Tokens, tokenise
from curate.select.policy_sections import TextDuplicates

_SEED = 20_260_902
_ODD = np.uint64(0x9E3779B97F4A7C15)
_FOUND = 0.998
"""Probability with which a pair exactly at the threshold must share a band."""
_BATCH = 256
"""Texts whose signatures are Python integers at one time: few enough that their memory is used again and again."""


@dataclass(frozen=True)
class Sketches:
    """Sketches of distinct texts, one row each."""

    keys: Hashes
    """Two hashes of the tokens in order, and of the reply: equal for texts that are the same."""
    critical: Hashes
    """Hash of the critical tokens in order, with the words that they bind, and of the reply."""
    bands: npt.NDArray[np.uint32]
    """Hash of each band of the MinHash signature."""
    slots: npt.NDArray[np.uint8]
    """The lowest byte of each slot of the signature, for a quick estimate of the similarity (Li and Koenig 2010)."""
    empty: npt.NDArray[np.bool_]
    """Whether there is no text at all."""

    def take(self, which: npt.NDArray[np.int64]) -> Sketches:
        """The sketches of some of the texts."""
        return Sketches(self.keys[which], self.critical[which], self.bands[which], self.slots[which], self.empty[which])

    @classmethod
    def joined(cls, parts: Sequence[Sketches]) -> Sketches:
        """Sketches one after the other."""
        return cls(
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.critical for part in parts]),
            np.concatenate([part.bands for part in parts]),
            np.concatenate([part.slots for part in parts]),
            np.concatenate([part.empty for part in parts]),
        )


def bands_and_rows(threshold: float, permutations: int) -> tuple[int, int]:
    """How a signature is cut: the longest bands by which a pair at the threshold is found in 998 of 1,000 cases.

    A pair of similarity s agrees in all r slots of one of b bands with probability 1 - (1 - s^r)^b (Broder 1997,
    Leskovec et al., Mining of Massive Datasets, 3.4).
    """
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= _FOUND:
            return bands, rows
    return permutations, 1


def sketch(texts: pl.Series, replies: pl.Series, options: TextDuplicates) -> tuple[Sketches, npt.NDArray[np.int64]]:
    """Sketches of the distinct ones among texts, and for each text which of them is its.

    ``replies`` are the answers to questions, which must be equal as a whole between duplicates; empty for others.
    """
    tokens, answers = tokenise(texts), tokenise(replies)
    order = _places(tokens.ends)
    reply = _sums(mixed(answers.hashes + _places(answers.ends)), answers.ends)
    keys = np.stack(
        [
            mixed(_sums(mixed(tokens.hashes ^ mixed(order + np.uint64(seed))), tokens.ends) + mixed(reply))
            for seed in (1, 2**40)
        ],
        axis=1,
    )
    first, which = distinct(keys)
    chosen = _taken(tokens, first)
    signatures = _signatures(*shingles(chosen, options.shingle), options.permutations)
    bands, rows = bands_and_rows(options.threshold, options.permutations)
    cut = signatures[:, : bands * rows].reshape(len(first), bands, rows)
    hashed = np.zeros((len(first), bands), np.uint64)
    for row in range(rows):
        hashed = mixed(hashed + cut[:, :, row] + np.uint64(1))
    sketches = Sketches(
        keys=keys[first],
        critical=mixed(_critical(chosen) + reply[first]),
        bands=(hashed >> np.uint64(32)).astype(np.uint32),
        slots=signatures.astype(np.uint8),
        empty=np.diff(chosen.ends) == 0,
    )
    return sketches, which


def shingles(tokens: Tokens, words: int) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Hashes of each text's runs of ``words`` tokens (of the whole text where it is shorter), and where texts start."""
    lengths = np.diff(tokens.ends)
    counts = np.where(lengths > 0, np.maximum(lengths - words + 1, 1), 0)
    ends = np.concatenate([[0], np.cumsum(counts)])
    starts = np.arange(ends[-1]) + np.repeat(tokens.ends[:-1] - ends[:-1], counts)
    limits = np.repeat(tokens.ends[1:], counts)
    hashes = np.zeros(len(starts), np.uint64)
    for step in range(words):
        at = starts + step
        inside = at < limits
        hashes = np.where(inside, mixed(hashes + tokens.hashes[np.where(inside, at, 0)]), hashes)
    return hashes, ends


def shingle_sets(texts: pl.Series, words: int) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """The distinct shingles of each of fewer than 65,536 texts as hashes of 48 bits, and where each text's start."""
    hashes, ends = shingles(tokenise(texts), words)
    text = np.repeat(np.arange(len(texts), dtype=np.uint64), np.diff(ends))
    values = np.sort(text << np.uint64(48) | hashes >> np.uint64(16))
    values = values[np.concatenate([[True], values[1:] != values[:-1]])] if len(values) else values
    counts = np.bincount((values >> np.uint64(48)).astype(np.int64), minlength=len(texts))
    return values & np.uint64(2**48 - 1), np.concatenate([[0], np.cumsum(counts)])


def distinct(keys: Hashes) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where each distinct row of keys stands first, in that order, and for every row which of those it equals."""
    order = np.lexsort((*keys.T[::-1],))
    new = np.ones(len(keys), bool)
    new[1:] = (keys[order[1:]] != keys[order[:-1]]).any(axis=1)
    first = order[new]  # lexsort is stable: the first of equals
    group = np.empty(len(keys), np.int64)
    group[order] = np.cumsum(new) - 1
    by_place = np.argsort(first)
    number = np.empty(len(first), np.int64)
    number[by_place] = np.arange(len(first))
    return first[by_place], number[group]


def mixed(values: Hashes) -> Hashes:
    """The finalizer of SplitMix64 (Steele et al. 2014): a hash of 64-bit numbers."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _critical(tokens: Tokens) -> Hashes:
    """Hash of each text's critical tokens, in order and with the words that they bind."""
    hashes = tokens.hashes
    kind = hashes & np.uint64(3)
    items = hashes.copy()
    limits = np.repeat(tokens.ends[1:], np.diff(tokens.ends))
    for step, kinds in ((1, (WITH_NEXT, WITH_NEXT_TWO)), (2, (WITH_NEXT_TWO,))):
        at = np.flatnonzero(np.isin(kind, np.array(kinds, np.uint64)))
        at = at[at + step < limits[at]]
        items[at] = mixed(items[at] + hashes[at + step])
    telling = kind >= np.uint64(CRITICAL)
    counted = np.concatenate([[0], np.cumsum(telling)])
    nth = (counted[1:] - np.repeat(counted[tokens.ends[:-1]], np.diff(tokens.ends))).astype(np.uint64)
    return _sums(np.where(telling, mixed(items ^ mixed(nth * _ODD)), np.uint64(0)), tokens.ends)


def _signatures(hashes: Hashes, ends: npt.NDArray[np.int64], permutations: int) -> npt.NDArray[np.uint32]:
    """MinHash signatures of texts, from the hashes of their shingles."""
    signatures = np.empty((len(ends) - 1, permutations), np.uint32)
    for start in range(0, len(signatures), _BATCH):
        cut = ends[start : start + _BATCH + 1]
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes[cut[0] : cut[-1]], cut - cut[0], permutations, _SEED
        )
        signatures[start : start + _BATCH] = matrix.to_rows()
    return signatures


def _places(ends: npt.NDArray[np.int64]) -> Hashes:
    """For each token its place in its text, spread over 64 bits."""
    places = np.arange(ends[-1]) - np.repeat(ends[:-1], np.diff(ends))
    return places.astype(np.uint64) * _ODD


def _sums(values: Hashes, ends: npt.NDArray[np.int64]) -> Hashes:
    """Sum over each text, modulo 2^64."""
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(values, dtype=np.uint64)])
    sums: Hashes = total[ends[1:]] - total[ends[:-1]]
    return sums


def _taken(tokens: Tokens, which: npt.NDArray[np.int64]) -> Tokens:
    """The tokens of some of the texts."""
    if len(which) == len(tokens.ends) - 1:
        return tokens
    lengths = np.diff(tokens.ends)[which]
    ends = np.concatenate([[0], np.cumsum(lengths)])
    return Tokens(tokens.hashes[np.arange(ends[-1]) + np.repeat(tokens.ends[which] - ends[:-1], lengths)], ends)
