"""Which samples ask a benchmark's question: by the share of the question's word n-grams that they contain.

Texts are compared without case, punctuation and compatibility spellings (NFKC); numbers stay. A word is a run of
letters or a number; scripts written without spaces (Chinese, Japanese, Thai, ...) are compared by characters. Words and
n-grams are 64-bit hashes, so that a question is found by a binary search however many there are.

A candidate must contain one of the question's rarest n-grams: one that has a share s of a question's m n-grams has at
least one of any m - ceil(s m) + 1 of them (prefix filtering; Chaudhuri, Ganti and Kaushik 2006, "A primitive operator
for similarity joins in data cleaning"). So a phrase that thousands of questions share costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

_NO_SPACES = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_BREAK = "\x01"
_WORD = rf"{_BREAK}|[{_NO_SPACES}]|\p{{N}}+(?:[.,]\p{{N}}+)*|[\p{{L}}\p{{M}}--[{_NO_SPACES}]]+"
_SENTENCE_END = r"[。!?:;\n]+|\.(?:\s|$)"
_PICTURE_MARK = r"<image(?: ?\p{N}+)?>"
_SEED = 0
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that multiplying by it loses nothing."""
_END_BITS = 22
_END = np.uint64((1 << _END_BITS) - 1)
_BATCH = 1 << 21
"""Pairs of a candidate and an n-gram that are looked at together."""

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


class QuestionMatches(NamedTuple):
    """Texts that ask a question; one row a pair, in ascending order."""

    text: Positions
    """Position of the text."""
    question: Positions
    """Position of the question."""
    share: npt.NDArray[np.float32]
    """Share of the question's n-grams that the text contains; 1 for a short question, which is found whole."""


@dataclass(frozen=True)
class Words:
    """Texts as hashes of their words, one after the other."""

    words: Hashes
    text: Positions
    """Which text each word is of."""
    sentence: Positions
    """Which sentence, counted over all texts."""


def words_of(texts: pl.Series, owners: Positions) -> Words:
    """The words of ``texts``, of which several may belong to one owner (a sample's turns); n-grams never span two.

    ``Words.text`` is the position in ``texts``; ``owners`` must be as long.
    """
    if len(texts) != owners.size:
        raise ValueError(f"{len(texts)} texts for {owners.size} owners")
    plain = pl.col("text").str.normalize("NFKC").str.to_lowercase().str.replace_all(_PICTURE_MARK, " ")
    marked = plain.str.replace_all(_SENTENCE_END, f" {_BREAK} ")
    frame = pl.DataFrame({"text": texts.cast(pl.String).fill_null("")}).with_row_index("number")
    tokens = frame.select("number", word=marked.str.extract_all(_WORD)).explode("word").drop_nulls("word")
    number = tokens["number"].to_numpy().astype(np.int64)
    broken = (tokens["word"] == _BREAK).to_numpy()
    new_text = np.concatenate([[False], number[1:] != number[:-1]]) if number.size else np.empty(0, bool)
    sentence = np.cumsum(broken | new_text)
    hashes = tokens["word"].hash(_SEED).to_numpy()
    return Words(hashes[~broken], number[~broken], sentence[~broken].astype(np.int64))


def _mixed(hashes: Hashes) -> Hashes:
    """Spread the bits, so that sums of products of them do not cancel out."""
    mixed = hashes ^ (hashes >> np.uint64(31))
    mixed = mixed * _FACTOR
    return np.asarray(mixed ^ (mixed >> np.uint64(29)), dtype=np.uint64)


def _ngrams(words: Words, length: int) -> tuple[Hashes, Positions]:
    """Hashes of the n-grams that lie in one text, and that text."""
    count = words.words.size - length + 1
    if count <= 0:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    total = np.zeros(count, np.uint64)
    for offset in range(length):
        total = total * _FACTOR + _mixed(words.words[offset : offset + count])
    whole = words.text[:count] == words.text[length - 1 :]
    return _mixed(total[whole]), words.text[:count][whole]


def _sequences(words: Words, of: Positions) -> tuple[Hashes, Positions]:
    """A hash of each run of words with one value of ``of``, and the text it is in."""
    if not of.size:
        return np.empty(0, np.uint64), np.empty(0, np.int64)
    starts = np.concatenate([[0], np.flatnonzero(of[1:] != of[:-1]) + 1])
    lengths = np.diff(np.concatenate([starts, [of.size]]))
    within = (np.arange(of.size) - np.repeat(starts, lengths)).astype(np.uint64)
    placed = _mixed(words.words + _mixed((within + np.uint64(1)) * _FACTOR))
    sums = np.add.reduceat(placed, starts)
    return _mixed(sums + lengths.astype(np.uint64) * _FACTOR), words.text[starts]


class QuestionIndex:
    """The questions of all benchmarks, ready to be looked for."""

    def __init__(self, questions: Sequence[str], ngram: int, share: float) -> None:
        """``questions`` should be distinct; those without a word are never found."""
        self.ngram, self.count = ngram, len(questions)
        words = words_of(pl.Series(questions, dtype=pl.String), np.arange(len(questions)))
        length = np.bincount(words.text, minlength=self.count)
        self.short: npt.NDArray[np.bool_] = length < ngram
        """Questions of fewer words than an n-gram, which are found whole."""
        hashes, owner = _sequences(words, words.text)
        brief = self.short[owner]
        order = np.argsort(hashes[brief], kind="stable")
        self._brief, self._brief_question = hashes[brief][order], owner[brief][order]
        self._set_ngrams(*_ngrams(words, ngram), share)

    def _set_ngrams(self, hashes: Hashes, owner: Positions, share: float) -> None:
        self._grams, gram = np.unique(hashes, return_inverse=True)
        self._ends = np.zeros(1 << _END_BITS, bool)
        """Which last bits some n-gram has: most n-grams of texts are ruled out by one look."""
        self._ends[self._grams & _END] = True
        pairs = np.unique(owner * max(1, self._grams.size) + gram)
        owner, gram = np.divmod(pairs, max(1, self._grams.size))
        frequency = np.bincount(gram, minlength=self._grams.size)
        order = np.lexsort((gram, frequency[gram], owner))
        self._gram = gram[order]
        """Numbers of every question's distinct n-grams, the rarest first."""
        self._sizes = np.bincount(owner, minlength=self.count)
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)])
        self._needed = np.maximum(1, np.ceil(self._sizes * share - 1e-9)).astype(np.int64)
        within = np.arange(gram.size) - np.repeat(self._starts[:-1], self._sizes)
        rare = within < np.repeat(self._sizes - self._needed + 1, self._sizes)
        by_gram = np.argsort(self._gram[rare], kind="stable")
        self._rare_question = owner[order][rare][by_gram]
        self._rare_starts = np.searchsorted(self._gram[rare][by_gram], np.arange(self._grams.size + 1))

    def matches(self, texts: pl.Series, owners: Positions) -> QuestionMatches:
        """Which owners of ``texts`` (say, samples of turns) ask which question. ``owners`` must be ascending."""
        words = words_of(texts, owners)
        found = [self._long(words, owners), self._whole(words, owners)]
        text, question, share = (np.concatenate(columns) for columns in zip(*found, strict=True))
        order = np.lexsort((question, text))
        return QuestionMatches(text[order], question[order], share[order])

    def _whole(self, words: Words, owners: Positions) -> QuestionMatches:
        """Short questions that are a sentence, or a whole text."""
        pairs = []
        for of in (words.sentence, words.text):
            hashes, text = _sequences(words, of)
            starts = np.searchsorted(self._brief, hashes, side="left")
            counts = np.searchsorted(self._brief, hashes, side="right") - starts
            place, again = _spread(starts, counts)
            pairs.append(owners[text[again]] * max(1, self.count) + self._brief_question[place])
        owner, question = np.divmod(np.unique(np.concatenate(pairs)), max(1, self.count))
        return QuestionMatches(owner, question, np.ones(owner.size, np.float32))

    def _long(self, words: Words, owners: Positions) -> QuestionMatches:
        nothing = QuestionMatches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        if not self._grams.size:
            return nothing
        hashes, text = _ngrams(words, self.ngram)
        possible = np.flatnonzero(self._ends[hashes & _END])
        hashes, text = hashes[possible], text[possible]
        gram = np.minimum(np.searchsorted(self._grams, hashes), self._grams.size - 1)
        here = self._grams[gram] == hashes
        size = np.int64(self._grams.size)
        contained = np.unique(owners[text[here]] * size + gram[here])
        owner, gram = np.divmod(contained, size)
        place, again = _spread(self._rare_starts[gram], self._rare_starts[gram + 1] - self._rare_starts[gram])
        candidates = np.unique(owner[again] * self.count + self._rare_question[place])
        owner, question = np.divmod(candidates, max(1, self.count))
        shared = self._shared(owner, question, contained)
        enough = shared >= self._needed[question]
        share = (shared[enough] / self._sizes[question[enough]]).astype(np.float32)
        return QuestionMatches(owner[enough], question[enough], share) if owner.size else nothing

    def _shared(self, owner: Positions, question: Positions, contained: Positions) -> Positions:
        """How many of the question's n-grams each candidate contains."""
        shared = np.zeros(owner.size, np.int64)
        sizes = self._sizes[question]
        reached = np.concatenate([[0], np.cumsum(sizes)])
        start = 0
        while start < owner.size:
            stop = max(start + 1, int(np.searchsorted(reached, reached[start] + _BATCH, side="right")) - 1)
            place, again = _spread(self._starts[question[start:stop]], sizes[start:stop])
            wanted = owner[start:stop][again] * np.int64(self._grams.size) + self._gram[place]
            at = np.minimum(np.searchsorted(contained, wanted), contained.size - 1)
            shared[start:stop] = np.bincount(again[contained[at] == wanted], minlength=stop - start)
            start = stop
        return shared


def _spread(starts: Positions, counts: Positions) -> tuple[Positions, Positions]:
    """``counts`` positions from each of ``starts`` on, and for each which start it belongs to."""
    owner = np.repeat(np.arange(starts.size), counts)
    within = np.arange(owner.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return starts[owner] + within, owner


def question_keys(texts: pl.Series) -> list[int | None]:
    """A number for each text that is equal where the words are; None for texts without a word."""
    words = words_of(texts, np.arange(len(texts)))
    hashes, owner = _sequences(words, words.text)
    keys: list[int | None] = [None] * len(texts)
    for text, key in zip(owner.tolist(), hashes.tolist(), strict=True):
        keys[text] = key
    return keys
