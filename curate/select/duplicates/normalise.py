"""Texts as tokens in which case, spaces and punctuation are gone and what a finding depends on is still there.

Usual normalisation makes "5 mm" and "15 mm", or "effusion" and "no effusion", nearly the same text. Here every token
that can turn a finding into another is *critical*: numbers with their units, signs, ranges and comparisons; names with
a number in them (T11, C5-C6, HER2); stages and grades; sides, negations, positions, severity and change. Texts whose
critical tokens are not the same, in the same order, are never duplicates (:mod:`curate.select.duplicates.sketch`).
English, and Chinese by characters.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.select.duplicates.terms import DENYING, SIDES, TELLING, TELLING_STARTS, UNITS

Hashes = npt.NDArray[np.uint64]

NEUTRAL, CRITICAL, WITH_NEXT, WITH_NEXT_TWO = range(4)
"""Class of a token, in the two lowest bits of its hash: it may differ between duplicates; it may not; nor may the word
after it (left *lung*); nor the two words after it (no *pleural effusion*)."""

_UNIT = rf"(?:{'|'.join(sorted(UNITS, key=lambda unit: (-len(unit), unit)))})(?:\^?[23])?"
_BY_CHARACTER = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[\p{{L}}\p{{M}}--[{_BY_CHARACTER}]]"
_NUMBER = r"\d+(?:[.,:/^x×*_-]+\d+|\s*[x×]\s*\d+(?:[.,]\d+)?)*"
_TOKEN = "|".join(
    (
        r"(?:stages?|grades?|types?|class|phases?|zones?|levels?|segments?|categor(?:y|ies))\s+[ivx]+[abc]?(?-u:\b)",
        r"\(\s*[+±−-]+\s*\)",
        rf"{_LETTER}{{1,4}}\d*(?:\+{{1,4}}|[−-])(?:[\s,.;:)]|$)",
        rf"{_LETTER}+[-_]?\d(?:{_LETTER}|\d)*(?:[-/.,:+]+{_LETTER}?\d(?:{_LETTER}|\d)*)*[+]*",
        r"(?:[<>≤≥≮≯≈~±≠]\s?=?|=[<>])",
        rf"[+±−-]?(?:{_NUMBER}|[.]\d+)(?:\s*-?(?:%|‰|°\s?[cf]?|{_UNIT}(?:\s*/\s*(?:\d*\s?)?{_UNIT})*(?-u:\b)))?[+]*",
        rf"[{_BY_CHARACTER}]\p{{M}}*",
        rf"{_LETTER}+(?:['’]{_LETTER}+)?",
        r"\d+",
        r"[°%‰]",
    )
)
"""What a token is, for Rust's regex. Earlier alternatives win: a stage, a sign in brackets, ER- and HER2+, T11 and
C5-C6, a comparison, a number with its unit, a character of a script that is written without spaces, a word."""

_RAISED = str.maketrans({sign: f"^{digit}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
"""Compatibility normalisation would make 10³ into 103, and 1½ into 11/2."""
_FRACTIONS = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
_BEFORE = {
    **{chr(sign): power for sign, power in _RAISED.items()},
    "⁻": "^-",
    **{sign: f" {unicodedata.normalize('NFKC', sign).replace('⁄', '/')} " for sign in _FRACTIONS},
    # Characters that are not seen, with which equal texts would differ.
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", ""),
    **dict.fromkeys("‐‑‒–—", "-"),
}

_MOST_KNOWN = 500_000
_known: dict[str, int] = {}
"""Hashes of tokens seen so far: a corpus says the same words over and over."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of many texts, one after the other."""

    hashes: Hashes
    """64-bit hash of each token, its class in the two lowest bits."""
    ends: npt.NDArray[np.int64]
    """Where each text's tokens start, and at the end how many there are: one more than texts."""


def tokenise(texts: pl.Series) -> Tokens:
    """The tokens of texts; nulls are empty texts.

    A text of nothing but signs is one critical token, so that only an empty text has none.
    """
    plain = normalised(texts)
    lists = plain.str.extract_all(_TOKEN)
    lengths = lists.list.len().to_numpy().astype(np.int64)
    bare = (lengths == 0) & (plain.str.len_bytes() > 0).to_numpy()
    if bare.any():
        lists = plain.to_frame("text").select(
            pl.when(pl.Series(bare)).then(pl.concat_list(pl.col("text"))).otherwise(lists)
        )["text"]
        lengths = np.where(bare, 1, lengths)
    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    if not ends[-1]:
        return Tokens(np.empty(0, np.uint64), ends)
    flat = lists.filter(pl.Series(lengths > 0)).explode().to_arrow()
    words = flat.dictionary_encode()
    hashes = np.array([_hash(word) for word in words.dictionary.to_pylist()], np.uint64)
    return Tokens(hashes[words.indices.to_numpy()], ends)


def normalised(texts: pl.Series) -> pl.Series:
    """Texts in small letters and in the compatibility form of Unicode (NFKC), but with powers and fractions apart."""
    plain = texts.alias("text").fill_null("")
    foreign = plain.str.contains(r"[^\x00-\x7f]")
    if foreign.any():  # most English captions have none, and are spared the work
        mended = plain.filter(foreign).str.replace_many(list(_BEFORE), list(_BEFORE.values())).str.normalize("NFKC")
        plain = plain.scatter(foreign.arg_true(), mended)
    return plain.str.to_lowercase().str.strip_chars()


def _hash(token: str) -> int:
    """Hash of a token as it counts: without the spaces inside it, ``<=`` as ``≤``, ``5-mm`` as ``5mm``."""
    known = _known.get(token)
    if known is None:
        spelled, kind = canonical(token)
        digest = hashlib.blake2b(spelled.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        known = int.from_bytes(digest, "little") & ~3 | kind
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[token] = known
    return known


def canonical(token: str) -> tuple[str, int]:
    """How a token counts, and its class: :data:`NEUTRAL`, :data:`CRITICAL` or one that binds the words after it."""
    spelled = "".join(token.split()).replace("’", "'").replace("−", "-").replace("×", "x")
    if spelled[:1].isalpha() and spelled[-1:] in ",.;:)":  # what followed the sign of ER- or HER2+
        spelled = spelled[:-1]
    for written, meant in (("<=", "≤"), ("=<", "≤"), (">=", "≥"), ("=>", "≥")):
        spelled = spelled.replace(written, meant)
    if spelled[:1].isdecimal():
        spelled = _unit_joined(spelled)
    return spelled, _class(spelled, token)


def _unit_joined(number: str) -> str:
    """``5-mm`` as ``5mm``: a hyphen between a number and letters says nothing."""
    head, hyphen, tail = number.rpartition("-")
    return head + tail if hyphen and tail[:1].isalpha() else number


def _class(word: str, token: str) -> int:
    if word in DENYING or word.endswith("n't"):
        return WITH_NEXT_TWO
    if word in SIDES:
        return WITH_NEXT
    if not word.isalpha() and word.replace("'", "").isalpha():
        return NEUTRAL  # patient's
    if not word.isalpha() or word in TELLING or " " in token or word.startswith(TELLING_STARTS):
        return CRITICAL
    return NEUTRAL
