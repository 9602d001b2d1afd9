"""What a hit of a benchmark says, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_WHAT: Final = {"image": "it shows the picture of", "question": "it asks the question of"}
_HOW: Final = {
    "same_file": "the same file",
    "same_pixels": "the same pixels",
    "near": "nearly the same",
    "unconfirmed": "alike, not confirmed on the pixels",
    "whole": "the whole question",
    "ngrams": "many of its words in a row",
}


def hit_sentence(hit: Mapping[str, Any]) -> str:
    """Which row of which benchmark a sample shows or asks, and how alike they are.

    ``hit`` is a row of ``contamination/hits.parquet`` of whatever version; what it lacks is left out.
    """
    where = f"{hit.get('benchmark') or 'a benchmark'} {hit.get('benchmark_row') or ''}".strip()
    told = [_HOW.get(str(hit["how"]), str(hit["how"]).replace("_", " "))] if hit.get("how") else []
    for name, written in (("distance", "{:g} of 64 bits apart"), ("similarity", "correlation {:.2f}")):
        if (value := _number(hit.get(name))) is not None:
            told.append(written.format(value))
    if (share := _number(hit.get("share"))) is not None:
        told.append(f"{share:.0%} of its n-grams")
    if hit.get("both"):
        told.append("picture and question of the same row")
    sentence = f"{_WHAT.get(str(hit.get('kind')), 'it has something of')} {where}"
    return f"{sentence} ({', '.join(told)})" if told else sentence


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
