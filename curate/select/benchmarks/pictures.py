"""What a benchmark's pictures look like: hashes to find them by, and small grey copies to compare with.

A benchmark is hashed once: the result is kept beside the hits, and used again until its files change.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
from PIL import Image as Picture
from PIL import ImageOps

from curate.corpus import atomic_file, shard_fingerprint, write_shard
from curate.engine import usable_cores
from curate.select.benchmarks.load import BenchmarkRows, all_missing
from curate.select.benchmarks.tree import UnreadableError

VERSION = 1
"""Of what is measured here. Another version measures again."""
THUMBNAIL = 32
"""Pixels of a side of the small grey copy."""

Measure = Callable[[bytes], int | None]
"""Perceptual hash (64 bits) of a PNG or JPEG file, or None when it cannot be read."""

PICTURES = pl.Schema(
    {
        "place": pl.String(),
        "rows": pl.List(pl.Int32()),
        "sha256": pl.String(),
        "pixels": pl.String(),
        "phash": pl.UInt64(),
        "entropy": pl.Float32(),
        "thumbnail": pl.Binary(),
        "problem": pl.String(),
    }
)
"""One row a distinct picture: where it lies, which rows of the benchmark show it (by position), SHA-256 of the file and
of its pixels, perceptual hash, bits of information in its grey levels, and why it could not be read."""

_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
_MAX_PIXELS = 178_956_970
_ORIENTATION = 0x0112
_BATCH = 128
_EXAMPLES = 5


@dataclass(frozen=True)
class Look:
    """A decoded picture."""

    pixels: str
    """SHA-256 of size and RGB values."""
    thumbnail: bytes
    """Grey, 32 x 32."""
    entropy: float
    """Shannon entropy of the histogram of grey levels: 0 to 8 bits."""
    plain: bool
    """Whether the file itself is an upright 8-bit PNG or JPEG, as the pictures of a corpus are."""
    image: Picture.Image


@dataclass(frozen=True)
class BenchmarkPictures:
    """The pictures of a benchmark, measured."""

    table: pl.DataFrame
    """With the columns of :data:`PICTURES`."""
    shown: int
    """How often rows show a picture, present or not."""
    missing: int
    """How often the picture is not there."""
    unreadable: int
    """Distinct pictures that cannot be read."""
    examples: list[str]
    """Some that are missing or unreadable."""
    fingerprint: str
    """Of the files that were read."""


def look_at(data: bytes) -> Look:
    """Decode a picture upright, opaque, in 8 bits. Raises UnreadableError with the reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Picture.open(io.BytesIO(data), formats=_FORMATS) as opened:
                _check_size(*opened.size)
                turned = opened.getexif().get(_ORIENTATION, 1) != 1
                ordinary = opened.format in ("PNG", "JPEG") and opened.mode in ("1", "L", "P", "RGB", "YCbCr")
                plain = ordinary and not turned and "transparency" not in opened.info
                upright = ImageOps.exif_transpose(opened) if turned else opened
                image = _opaque(upright)
    except UnreadableError:
        raise
    except Exception as error:  # noqa: BLE001 - Pillow raises nearly anything on damaged files
        raise UnreadableError(" ".join(str(error).split())[:200] or type(error).__name__) from None
    grey = image.convert("L")
    counts = np.array(grey.histogram(), dtype=np.float64)
    shares = counts[counts > 0] / counts.sum()
    small = grey.resize((THUMBNAIL, THUMBNAIL), Picture.Resampling.BOX)
    content = b"%d %d " % image.size + image.convert("RGB").tobytes()
    entropy = abs(float(-(shares * np.log2(shares)).sum()))
    return Look(hashlib.sha256(content).hexdigest(), small.tobytes(), entropy, plain, image)


def _check_size(width: int, height: int) -> None:
    if width * height > _MAX_PIXELS:
        raise UnreadableError(f"{width} x {height} pixels are too many")


def _opaque(picture: Picture.Image) -> Picture.Image:
    """As an ingest shows it: 16 bits stretched to 8, transparent parts on white."""
    if picture.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(picture, dtype=np.float64))
        low, high = float(values.min()), float(values.max())
        scale = 255.0 / (high - low) if high > low else 0.0
        return Picture.fromarray(np.rint((values - low) * scale).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        paper = Picture.new("RGBA", picture.size, "white")
        paper.alpha_composite(picture.convert("RGBA"))
        return paper.convert("RGB")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")


def benchmark_pictures(rows: BenchmarkRows, measure: Measure, folder: Path) -> BenchmarkPictures:
    """The pictures of a benchmark, from the cache in ``folder`` when its files are still the same.

    Raises UserError when the layout has pictures and not one of them is there.
    """
    fingerprint, cache = _fingerprint(rows, measure), folder / _cache_name(rows)
    if shard_fingerprint(cache) == fingerprint and (kept := _read_cache(cache, fingerprint)) is not None:
        return kept
    seen: dict[str, dict[str, Any]] = {}
    shown = 0
    for owners, entry in _measured(rows, measure):
        shown += len(owners)
        same = seen.setdefault(entry["sha256"] or f"unreadable {entry['place']}", {**entry, "rows": []})
        same["rows"] += owners
    if rows.missing and not seen:
        raise all_missing(rows)
    table = pl.DataFrame(list(seen.values()), schema=PICTURES).with_columns(pl.col("rows").list.unique().list.sort())
    unreadable = table.filter(pl.col("problem").is_not_null())
    examples = [f"{reference} (missing)" for reference in islice(rows.missing, _EXAMPLES)]
    examples += [
        f"{place} ({problem})" for place, problem in unreadable.head(_EXAMPLES)["place", "problem"].iter_rows()
    ]
    missing = sum(map(len, rows.missing.values()))
    found = BenchmarkPictures(table, shown + missing, missing, len(unreadable), examples, fingerprint)
    _write_cache(cache, found)
    return found


def _measured(rows: BenchmarkRows, measure: Measure) -> Iterator[tuple[list[int], dict[str, Any]]]:
    """Each picture measured, once for all that have the same bytes and come near each other."""
    known: dict[str, dict[str, Any]] = {}

    def one(item: tuple[str, list[int], Callable[[], bytes]]) -> tuple[list[int], dict[str, Any]]:
        place, owners, read = item
        entry: dict[str, Any] = dict.fromkeys(PICTURES) | {"place": place}
        try:
            data = read()
            entry["sha256"] = hashlib.sha256(data).hexdigest()
            if entry["sha256"] in known:
                return owners, known[entry["sha256"]]
            entry |= _entry(data, measure)
        except UnreadableError as error:
            entry["problem"] = str(error)
        return owners, entry

    with ThreadPoolExecutor(usable_cores()) as pool:
        waiting = rows.pictures()
        while batch := list(islice(waiting, _BATCH)):
            for owners, entry in pool.map(one, batch):
                known.setdefault(entry["sha256"], entry)
                yield owners, entry


def _entry(data: bytes, measure: Measure) -> dict[str, Any]:
    look = look_at(data)
    if not look.plain:
        file = io.BytesIO()
        look.image.save(file, "PNG", compress_level=1)
        data = file.getvalue()
    phash = measure(data)
    return {
        "pixels": look.pixels,
        "phash": phash,
        "entropy": round(look.entropy, 4),
        "thumbnail": look.thumbnail,
        "problem": "it is damaged" if phash is None else None,
    }


def thumbnails(values: Iterable[bytes]) -> npt.NDArray[np.float32]:
    """Small grey copies with their mean taken off and scaled to length 1: products are correlations, -1 to 1."""
    data = b"".join(values)
    grey = np.frombuffer(data, np.uint8).reshape(-1, THUMBNAIL * THUMBNAIL).astype(np.float32)
    grey -= grey.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(grey, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = np.divide(grey, lengths, out=np.zeros_like(grey), where=lengths > 0)
    return scaled


def _fingerprint(rows: BenchmarkRows, measure: Measure) -> str:
    """Of sizes and times of all files that are read, of what is read from them, and of how pictures are hashed."""
    data = [(file.name, rows.tree.status(file.name)) for file in rows.files]
    named = [(place, rows.tree.status(place)) for place in sorted(rows.named)]
    content = (VERSION, measure(_probe()), rows.layout_name, rows.split, data, named, sorted(rows.missing))
    return hashlib.sha256(orjson.dumps(content)).hexdigest()


def _probe() -> bytes:
    """A picture whose hash changes when the definition of the hash does."""
    rows, columns = np.mgrid[0:48, 0:64]
    file = io.BytesIO()
    Picture.fromarray(((rows * columns + 7 * rows) % 251).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def benchmark_key(rows: BenchmarkRows) -> str:
    """Twelve characters that stay the same for a benchmark's place, layout and split, whatever its files hold."""
    which = (str(rows.tree.root.resolve()), rows.tree.only, rows.layout_name, rows.split)
    return hashlib.sha256(orjson.dumps(which)).hexdigest()[:12]


def _cache_name(rows: BenchmarkRows) -> str:
    return f"{_file_name(rows.name)}-{benchmark_key(rows)}.parquet"


def _file_name(name: str) -> str:
    return "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "_" for char in name)[:60] or "_"


def _write_cache(path: Path, found: BenchmarkPictures) -> None:
    counts = {name: value for name, value in asdict(found).items() if name not in ("table", "fingerprint")}
    write_shard(path, found.table.to_arrow(), found.fingerprint)
    with atomic_file(path.with_suffix(".json")) as file:
        file.write(orjson.dumps({"fingerprint": found.fingerprint, **counts}))


def _read_cache(path: Path, fingerprint: str) -> BenchmarkPictures | None:
    """What was kept, or None when it is damaged or of other files."""
    try:
        counts = orjson.loads(path.with_suffix(".json").read_bytes())
        if counts.pop("fingerprint") != fingerprint:
            return None
        table = pl.read_parquet(path)
        if table.schema != PICTURES:
            return None
        return BenchmarkPictures(table, fingerprint=fingerprint, **counts)
    except (OSError, ValueError, TypeError, KeyError, pl.exceptions.PolarsError):
        return None
