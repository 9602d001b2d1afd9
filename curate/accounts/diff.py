"""Two things side by side: selections, exports, or corpora."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from curate.accounts.diff_corpora import diff_corpora
from curate.accounts.diff_selections import diff_selections
from curate.accounts.sides import open_side
from curate.corpus import UserError

_ARTICLE: Final = {"selection": "a selection", "export": "an export"}


def diff(a: str, b: str, *, corpus: Path = Path("curated"), limit: int = 3) -> dict[str, Any]:
    """What changed from ``a`` to ``b``, as JSON values; see :func:`diff_selections` and :func:`diff_corpora`.

    Each is the directory of a corpus or an export, a decisions file, ``CORPUS#SELECTION``, or the name of a selection
    of ``corpus``. ``limit`` is how many samples are told as examples of each change. Raises UserError for what is
    none of these, and for a corpus beside something else.
    """
    left, right = open_side(a, corpus), open_side(b, corpus)
    if left.kind == right.kind == "corpus":
        return {"compared": "corpora", **diff_corpora(left, right, limit=limit)}
    for one, other in ((left, right), (right, left)):
        if one.kind == "corpus":
            raise UserError(
                f"{one.name} is a corpus and {other.name} {_ARTICLE[other.kind]}: compare two corpora, or name a "
                f"selection of the corpus: {one.name}#SELECTION"
            )
    return {"compared": "selections", **diff_selections(left, right, limit=limit)}
