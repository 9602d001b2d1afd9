"""Estimates of how many tokens texts and pictures take in Qwen's VL models, on the safe side, without a tokenizer."""

from __future__ import annotations

import math
import string
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.select.utf8 import borders, characters

Integers = npt.NDArray[np.int64]

IMAGE_MAX_PIXELS: Final = 768 * 768
"""LLaMA-Factory's default ``image_max_pixels``: larger pictures are scaled down to it."""


@dataclass(frozen=True)
class PatchRule:
    """How a model's image processor turns a picture into tokens."""

    side: int
    """Pixels on a side of what becomes one token: the patches, merged two by two."""
    min_pixels: int
    """Smaller pictures are scaled up to this."""
    max_pixels: int
    """Larger pictures are scaled down to this."""


PATCH_RULES: Final = {
    "qwen3-vl": PatchRule(side=16 * 2, min_pixels=256 * 256, max_pixels=4096 * 4096),
    "qwen2.5-vl": PatchRule(side=14 * 2, min_pixels=56 * 56, max_pixels=3584 * 3584),
    "qwen2-vl": PatchRule(side=14 * 2, min_pixels=56 * 56, max_pixels=3584 * 3584),
}
"""Patch rules by model, from the ``preprocessor_config.json`` of Qwen3-VL, Qwen2.5-VL and Qwen2-VL: ``patch_size``
times ``merge_size``, and the pixels that ``smart_resize`` (transformers, ``image_processing_qwen2_vl.py``) keeps to."""

QWEN3_VL: Final = PATCH_RULES["qwen3-vl"]

_FRAME: Final = 2
"""The start and end tokens around a picture."""

_LETTERS: Final = (string.ascii_letters + " ").encode()
_ASCII: Final = bytes(range(128))
_OTHER, _LETTER, _FOREIGN = range(3)
_KIND: Final = np.array(
    [_FOREIGN if byte > 127 else _LETTER if byte in _LETTERS else _OTHER for byte in range(256)], np.uint8
)
"""What each byte of a text counts as."""

_NOTHING: Final = pa.scalar("")
"""Made once: handed a Python value, Arrow looks for the dateutil package, each time for half a millisecond."""


def text_tokens(text: str) -> int:
    """About how many tokens ``text`` takes, rather too many than too few.

    One for 2.5 letters or spaces, one for each other ASCII character (Qwen splits numbers into digits), one for three
    bytes of any other script. Against Qwen's vocabulary that is 1.2 to 1.9 times the true number for English, German,
    French, Chinese, Japanese, Korean, Russian, Arabic and Thai prose, 1.0 for rows of laboratory values, 0.9 for Hindi;
    letters without words (DNA, base64) are the worst case with 0.7.
    """
    data = text.encode()
    others = data.translate(None, _LETTERS)
    foreign = len(others.translate(None, _ASCII))
    return math.ceil((len(data) - len(others)) / 2.5 + (len(others) - foreign) + foreign / 3)


def many_text_tokens(texts: pa.StringArray) -> Integers:
    """:func:`text_tokens` of many texts at once; none of them may be null."""
    starts = borders(texts)
    sizes = np.diff(starts).astype(np.int64)
    filled = np.flatnonzero(sizes)  # a sum over nothing is none to reduceat
    tokens = np.zeros(len(texts), np.int64)
    if filled.size:
        kinds = _KIND[characters(texts)]
        letters, foreign = (
            np.add.reduceat(kinds == kind, starts[filled], dtype=np.int64) for kind in (_LETTER, _FOREIGN)
        )
        others = sizes[filled] - letters - foreign
        tokens[filled] = np.ceil(letters / 2.5 + others + foreign / 3)
    return tokens


def most_text_tokens(texts: pa.StringArray) -> Integers:
    """What :func:`many_text_tokens` is at most, found without looking at the texts: their bytes."""
    sizes: Integers = np.diff(borders(texts)).astype(np.int64)
    return sizes


def many_image_tokens(
    images: pa.StructArray, rule: PatchRule = QWEN3_VL, max_pixels: int = IMAGE_MAX_PIXELS
) -> Integers:
    """:func:`image_tokens` of many pictures at once."""
    width, height = (images.field(name).to_numpy().astype(np.int64) for name in ("width", "height"))
    found = pa.array(width << 32 | height).dictionary_encode()
    sizes = found.dictionary.to_pylist()
    tokens = [image_tokens(size >> 32, size & 0xFFFFFFFF, rule, max_pixels) for size in sizes]
    of_each: Integers = np.array(tokens, np.int64)[found.indices.to_numpy()]
    return of_each


def image_tokens(width: int, height: int, rule: PatchRule = QWEN3_VL, max_pixels: int = IMAGE_MAX_PIXELS) -> int:
    """How many tokens a picture of this size takes, start and end tokens included.

    The rule of LLaMA-Factory (bounded by ``max_pixels``, its ``image_max_pixels``) followed by that of Qwen's image
    processor (``smart_resize``: sides rounded to whole tokens, the area kept within the rule's pixels).
    """
    if width * height > max_pixels:
        shrink = math.sqrt(max_pixels / (width * height))
        width, height = max(1, int(width * shrink)), max(1, int(height * shrink))
    columns, rows = max(1, round(width / rule.side)), max(1, round(height / rule.side))
    if columns * rows * rule.side**2 > rule.max_pixels:
        excess = math.sqrt(width * height / rule.max_pixels)
        columns, rows = (max(1, math.floor(length / excess / rule.side)) for length in (width, height))
    elif columns * rows * rule.side**2 < rule.min_pixels:
        grow = math.sqrt(rule.min_pixels / (width * height))
        columns, rows = (math.ceil(length * grow / rule.side) for length in (width, height))
    return columns * rows + _FRAME


def sample_tokens(
    table: pa.Table, rule: PatchRule = QWEN3_VL, max_pixels: int = IMAGE_MAX_PIXELS
) -> tuple[Integers, Integers]:
    """Tokens of the texts and of the pictures of each sample, of a samples table with ``turns`` and ``images``.

    A picture counts as often as the turns show it. What a trainer's chat template adds is not counted.
    """
    found = [_batch_tokens(batch, rule, max_pixels) for batch in table.select(["turns", "images"]).to_batches()]
    texts, pictures = zip(*found, strict=True) if found else ((), ())
    return np.concatenate([np.empty(0, np.int64), *texts]), np.concatenate([np.empty(0, np.int64), *pictures])


def _batch_tokens(batch: pa.RecordBatch, rule: PatchRule, max_pixels: int) -> tuple[Integers, Integers]:
    turns, images = batch.column("turns"), batch.column("images")
    part_lists = turns.flatten().field("parts")
    parts = part_lists.flatten()
    row = np.repeat(np.repeat(np.arange(batch.num_rows), _lengths(turns)), _lengths(part_lists))
    texts = _sums(row, many_text_tokens(pc.fill_null(parts.field("text"), _NOTHING)), batch.num_rows)

    shows = parts.field("image").is_valid().to_numpy(zero_copy_only=False)
    first = np.cumsum(_lengths(images)) - _lengths(images)
    shown = parts.field("image").drop_null().to_numpy() + first[row[shows]]
    of_each = many_image_tokens(images.flatten(), rule, max_pixels)
    return texts, _sums(row[shows], of_each[shown], batch.num_rows)


def _lengths(lists: pa.ListArray) -> Integers:
    sizes: Integers = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    return sizes


def _sums(row: Integers, tokens: Integers, rows: int) -> Integers:
    return np.bincount(row, tokens, minlength=rows).astype(np.int64)
