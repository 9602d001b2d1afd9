"""Pictures that are the same, each with the one that stands for it.

Pictures are gone through in order, the largest first. One that no earlier picture stands for stands for itself and for
all later ones that are the same as it: those that its hashes, or those of a copy, suggest and its own pixels confirm.
So every picture is the same as the one that stands for it, never only the last of a chain, and copies of one picture
cost one comparison each, however many there are.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.engine import usable_cores
from curate.select.duplicates.hamming import Hashes, Positions
from curate.select.duplicates.images_compare import (
    alike,
    mirrored_profiles,
    same,
    same_cropped,
)
from curate.select.duplicates.images_search import ROUTES, Candidates, Route, Search
from curate.select.duplicates.images_series import Places, clashes
from curate.select.duplicates.images_thumbnails import Thumbnails

_AT_ONCE = 1 << 18
"""Candidates looked at together, about."""
_COMPARED = 512
"""Pairs of pictures compared together."""
HOW = ("same", "near", "mirrored", "cropped")
"""How a picture goes with the one that stands for it, by number."""


class _Way(NamedTuple):
    """One way to compare two pictures."""

    inside: tuple[bool, bool] = (False, False)
    """For the first and the second picture, whether only what is inside its borders is looked at."""
    aligned: bool = False
    """With the edges of one found in the other."""
    backward: bool = False
    """The first picture's in the second, not the other way round."""

    @property
    def crops(self) -> bool:
        return any(self.inside) or self.aligned


_INSIDE = tuple(_Way(inside, aligned=True) for inside in ((True, True), (True, False), (False, True)))
_CROPPED = (_Way(aligned=True), _Way(aligned=True, backward=True))
_DIRECT: dict[Route, tuple[_Way, ...]] = {
    "near": (_Way(), _Way(aligned=True)),
    "mirrored": (_Way(), _Way(aligned=True)),
    "trimmed": _INSIDE,
    "outer": _CROPPED[:1],
    "inner": _CROPPED[1:],
}
_INDIRECT = (_Way(), *_CROPPED, *_INSIDE)
"""For a picture whose hash is near that of a copy only: whatever was done to that copy may come on top."""


@dataclass
class Classes:
    """For each picture the one that stands for it."""

    stands: Positions
    how: npt.NDArray[np.int8]
    """Place in HOW."""
    distance: npt.NDArray[np.int8]
    """Bits by which the hashes that led to it differ."""
    flipped: npt.NDArray[np.bool_]
    """Whether it is the mirror image."""
    leads: npt.NDArray[np.bool_]
    """Whether it stands for others."""
    unreadable: int = 0
    """Pictures whose hash is near another's but which could not be read to compare them."""
    low_contrast: int = 0
    """Those that are too nearly blank to be compared."""
    compared: int = 0
    """Pairs of pictures compared pixel by pixel."""
    in_series: int = 0
    """Pairs left apart because they are slices of one series."""

    @classmethod
    def none(cls, count: int) -> Classes:
        """Every picture stands for itself alone."""
        bits = np.zeros((2, count), np.int8)
        flags = np.zeros((2, count), bool)
        return cls(np.arange(count), bits[0], bits[1], flags[0], flags[1])


class _Rounds:
    """Passes over pictures and their candidates."""

    def __init__(
        self,
        search: Search,
        thumbnails: Thumbnails,
        places: Places,
        found: Classes,
        threads: ThreadPoolExecutor,
        *,
        cropped: bool,
    ) -> None:
        self._search, self._thumbnails, self._places, self._found = search, thumbnails, places, found
        self._threads, self._cropped = threads, cropped
        self._taken: dict[int, set[tuple[int, int]]] = {}
        """For each picture that stands for others, the series of all of them."""
        self._tried: set[int] = set()
        """Comparisons that a copy has suggested already."""

    def run(self, pictures: Positions) -> Positions:
        """Compare the candidates of ``pictures`` with those that stand for these; the pictures that joined them."""
        found = self._found
        pairs = self._search.candidates(pictures, found.stands[pictures])
        open_ = (found.stands[pairs.right] == pairs.right) & ~found.leads[pairs.right]
        pairs = _chosen(pairs, open_ & (self._thumbnails.place[pairs.right] >= 0))
        leader = found.stands[pairs.left]
        related = self._places.related(leader, pairs.right)
        found.in_series += np.unique(leader[related] * found.stands.size + pairs.right[related]).size
        pairs = self._untried(_chosen(pairs, ~related))
        return self._join(pairs, self._matched(pairs))

    def start(self) -> None:
        """Forget what was tried for pictures that are done."""
        self._tried.clear()

    def _untried(self, pairs: Candidates) -> Candidates:
        """Pairs without those that several copies of one picture suggest: that is compared once, in every way."""
        leader = self._found.stands[pairs.left]
        mirrored = self._found.flipped[pairs.left] ^ (pairs.route == ROUTES.index("mirrored"))
        keys = (leader * self._found.stands.size + pairs.right) * 2 + mirrored
        kept = leader == pairs.left
        for place in np.flatnonzero(~kept).tolist():
            key = int(keys[place])
            kept[place] = key not in self._tried
            self._tried.add(key)
        return _chosen(pairs, kept)

    def _matched(self, pairs: Candidates) -> npt.NDArray[np.int8]:
        """How each pair's second picture goes with what stands for the first, 0 when it does not."""
        leader, result = self._found.stands[pairs.left], np.zeros(pairs.left.size, np.int8)
        plain = leader == pairs.left
        blocks: list[tuple[Positions, tuple[_Way, ...]]] = []
        for direct in (True, False):
            for number, route in enumerate(ROUTES):
                chosen = np.flatnonzero((pairs.route == number) & (plain == direct))
                ways = _DIRECT[route] if direct else _INDIRECT
                blocks += [(chosen[start : start + _COMPARED], ways) for start in range(0, chosen.size, _COMPARED)]

        def compared(block: tuple[Positions, tuple[_Way, ...]]) -> tuple[npt.NDArray[np.int8], int]:
            which, ways = block
            flipped = self._found.flipped[pairs.left[which]] ^ (pairs.route[which] == ROUTES.index("mirrored"))
            return self._compared(leader[which], pairs.right[which], flipped, ways)

        for (which, _), (how, count) in zip(blocks, self._threads.map(compared, blocks), strict=True):
            result[which] = how
            self._found.compared += count
        return result

    def _compared(
        self, one: Positions, other: Positions, flipped: npt.NDArray[np.bool_], ways: tuple[_Way, ...]
    ) -> tuple[npt.NDArray[np.int8], int]:
        """The first of ``ways`` in which pairs of pictures are the same, as a place in HOW, 0 for none; and how often
        two were compared."""
        thumbnails, result, count = self._thumbnails, np.zeros(one.size, np.int8), 0
        here, there = thumbnails.place[one], thumbnails.place[other]
        slack = np.maximum(thumbnails.slack[here], thumbnails.slack[there])
        bordered = thumbnails.bordered[here], thumbnails.bordered[there]
        for way in ways:
            if way.crops and not self._cropped:
                continue
            first_side, second_side = map(int, way.inside)
            profile = thumbnails.profiles[there, second_side]
            profile = np.where(flipped[:, None], mirrored_profiles(profile), profile)
            close = alike(thumbnails.profiles[here, first_side], profile, cropped=way.aligned)
            # Without borders there is no inside of its own: that way has been gone already.
            known = [has for has, inside in zip(bordered, way.inside, strict=True) if inside]
            left = np.flatnonzero((result == 0) & close & np.logical_and.reduce([np.ones(one.size, bool), *known]))
            if not left.size:
                continue
            first, second = thumbnails.pixels[here[left], first_side], thumbnails.pixels[there[left], second_side]
            second = np.where(flipped[left, None, None], second[:, :, ::-1], second)
            if way.aligned:
                outer, inner = (second, first) if way.backward else (first, second)
                agree = same_cropped(outer, inner, slack[left], cut_off=not any(way.inside))
            else:
                agree = same(first, second, slack[left])
            count += left.size
            how = np.where(flipped[left], HOW.index("mirrored"), HOW.index("near"))
            result[left[agree]] = HOW.index("cropped") if way.crops else how[agree]
        return result, count

    def _join(self, pairs: Candidates, how: npt.NDArray[np.int8]) -> Positions:
        """Let pictures stand for those that match them, in order; the pictures that are stood for now."""
        found, joined = self._found, []
        leaders = found.stands[pairs.left]
        hits = np.flatnonzero(how)
        for place, leader, left, right in zip(
            hits.tolist(), leaders[hits].tolist(), pairs.left[hits].tolist(), pairs.right[hits].tolist(), strict=True
        ):
            if found.stands[leader] != leader or found.stands[right] != right or found.leads[right]:
                continue
            keys = self._places.keys(right)
            members = self._taken.setdefault(leader, set(self._places.keys(leader)))
            if clashes(keys, members):
                found.in_series += 1
                continue
            members.update(keys)
            found.leads[leader] = True
            found.stands[right], found.how[right], found.distance[right] = leader, how[place], pairs.distance[place]
            found.flipped[right] = found.flipped[left] ^ (ROUTES[pairs.route[place]] == "mirrored")
            joined.append(right)
        return np.array(sorted(joined), np.int64)


def classify(
    search: Search, weights: Positions, hashes: Hashes, thumbnails: Thumbnails, places: Places, *, cropped: bool
) -> Classes:
    """Which picture stands for which; ``weights`` is of ``search`` and ``hashes`` those of the whole pictures.

    Pictures of one series never stand for each other, nor does one picture for two of them.
    """
    count = weights.size
    found = Classes.none(count)
    found.unreadable, found.low_contrast = thumbnails.unreadable, thumbnails.low_contrast
    waiting = np.flatnonzero((weights > 0) & (thumbnails.place >= 0))
    seen: set[tuple[int, int]] = set()
    with ThreadPoolExecutor(usable_cores()) as threads:
        rounds = _Rounds(search, thumbnails, places, found, threads, cropped=cropped)
        while waiting.size:
            upto = max(1, int(np.searchsorted(np.cumsum(weights[waiting]), _AT_ONCE, side="right")))
            pictures = waiting[:upto]
            rounds.start()
            while pictures.size:
                joined = rounds.run(pictures).tolist()
                # What is near a copy is compared with the original, too; copies with one hash are near the same.
                pictures = np.array([one for one in joined if _is_new(one, found, hashes, seen)], np.int64)
            waiting = waiting[upto:]
            waiting = waiting[found.stands[waiting] == waiting]
    return found


def _is_new(picture: int, found: Classes, hashes: Hashes, seen: set[tuple[int, int]]) -> bool:
    key = int(found.stands[picture]), int(hashes[picture])
    if key in seen:
        return False
    seen.add(key)
    return True


def _chosen(pairs: Candidates, flags: npt.NDArray[np.bool_]) -> Candidates:
    return Candidates(pairs.left[flags], pairs.right[flags], pairs.route[flags], pairs.distance[flags])
