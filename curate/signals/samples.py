"""All signals of a table of samples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import PurePath
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from curate.corpus import Corpus, Image, UserError
from curate.signals.columns import SCHEMA, SIGNALS_VERSION
from curate.signals.image import ImageSignals, measure_image
from curate.signals.pair import dicom_codes, measure_pairs
from curate.signals.text import measure_text, read_turns

SAMPLE_COLUMNS = ["id", "kind", "images", "turns", "answer", "choices", "meta"]
"""Columns of a samples shard that are looked at."""

_SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".jpe": "jpeg", ".jfif": "jpeg"}
_BATCH = 256
"""Images handed to the threads at a time; a thread holds the bytes of one."""


class _Measured(NamedTuple):
    signals: ImageSignals
    found: bool
    """Whether the file with the right bytes was there."""


def signals_keys(table: pa.Table) -> list[str]:
    """For each sample a hash of all that its signals are made from, and of the version of the signals."""
    codes = dicom_codes(table["meta"].to_pylist())
    keys = []
    for sample_id, images, code in zip(table["id"].to_pylist(), table["images"].to_pylist(), codes, strict=True):
        files = [(image["sha256"], _suffix(image["path"], stored=image["stored"])) for image in images]
        content = orjson.dumps((SIGNALS_VERSION, sample_id, files, code))
        keys.append(hashlib.blake2b(content, digest_size=16).hexdigest())
    return keys


def _suffix(path: str | None, *, stored: bool) -> str:
    """Suffix of an image's own file; empty when there is none, or the image was made from something else."""
    return "" if stored or path is None else PurePath(path).suffix.lower()


def measure_samples(corpus: Corpus, table: pa.Table, keys: Sequence[str], threads: int) -> pa.Table:
    """The signals of a samples table with these ``keys``: one row a sample, in its order, with the documented schema.

    Images are decoded by ``threads`` threads, each once however many samples show it. A missing or changed file makes
    its samples unreadable, with the reason, and leaves their ``signals_key`` null.
    """
    images = [[Image(**image) for image in row] for row in table["images"].to_pylist()]
    measured = _measure_images(corpus, (image for row in images for image in row), threads)
    rows = [[measured[_place(image)] for image in row] for row in images]
    counts = [len(row) for row in images]
    turns = read_turns(table)
    texts = measure_text(turns, counts)
    pairs = measure_pairs(table, turns, counts, dicom_codes(table["meta"].to_pylist()))
    columns = {
        "id": table["id"].to_pylist(),
        "signals_key": [key if all(one.found for one in row) else None for key, row in zip(keys, rows, strict=True)],
        **_image_columns(images, [[one.signals for one in row] for row in rows]),
        **texts.to_dict(as_series=False),
        **pairs.to_dict(as_series=False),
    }
    return pa.table(columns, schema=SCHEMA)


_Place = tuple[str, int, str | None]


def _place(image: Image) -> _Place:
    """Samples that share an image name the same place; copies of a file are looked at one by one."""
    return (image.sha256, -1, None) if image.stored else (image.sha256, image.root, image.path)


def _measure_images(corpus: Corpus, images: Iterable[Image], threads: int) -> dict[_Place, _Measured]:
    distinct = {_place(image): image for image in images}
    waiting = iter(distinct.values())
    results: list[_Measured] = []
    with ThreadPoolExecutor(threads) as pool:
        while batch := list(islice(waiting, _BATCH)):
            results += pool.map(lambda image: _measure(corpus, image), batch)
    return dict(zip(distinct, results, strict=True))


def _measure(corpus: Corpus, image: Image) -> _Measured:
    try:
        data = corpus.image_bytes(image)
    except UserError as error:
        return _Measured(ImageSignals(problem=str(error)), found=False)
    return _Measured(measure_image(data), found=True)


def _image_columns(
    images: Sequence[Sequence[Image]], signals: Sequence[Sequence[ImageSignals]]
) -> dict[str, list[Any]]:
    """The ``image_*`` columns: of several images the worst."""
    problems = [next((one.problem for one in row if one.problem is not None), None) for row in signals]
    return {
        "image_count": [len(row) for row in images],
        "image_readable": [problem is None if row else None for problem, row in zip(problems, images, strict=True)],
        "image_problem": problems,
        "image_extension_ok": [_extensions_ok(row) for row in images],
        "image_min_side": [min((min(one.width, one.height) for one in row), default=None) for row in images],
        "image_max_side": [max((max(one.width, one.height) for one in row), default=None) for row in images],
        "image_aspect": [max((_aspect(one) for one in row), default=None) for row in images],
        "image_entropy": [_lowest(one.entropy for one in row) for row in signals],
        "image_sharpness": [_lowest(one.sharpness for one in row) for row in signals],
        "image_bits": [_lowest(one.bits for one in row) for row in signals],
        "image_phashes": [[one.phash for one in row] for row in signals],
        "image_phashes_mirrored": [[one.phash_mirrored for one in row] for row in signals],
        "image_phashes_trimmed": [[one.phash_trimmed for one in row] for row in signals],
        "image_content_boxes": [[one.content_box for one in row] for row in signals],
        "image_phashes_cropped": [[one.phashes_cropped for one in row] for row in signals],
    }


def _extensions_ok(images: Sequence[Image]) -> bool | None:
    pairs = [(_suffix(image.path, stored=image.stored), image.format) for image in images]
    known = [_SUFFIXES.get(suffix) == image_format for suffix, image_format in pairs if suffix]
    return all(known) if known else None


def _aspect(image: Image) -> float:
    return round(max(image.width, image.height) / min(image.width, image.height), 4)


def _lowest(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)
