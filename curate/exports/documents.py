"""Cut documents to a token budget, at the borders of their texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from curate.corpus import Image
from curate.select.tokens import image_tokens, text_tokens

SEPARATOR: Final = "\n\n"
"""What stands between two texts of a document that follow each other without a picture between them."""

Piece = str | Image
Chunk = list[Piece]

_BORDERS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?<=\n\n)(?=[^\n])",  # paragraphs
        r"(?<=\n)(?=[^\n])",  # lines
        r"(?<=[.!?;]\s)(?=\S)|(?<=[。！？；])",  # sentences
        r"(?<=\s)(?=\S)",  # words
    )
)
_JOINT: Final = 2
"""Tokens of a separator, at most."""
_END: Final = 1
"""Token that ends the document."""


class PicturesTooLargeError(ValueError):
    """The pictures that belong to one text do not fit into the budget, so they can't be kept with it."""


def chunks(parts: Sequence[Piece], budget: int) -> list[Chunk]:
    """The document in chunks of at most ``budget`` tokens (an estimate, see ``tokens``), in order, nothing left out.

    Pictures stay with the text that follows them, those at the end with the text before them. Cuts fall between texts;
    a text longer than the budget is cut between paragraphs, else lines, else sentences, else words, and the white space
    at the cut goes. A document without text has no chunks. Raises PicturesTooLargeError.
    """
    pieces = [part for part in parts if not isinstance(part, str) or part.strip()]
    if not any(isinstance(piece, str) for piece in pieces):
        return []
    room = budget - _END
    if _cost(pieces) <= room:
        return [pieces]
    found: list[Chunk] = []
    spent = room
    for atom in _atoms(pieces, room):
        cost = _cost(atom)
        if spent + cost > room:
            found.append([])
            spent = 0
        found[-1] += atom
        spent += cost
    joined = (_joined(chunk) for chunk in found)
    return [chunk for chunk in joined if any(chunk)]  # a piece may be nothing but white space


class _Continued(str):
    """A piece of a text whose beginning is the piece before it."""

    __slots__ = ()


def _atoms(pieces: Sequence[Piece], room: int) -> list[Chunk]:
    """What must stay together: each text, or piece of one, with its pictures."""
    last_text = max(position for position, piece in enumerate(pieces) if isinstance(piece, str))
    trailing = list(pieces[last_text + 1 :])
    atoms: list[Chunk] = []
    waiting: Chunk = []
    for position, piece in enumerate(pieces[: last_text + 1]):
        if not isinstance(piece, str):
            waiting.append(piece)
            continue
        pictures = [*waiting, *trailing] if position == last_text else waiting
        free = room - _cost(pictures) - _JOINT
        if free < min(text_tokens(piece), 32):
            raise PicturesTooLargeError(f"{len(pictures)} picture(s) that belong to one text leave no room for it")
        first, *rest = [piece] if text_tokens(piece) <= free else _cut(piece.strip(), free)
        atoms.append([*waiting, first])
        atoms += ([_Continued(text)] for text in rest)
        waiting = []
    atoms[-1] += trailing
    return atoms


def _cut(text: str, budget: int, level: int = 0) -> list[str]:
    """``text`` in pieces of at most ``budget`` tokens, cut at the coarsest borders that do."""
    if text_tokens(text) <= budget:
        return [text]
    if level == len(_BORDERS):
        size = max(1, budget // 2)  # a character takes up to 4/3 of a token
        return [text[start : start + size] for start in range(0, len(text), size)]
    return [piece for part in _BORDERS[level].split(text) for piece in _cut(part, budget, level + 1)]


def _cost(pieces: Sequence[Piece]) -> int:
    """Tokens of a run of pieces with the separators that may come between its texts."""
    return sum(_piece_cost(piece) for piece in pieces)


def _piece_cost(piece: Piece) -> int:
    if isinstance(piece, str):
        return text_tokens(piece) + (0 if isinstance(piece, _Continued) else _JOINT)
    return image_tokens(piece.width, piece.height)


def _joined(chunk: Chunk) -> Chunk:
    """The chunk with pieces of one text put together again, and without white space where a text was cut."""
    whole: Chunk = []
    for piece in chunk:
        if isinstance(piece, _Continued) and whole and isinstance(whole[-1], str):
            whole[-1] += piece
        else:
            whole.append(str(piece) if isinstance(piece, str) else piece)
    if isinstance(chunk[0], _Continued) and isinstance(whole[0], str):
        whole[0] = whole[0].lstrip()
    if isinstance(whole[-1], str):
        whole[-1] = whole[-1].rstrip()
    return whole
