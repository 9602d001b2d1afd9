"""Spellings of one text made equal, and nothing more: words are never dropped, stemmed or matched in part."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

SPACELESS: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Myanmar, Khmer
    "\u3005\u3007\u3040-\u30ff\u31f0-\u31ff"  # iteration mark, ideographic zero, kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
"""Characters, as the inside of a regular expression's class, of scripts that put no spaces between words."""

_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0dff"
_TOKEN = re.compile(
    rf"[{SPACELESS}]"  # a character of a script without spaces
    rf"|\d+(?:[.,/:]\d+)*"  # a number, 3.5 or 120/80, apart from its unit: "3cm" is "3 cm"
    rf"|(?![{SPACELESS}])[^\W\d_](?:(?![{SPACELESS}])[^\W_]|[{_MARKS}])*"  # a word, "t2" included
    r"|[+<>=≤≥±%°]|(?<=\w)-(?!\w)"  # signs that turn a finding around: "HER2 +", "ER-", "< 5"
)
_RAISED = re.compile("(?<=[0-9])(?=[⁺⁻]?[⁰¹²³⁴-⁹])")
_FRACTION = re.compile("(?<=[0-9])(?=[¼-¾⅐-⅞])")
_UNIT_POWER = re.compile(r"(?<=[^\W\d_])\^(?=[0-9])")
_BESIDE_SPACELESS = re.compile(rf" (?=[{SPACELESS}])|(?<=[{SPACELESS}]) ")
_ALIKE = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("‘’‚‛′", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        "⁄": "/",
    }
)
_EDGE = " \"'`*_$「」『』《》"
_END = ".,;:!?。，、；：！？…"


def compatible(text: str) -> str:
    """``text`` in Unicode's compatibility form (NFKC), in its own case, with single spaces.

    Full-width letters, ligatures and unit signs become plain ones, dashes and quotation marks one kind each; control
    and other invisible characters go. A power stays one: "10⁹" becomes "10^9", never "109"; "cm²" is "cm2".
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(c for c in text if c.isspace() or unicodedata.category(c) not in ("Cc", "Cf"))
        text = _FRACTION.sub(" ", _RAISED.sub("^", text))
        text = unicodedata.normalize("NFKC", text).translate(_ALIKE)
    return " ".join(_UNIT_POWER.sub("", text).split())


def normalise(text: str) -> str:
    """The recipe's normalisation: :func:`compatible`, case folded, without what only surrounds an answer.

    Quotation marks and Markdown emphasis around it go, and punctuation at its end; spaces beside characters of scripts
    that have none go too. Signs with a meaning ("+", "-", "<", "%") stay. Empty when nothing else is there.
    """
    # Folding can undo the compatibility form ("ΐ"), so that is taken again.
    text = compatible(compatible(text).casefold())
    return _BESIDE_SPACELESS.sub("", text).lstrip(_EDGE).rstrip(_EDGE + _END)


def tokens(text: str) -> frozenset[str]:
    """The set of words of a text after :func:`normalise`; in scripts without spaces, the set of characters."""
    return frozenset(_TOKEN.findall(normalise(text)))
