"""Signals about images and text together: images nobody placed, DICOM headers that the words contradict, and what
kind of picture it is.

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


_CATEGORIES = {
    code: category
    for category, codes in {
        "CT": "CT",
        "MR": "MR",
        "XR": "CR DX RG PX IO RTIMAGE",
        "MG": "MG",
        "US": "US IVUS BDUS",
        "PT": "PT",
        "NM": "NM",
        "XA": "XA",
        "RF": "RF",
        "OCT": "OPT OCT IVOCT",
        "fundus": "OP OPM OPV",
        "histology": "SM GM",
        "endoscopy": "ES",
        "dermatology": "DMS",
        "photograph": "XC",
    }.items()
    for code in codes.split()
}
"""DICOM's codes to the visual categories of a mixture: what looks alike has one name."""

_SINGLE_PHOTON = re.compile(r"\bSPECT\b", re.IGNORECASE)
_HEAD_TO_FOOT = (
    *("HEAD", "NECK", "CHEST", "BREAST", "ABDOMEN", "PELVIS", "SPINE", "SHOULDER", "ARM", "ELBOW", "HAND", "HIP"),
    *("LEG", "KNEE", "FOOT"),
)
_NO = frozenset({"no", "no.", "false", "否", "不是", "不"})


def visual_category(text: str, modality: str) -> str | None:
    """What kind of picture it is: by the DICOM code ``modality``, else the one modality that ``text`` names.

    Sentences about another examination are not looked at. None when neither says it.
    """
    if modality in _CATEGORIES:
        return _CATEGORIES[modality]
    named = MODALITIES.only_one(_about_this(text))
    if named == "PT" and _SINGLE_PHOTON.search(text):
        named = "NM"
    return None if named is None else _CATEGORIES.get(named)


def region(text: str, body_part: str) -> str | None:
    """The region that is shown: by DICOM's Body Part Examined, else the one that ``text`` names; None without one."""
    shown = _shown_regions(body_part)
    if shown:
        return "+".join(name for name in _HEAD_TO_FOOT if name in shown)
    return REGIONS.only_one(_about_this(text))


def modality_conflict(text: str, modality: str) -> bool | None:
    """Whether ``text`` names modalities, but none like the DICOM code ``modality``; None when nothing can be said."""
    shown = frozenset({modality}) & _KNOWN_MODALITIES
    conflict = _conflict(MODALITIES, text, shown)
    if conflict:
        conflict = _conflict(MODALITIES, _about_this(text), shown)
    return conflict


def body_part_conflict(text: str, body_part: str) -> bool | None:
    """Whether ``text`` names regions, but none like DICOM's Body Part Examined; None when nothing can be said."""
    return _conflict(REGIONS, text, _shown_regions(body_part))


def _shown_regions(body_part: str) -> frozenset[str]:
    return frozenset[str]().union(*(BODY_PARTS.get(code, ()) for code in _CODE_WORD.findall(body_part.upper())))


def _about_this(text: str) -> str:
    """The sentences that do not speak of another examination."""
    if not _OTHER_EXAMINATION.search(text):
        return text
    return "\n".join(sentence for sentence in _SENTENCE.split(text) if not _OTHER_EXAMINATION.search(sentence))


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
    """The ``pair_*`` columns, modality and body part of a samples table; ``codes`` is of :func:`dicom_codes`."""
    by_sample = turns.group_by("row").agg(
        pl.col("text").str.join("\n"), placed=pl.col("images").explode().drop_nulls().n_unique()
    )
    rows = pl.DataFrame({"row": pl.int_range(len(images), dtype=pl.UInt32, eager=True), "images": images})
    frame = rows.join(by_sample, on="row", how="left", maintain_order="left").with_columns(
        pl.col("text").fill_null(""), pl.col("placed").fill_null(0)
    )
    answers = _reference_answers(table)
    texts = [f"{text}\n{answer}" for text, answer in zip(frame["text"], answers, strict=True)]
    pairs = list(zip(texts, codes, strict=True))
    # "Is this a CT? No" names what the picture is not.
    telling = ["" if answer.casefold() in _NO else text for text, answer in zip(texts, answers, strict=True)]
    described = [(text, code or ("", "")) for text, code in zip(telling, codes, strict=True)]
    return frame.select(
        pair_unplaced_images=(pl.col("images") - pl.col("placed").cast(pl.Int32)).cast(pl.Int32),
        pair_modality_conflict=pl.Series(
            [None if code is None else modality_conflict(text, code[0]) for text, code in pairs], dtype=pl.Boolean
        ),
        pair_body_part_conflict=pl.Series(
            [None if code is None else body_part_conflict(text, code[1]) for text, code in pairs], dtype=pl.Boolean
        ),
        modality=pl.Series([visual_category(text, code[0]) for text, code in described], dtype=pl.String),
        body_part=pl.Series([region(text, code[1]) for text, code in described], dtype=pl.String),
    )


def _reference_answers(table: pa.Table) -> list[str]:
    """What each query's reference says: its answers, and the options that they name by letter."""
    found = []
    for row in table.select(["answer", "choices"]).to_pylist():
        options = {choice["label"].casefold(): choice["text"] for choice in row["choices"] or ()}
        found.append("\n".join(options.get(answer.casefold(), answer) for answer in row["answer"] or ()))
    return found
