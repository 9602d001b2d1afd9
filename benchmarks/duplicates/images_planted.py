"""Pictures with planted near-duplicates and near-misses, cut from real radiographs, slices, photographs and slides.

Every original has seven copies (compressed, resized, other brightness and contrast, mirrored, framed, cropped, several
of these at once) and three pictures that only look like it (a finding, an arrow, the same anatomy bent by 4 %). Besides
there are volumes of neighbouring slices with numbered names, and the frames of a film.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import skimage
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

Pixels = NDArray[np.uint8]
SIDE = 640
_MIN_CONTRAST = 12
VOLUMES, SLICES, FRAMES = 4, 24, 60


def make(folder: Path, originals: int) -> dict[str, str]:
    """Fill ``folder``; for each file the picture that it shows, equal for an original and its copies."""
    chance = np.random.default_rng(0)
    copies, misses = _copies(chance), _misses(chance)
    shown: dict[str, str] = {}

    def write(name: str, data: bytes, picture: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        shown[name] = picture

    for number, pixels in zip(range(originals), _originals(chance), strict=False):
        picture = f"original {number}"
        key = f"{int(chance.integers(36**6)):x}q"
        write(f"original/{key}.png", _png(pixels), picture)
        for name, alter in copies.items():
            write(f"{name}/{key}-copy.jpg", alter(pixels), picture)
        for name, alter in misses.items():
            write(f"{name}/{key}-other.jpg", alter(pixels), f"{name} {number}")
    for volume in range(VOLUMES):
        for number, pixels in enumerate(_volume(volume)):
            write(f"volume {volume}/IM{number:04}.png", _png(pixels), f"slice {volume} {number}")
    film = pydicom.dcmread(_dicom_file("color3d_jpeg_baseline.dcm")).pixel_array[:FRAMES]
    seen: dict[bytes, str] = {}
    for number, frame in enumerate(film):
        grey = np.ascontiguousarray(frame[:, :, 0])
        picture = seen.setdefault(grey.tobytes(), f"frame {number}")  # a film that stands still repeats frames
        write(f"film/frame_{number:03}.png", _png(grey), picture)
    return shown


def _dicom_file(name: str) -> Path:
    import data_store

    return Path(data_store.__file__).parent / "data" / name


def _originals(chance: np.random.Generator) -> Iterator[Pixels]:
    """Squares out of real pictures, turned at random, with something to see in them."""
    bases = []
    for name in ("retina.jpg", "ihc.png", "hubble_deep_field.jpg", "motorcycle_left.png", "coffee.png"):
        with Image.open(Path(skimage.__file__).parent / "data" / name) as picture:
            bases.append(np.asarray(picture.convert("L")))
    for name in ("RG1_UNCR.dcm", "RG3_UNCR.dcm", "MR2_UNCR.dcm", "693_UNCR.dcm"):
        values = pydicom.dcmread(_dicom_file(name)).pixel_array.astype(np.float64)
        low, high = np.percentile(values, [0.5, 99.5])
        bases.append((np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8))
    taken = 0
    while True:
        base = bases[taken % len(bases)]
        side = int(min(base.shape) * chance.uniform(0.4, 0.6))
        top, left = (int(chance.integers(0, length - side + 1)) for length in base.shape)
        square = np.rot90(base[top : top + side, left : left + side], int(chance.integers(4)))
        pixels = np.asarray(
            Image.fromarray(np.ascontiguousarray(square)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        )
        taken += 1
        if pixels.std() >= _MIN_CONTRAST:
            yield pixels


def _copies(chance: np.random.Generator) -> dict[str, Callable[[Pixels], bytes]]:
    def quality() -> int:
        return int(chance.integers(60, 96))

    def resized(pixels: Pixels) -> Pixels:
        factor = chance.uniform(0.5, 1.5)
        size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
        way = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)[int(chance.integers(3))]
        return np.asarray(Image.fromarray(pixels).resize(size, way))

    def toned(pixels: Pixels) -> Pixels:
        contrast, level = chance.uniform(0.88, 1.12), chance.uniform(-10, 10)
        return np.clip((pixels.astype(float) - 128) * contrast + 128 + level, 0, 255).astype(np.uint8)

    def framed(pixels: Pixels) -> Pixels:
        above, below, before, after = (int(pixels.shape[0] * share) for share in chance.uniform(0.01, 0.12, 4))
        grey = int(chance.choice([0, 128, 255]))
        return np.pad(pixels, ((above, below), (before, after)), constant_values=grey)

    def cropped(pixels: Pixels) -> Pixels:
        height, width = pixels.shape
        above, below, before, after = chance.uniform(0, 0.05, 4)
        return np.ascontiguousarray(
            pixels[
                round(above * height) : round((1 - below) * height), round(before * width) : round((1 - after) * width)
            ]
        )

    return {
        "compressed": lambda pixels: _jpeg(pixels, quality()),
        "resized": lambda pixels: _jpeg(resized(pixels), 92),
        "toned": lambda pixels: _jpeg(toned(pixels), 92),
        "mirrored": lambda pixels: _jpeg(np.ascontiguousarray(pixels[:, ::-1]), 85),
        "framed": lambda pixels: _jpeg(framed(pixels), 90),
        "cropped": lambda pixels: _jpeg(cropped(pixels), 90),
        "several": lambda pixels: _jpeg(toned(resized(pixels)), quality()),
    }


def _misses(chance: np.random.Generator) -> dict[str, Callable[[Pixels], bytes]]:
    def finding(pixels: Pixels) -> Pixels:
        height, width = pixels.shape
        y, x = np.mgrid[:height, :width]
        down, across = chance.uniform(0.2, 0.8, 2)
        sign = -1 if pixels[int(down * height), int(across * width)] > 128 else 1
        distance = (y - down * height) ** 2 + (x - across * width) ** 2
        change = sign * 45 * np.exp(-distance / (0.035 * min(height, width)) ** 2)
        return np.clip(pixels + change, 0, 255).astype(np.uint8)

    def arrow(pixels: Pixels) -> Pixels:
        marked = pixels.copy()
        height, width = pixels.shape
        top, left = (
            int(share * length) for share, length in zip(chance.uniform(0.1, 0.8, 2), (height, width), strict=True)
        )
        part = marked[top : top + round(0.01 * height), left : left + round(0.08 * width)]
        part[:] = 255 if part.mean() < 128 else 0
        return marked

    def bent(pixels: Pixels) -> Pixels:
        height, width = pixels.shape
        y, x = np.mgrid[:height, :width].astype(float)
        for axis in (y, x):
            field = gaussian_filter(chance.normal(size=(64, 64)), 8)
            field = np.asarray(
                Image.fromarray((field / np.abs(field).max()).astype(np.float32)).resize((width, height))
            )
            np.add(axis, 0.04 * width * field, out=axis)
        moved = map_coordinates(pixels.astype(np.float32), [y, x], order=1, mode="nearest")
        return np.clip(moved, 0, 255).astype(np.uint8)

    return {
        "finding": lambda pixels: _jpeg(finding(pixels), 92),
        "arrow": lambda pixels: _jpeg(arrow(pixels), 92),
        "bent": lambda pixels: _jpeg(bent(pixels), 92),
    }


def _volume(seed: int) -> Iterator[Pixels]:
    """Neighbouring slices of a body with blobs in it, and noise of its own in each."""
    chance = np.random.default_rng(1000 + seed)
    y, x = np.mgrid[:256, :256] / 256 - 0.5
    blobs = [
        (
            *chance.uniform(-0.3, 0.3, 2),
            *chance.uniform(0.02, 0.12, 2),
            chance.uniform(-80, 100),
            chance.uniform(0, SLICES),
        )
        for _ in range(60)
    ]
    body = (x / 0.42) ** 2 + (y / 0.34) ** 2 < 1
    for z in range(SLICES):
        grey = 90.0 * body
        for down, across, high, wide, level, depth in blobs:
            near = np.exp(-(((z - depth) / 6) ** 2))
            grey += body * level * near * np.exp(-(((x - across) / wide) ** 2) - ((y - down) / high) ** 2)
        yield np.clip(gaussian_filter(grey, 0.7) + chance.normal(0, 4, grey.shape) * body, 0, 255).astype(np.uint8)


def _png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _jpeg(pixels: Pixels, quality: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()
