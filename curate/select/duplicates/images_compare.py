"""Whether two pictures whose hashes are near are one picture, told from small grey versions of both.

Hashes of 64 bits collide: radiographs of two patients and neighbouring slices of one volume often differ in fewer bits
than a picture and its copy. So a match counts only when the pixels agree: after the brightness and contrast of one are
fitted to the other (and, for crops, the edges by Gauss-Newton steps as in Lucas and Kanade 1981), the remaining
difference must be small in the mean, compared with the contrast of the picture, and small everywhere, so that a lesion
or an arrow in one of the two keeps them apart.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Bytes = npt.NDArray[np.uint8]

SIDE = 64
"""Pixels a side of the pictures that are compared, whatever their shape was."""
MIN_CONTRAST = 5.0
"""Standard deviation in grey levels below which a picture says too little to be recognised: it is like any other blank
one."""

_HALF = SIDE // 2
_COARSE = 8
_MEAN_DIFFERENCE = 0.12
"""Root mean square of the difference, as a share of the picture's standard deviation."""
_LARGEST, _LARGEST_FINE = 16.0, 32.0
"""Grey levels by which one pixel of 32 x 32, and of 64 x 64, may differ."""
_LARGEST_CROPPED = 16.0
"""The same of 32 x 32 pixels once edges are aligned."""
_ALIKE, _ALIKE_CROPPED = 0.9, 0.65
"""Correlation of 8 x 8 pixels below which nothing more is compared."""
_LEAST_CUT = 0.005
"""Share of a side that must be gone at one edge at least for a picture to count as cropped."""
_MOST_GAIN = 2.0
_DARK, _BRIGHT = 3, 252
"""Grey levels beyond which a value may have been cut off."""
_STEPS = 6
_HOPEFUL = (0.8, 0.5, 0.3, 0.2)
"""Mean difference, after each step, above which a pair is given up."""
_FIRST_GUESS = 0.015
_OUTWARD, _INWARD = -0.03, 0.085
"""Shares of a side by which an edge may lie outside and inside the other picture's."""


class Differences(NamedTuple):
    """How pairs of pictures differ; shapes (pairs,)."""

    mean: Floats
    """Root mean square, as a share of the standard deviation."""
    coarse: Floats
    """Largest difference of 32 x 32 pixels, in grey levels."""
    fine: Floats
    """Of 64 x 64 pixels."""


def coarse_profiles(pictures: Bytes) -> Floats:
    """8 x 8 pixels of each of (n, 64, 64) pictures as vectors of mean 0 and length 1: (n, 64)."""
    step = SIDE // _COARSE
    blocks = pictures.reshape(-1, _COARSE, step, _COARSE, step).mean(axis=(2, 4), dtype=np.float32)
    flat = blocks.reshape(-1, _COARSE**2)
    flat -= flat.mean(axis=1, keepdims=True)
    length = np.sqrt((flat**2).sum(axis=1, keepdims=True))
    result: Floats = flat / np.maximum(length, 1e-3)
    return result


def mirrored_profiles(profiles: Floats) -> Floats:
    """The profiles of the pictures' mirror images."""
    return profiles.reshape(-1, _COARSE, _COARSE)[:, :, ::-1].reshape(-1, _COARSE**2)


def alike(one: Floats, other: Floats, *, cropped: bool) -> npt.NDArray[np.bool_]:
    """Which pairs of profiles are worth a closer look."""
    result: npt.NDArray[np.bool_] = np.einsum("ij,ij->i", one, other) >= (_ALIKE_CROPPED if cropped else _ALIKE)
    return result


def same(one: Bytes, other: Bytes, slack: Floats) -> npt.NDArray[np.bool_]:
    """Which of the pairs (n, 64, 64) are one picture. ``slack`` (n,) widens the bounds for small pictures."""
    found = differences(one, other)
    result: npt.NDArray[np.bool_] = (
        (found.mean <= _MEAN_DIFFERENCE * slack)
        & (found.coarse <= _LARGEST * slack)
        & (found.fine <= _LARGEST_FINE * slack**2)
    )
    return result


def same_cropped(outer: Bytes, inner: Bytes, slack: Floats, *, cut_off: bool) -> npt.NDArray[np.bool_]:
    """Which ``inner`` pictures (n, 64, 64) are the ``outer`` ones with up to 8 % cut off their sides.

    ``cut_off`` when something must be gone, so that no detail is excused by edges that hardly moved.
    """
    mean, largest, cut = aligned_differences(outer, inner)
    result: npt.NDArray[np.bool_] = (
        (mean <= _MEAN_DIFFERENCE * slack)
        & (largest <= _LARGEST_CROPPED * slack)
        & ((np.abs(cut).max(axis=1) >= _LEAST_CUT) | (not cut_off))
    )
    return result


def slack_of(shortest_side: npt.NDArray[np.int64]) -> Floats:
    """By what to widen bounds for pictures of so few pixels that the traces of compression do not average out."""
    result: Floats = np.clip(np.sqrt(128 / np.maximum(shortest_side, 1)), 1, 2).astype(np.float32)
    return result


def differences(one: Bytes, other: Bytes) -> Differences:
    """What is left between pairs (n, 64, 64) once brightness and contrast are fitted."""
    a, b = one.astype(np.float32), other.astype(np.float32)
    half = np.broadcast_to(_resampling(np.zeros(1, np.float32), np.ones(1, np.float32)), (len(a), _HALF, SIDE))
    small_a, small_b = (half @ side @ half.transpose(0, 2, 1) for side in (a, b))
    left = _left_over(small_a, small_b)
    fine = _left_over(a, b)
    mean = np.sqrt((left**2).mean(axis=(1, 2))) / np.maximum(small_b.std(axis=(1, 2)), 1e-3)
    return Differences(mean, np.abs(left).max(axis=(1, 2)), np.abs(fine).max(axis=(1, 2)))


def aligned_differences(outer: Bytes, inner: Bytes) -> tuple[Floats, Floats, Floats]:
    """The same in 32 x 32 pixels, mean and largest, once the edges of ``inner`` are found in ``outer``; and those.

    Edges (pairs, 4) are shares of a side cut off left, right, top and bottom. The outermost pixels are left out: part
    of a frame may be in them.
    """
    a, b = outer.astype(np.float32), inner.astype(np.float32)
    whole = _resampling(np.zeros(1, np.float32), np.ones(1, np.float32))
    target = whole @ b @ whole.transpose(0, 2, 1)
    contrast = np.maximum(target.std(axis=(1, 2)), 1e-3)
    cut = np.full((len(a), 4), _FIRST_GUESS, np.float32)
    best = cut.copy()
    best_mean, largest = np.full((2, len(a)), np.inf, np.float32)
    going = np.arange(len(a))
    for step in range(_STEPS + 1):
        shown, slopes = _cut_out(a[going], cut[going])
        left = _left_over(shown[:, 1:-1, 1:-1], target[going, 1:-1, 1:-1])
        mean = np.sqrt((left**2).mean(axis=(1, 2))) / contrast[going]
        better = mean < best_mean[going]
        chosen = going[better]
        best_mean[chosen], best[chosen] = mean[better], cut[chosen]
        largest[chosen] = np.abs(left[better]).max(axis=(1, 2))
        cut[going] = np.clip(cut[going] + _step(shown, slopes, target[going]), _OUTWARD, _INWARD)
        going = going[best_mean[going] < _HOPEFUL[min(step, len(_HOPEFUL) - 1)]]
        if not going.size:
            break
    return best_mean, largest, best


def _cut_out(pictures: Floats, cut: Floats) -> tuple[Floats, Floats]:
    """The part of each picture inside its edges as 32 x 32 pixels, and how it changes with each of the four edges."""
    nudge = np.float32(0.25 / SIDE)
    left, right, top, bottom = cut.T
    across, down = _resampling(left, 1 - right), _resampling(top, 1 - bottom)
    rows, columns = down @ pictures, pictures @ across.transpose(0, 2, 1)
    shown = rows @ across.transpose(0, 2, 1)
    slopes = [
        rows @ (_resampling(left + nudge, 1 - right) - across).transpose(0, 2, 1),
        rows @ (_resampling(left, 1 - right - nudge) - across).transpose(0, 2, 1),
        (_resampling(top + nudge, 1 - bottom) - down) @ columns,
        (_resampling(top, 1 - bottom - nudge) - down) @ columns,
    ]
    return shown, np.stack(slopes, axis=1) / nudge


def _step(shown: Floats, slopes: Floats, target: Floats) -> Floats:
    """How far to move each edge, by least squares together with contrast and brightness."""
    pairs = len(shown)
    columns = np.concatenate([slopes, shown[:, None], np.ones_like(shown)[:, None]], axis=1).reshape(pairs, 6, -1)
    scale = np.sqrt((columns**2).mean(axis=2, keepdims=True)) + 1e-3
    columns = columns / scale
    wanted = (target - shown).reshape(pairs, -1, 1)
    normal = columns @ columns.transpose(0, 2, 1) + 1e-3 * columns.shape[2] * np.eye(6, dtype=np.float32)
    moved: Floats = (np.linalg.solve(normal, columns @ wanted)[:, :, 0] / scale[:, :, 0])[:, :4]
    return np.clip(moved, -0.03, 0.03)


def _resampling(start: Floats, end: Floats) -> Floats:
    """Matrices (n, 32, 64) from 64 pixels to 32 between two shares of a side, by a triangle as wide as they are apart.

    A triangle changes smoothly with its place, so a shift by part of a pixel makes no difference of its own.
    """
    width = ((end - start) * SIDE / _HALF)[:, None, None]
    centres = start[:, None, None] * SIDE + (np.arange(_HALF, dtype=np.float32)[None, :, None] + 0.5) * width
    pixels = np.arange(SIDE, dtype=np.float32)[None, None, :] + 0.5
    weights = np.maximum(0, 1 - np.abs(pixels - centres) / width)
    result: Floats = (weights / np.maximum(weights.sum(axis=2, keepdims=True), 1e-6)).astype(np.float32)
    return result


def _left_over(one: Floats, other: Floats) -> Floats:
    """``one``, with the contrast and brightness that fit ``other`` best, less ``other``.

    Values that are black or white already may have been cut off there: they are not fitted, and what lies beyond them
    is no difference.
    """
    known = (one > _DARK) & (one < _BRIGHT) & (other > _DARK) & (other < _BRIGHT)
    count = np.maximum(known.sum(axis=(1, 2), keepdims=True), 1)
    mean_one, mean_other = (np.where(known, side, 0).sum(axis=(1, 2), keepdims=True) / count for side in (one, other))
    here, there = np.where(known, one - mean_one, 0), np.where(known, other - mean_other, 0)
    power = (here**2).sum(axis=(1, 2), keepdims=True)
    gain = (here * there).sum(axis=(1, 2), keepdims=True) / np.maximum(power, 1e-3)
    # Of a black and white drawing there is nothing to fit.
    fitted = (count >= one[0].size // 20) & (power > count)
    gain = np.where(fitted, np.clip(gain, 1 / _MOST_GAIN, _MOST_GAIN), 1)
    offset = np.where(fitted, mean_other - gain * mean_one, 0)
    left = np.clip(gain * one + offset, 0, 255) - other
    beyond = ((one <= _DARK) & (left > 0)) | ((one >= _BRIGHT) & (left < 0))
    result: Floats = np.where(beyond, 0, left).astype(np.float32)
    return result
