"""Random choices that follow from a sample's id and a seed, whatever else a corpus holds and in whatever order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Draws = npt.NDArray[np.uint64]


def content_keys(hashes: Sequence[str]) -> Draws:
    """The first 64 bits of SHA-256 hashes in hex."""
    return np.frombuffer(bytes.fromhex("".join(value[:16] for value in hashes)), dtype=">u8").astype(np.uint64)


def draws(ids: Sequence[str], seed: int, purpose: str) -> Draws:
    """An even random number of 64 bits for each id (SHA-256 in hex).

    Numbers for one ``purpose`` say nothing about those for another: samples that a mixture draws with seed 0 are not
    those that a split with seed 0 puts on one side.
    """
    salt = int.from_bytes(hashlib.sha256(f"{purpose}:{seed}".encode()).digest()[:8], "big")
    return spread(content_keys(ids) ^ np.uint64(salt))


def spread(values: Draws) -> Draws:
    """SplitMix64's finalizer (Steele, Lea, Flood 2014): spreads every input bit over the whole word."""
    with np.errstate(over="ignore"):
        values = values + np.uint64(0x9E3779B97F4A7C15)
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return values ^ (values >> np.uint64(31))
