"""Signals about images and text together: images nobody placed, and DICOM headers that the words contradict.

A sample is in conflict when its text names modalities (or body regions) and none of them fits the header; naming one
that fits is enough to be free of it. Negation is not looked at: "no fracture of the femur" is odd on a chest film too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from curate.signals.words import BODY_PARTS, MODALITIES, REGIONS, Names

_SENTENCE = re.compile(r"[.;\n。；]")
_OTHER_EXAMINATION = re.compile(
    r"recommend|suggest|advis|consider|further|follow[- ]?up|correlat|prior|previous|earlier|subsequent|compar"
    r"|(?:may|might|could|would|should) be|建议|复查|对比|进一步",
    re.IGNORECASE,
)
"""Sentences that speak of another examination: one that was done, or should be."""

_CODE_WORD = re.compile(r"[A-Z]+")
_KNOWN_MODALITIES = frozenset[str]().union(*MODALITIES.fits)


def modality_conflict(text: str, modality: str) -> bool | None:
    """Whether ``text`` names modalities, but none like the DICOM code ``modality``; None when nothing can be said."""
    shown = frozenset({modality}) & _KNOWN_MODALITIES
    conflict = _conflict(MODALITIES, text, shown)
    if conflict:
        about_this = [sentence for sentence in _SENTENCE.split(text) if not _OTHER_EXAMINATION.search(sentence)]
        conflict = _conflict(MODALITIES, "\n".join(about_this), shown)
    return conflict


def body_part_conflict(text: str, body_part: str) -> bool | None:
    """Whether ``text`` names regions, but none like DICOM's Body Part Examined; None when nothing can be said."""
    shown = frozenset[str]().union(*(BODY_PARTS.get(code, ()) for code in _CODE_WORD.findall(body_part.upper())))
    return _conflict(REGIONS, text, shown)


def _conflict(names: Names, text: str, shown: frozenset[str]) -> bool | None:
    named = names.in_text(text) if shown else []
    return not any(codes & shown for codes in named) if named else None


def dicom_codes(metas: Sequence[str]) -> list[tuple[str, str] | None]:
    """DICOM modality and body part out of the ``meta`` column, "" where absent; None for samples without DICOM."""
    return [_codes(orjson.loads(meta)) if '"dicom"' in meta else None for meta in metas]


def _codes(meta: dict[str, Any]) -> tuple[str, str] | None:
    header = meta.get("dicom")
    if not isinstance(header, dict):
        return None
    modality, body_part = (header.get(name) for name in ("modality", "body_part"))
    return (modality if isinstance(modality, str) else "", body_part if isinstance(body_part, str) else "")


def measure_pairs(
    table: pa.Table, turns: pl.DataFrame, images: Sequence[int], codes: Sequence[tuple[str, str] | None]
) -> pl.DataFrame:
    """The ``pair_*`` columns of a samples table; ``codes`` is of :func:`dicom_codes`."""
    by_sample = turns.group_by("row").agg(
        pl.col("text").str.join("\n"), placed=pl.col("images").explode().drop_nulls().n_unique()
    )
    rows = pl.DataFrame({"row": pl.int_range(len(images), dtype=pl.UInt32, eager=True), "images": images})
    frame = rows.join(by_sample, on="row", how="left", maintain_order="left").with_columns(
        pl.col("text").fill_null(""), pl.col("placed").fill_null(0)
    )
    answers = _reference_answers(table) if any(codes) else [""] * len(images)
    texts = [f"{text}\n{answer}" for text, answer in zip(frame["text"], answers, strict=True)]
    pairs = list(zip(texts, codes, strict=True))
    return frame.select(
        pair_unplaced_images=(pl.col("images") - pl.col("placed").cast(pl.Int32)).cast(pl.Int32),
        pair_modality_conflict=pl.Series(
            [None if code is None else modality_conflict(text, code[0]) for text, code in pairs], dtype=pl.Boolean
        ),
        pair_body_part_conflict=pl.Series(
            [None if code is None else body_part_conflict(text, code[1]) for text, code in pairs], dtype=pl.Boolean
        ),
    )


def _reference_answers(table: pa.Table) -> list[str]:
    """What each query's reference says: its answers, and the options that they name by letter."""
    found = []
    for row in table.select(["answer", "choices"]).to_pylist():
        options = {choice["label"].casefold(): choice["text"] for choice in row["choices"] or ()}
        found.append("\n".join(options.get(answer.casefold(), answer) for answer in row["answer"] or ()))
    return found
