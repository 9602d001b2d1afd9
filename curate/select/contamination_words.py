"""How hits are put into words: the reason shown for a dropped sample, and short pieces of long texts."""

from __future__ import annotations

import re
from typing import Any

_LENGTH = 240
_SEARCHED = 20_000
_WORD = re.compile(r"\w+")

_PICTURES = {
    "same_file": "its picture is the same file as one of {row}",
    "same_pixels": "its picture has the same pixels as one of {row}",
    "near": "its picture is nearly the same as one of {row} ({distance} of 64 hash bits differ)",
    "unconfirmed": "its picture cannot be read, and its hash is near that of one of {row} ({distance} of 64 differ)",
}


def reason_for(hit: dict[str, Any]) -> str:
    """Why a sample with this hit is dropped."""
    split = f", split {hit['split']}" if hit["split"] else ""
    row = f"{hit['benchmark']} ({hit['benchmark_row']}{split})"
    shows = _PICTURES[hit["how"]].format(row=row, distance=hit["distance"]) if hit["kind"] == "image" else ""
    if hit["both"]:
        return (
            f"{shows}, and it asks that row's question"
            if shows
            else f"it shows the picture and asks the question of {row}"
        )
    if shows:
        return shows
    if hit["how"] == "whole":
        return f"it asks a question of {row}"
    return f"it holds {hit['share']:.0%} of the n-grams of a question of {row}"


def excerpt(text: str, near: str | None) -> str:
    """At most 240 characters of ``text``, from where it begins to say what ``near`` says, on one line."""
    start = _place(text, near) if near and len(text) > _LENGTH else 0
    piece = " ".join(text[max(0, start - 20) : start + 2 * _LENGTH].split())
    cut = piece if len(piece) <= _LENGTH else f"{piece[: _LENGTH - 1]}…"
    return f"…{cut[1:]}" if start > 20 else cut


def _place(text: str, near: str) -> int:
    """Where in ``text`` the first run of four words of ``near`` stands; 0 when there is none."""
    words = _WORD.findall(near)
    for first in range(0, min(len(words), 40), 4):
        run = r"\W+".join(map(re.escape, words[first : first + 4]))
        if match := re.compile(run, re.IGNORECASE).search(text, 0, _SEARCHED):
            return match.start()
    return 0
