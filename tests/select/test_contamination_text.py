"""Questions are found exactly as counting every n-gram by hand finds them, in any language and any slicing."""

from __future__ import annotations

import math
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.select import contamination
from curate.select.contamination_text import QuestionIndex

Pairs = dict[tuple[int, int], float]


def found(questions: list[str], texts: list[tuple[int, str]], ngram: int, share: float) -> Pairs:
    index = QuestionIndex(questions, ngram, share)
    owners = np.array([owner for owner, _ in texts], np.int64)
    matches = index.matches(pl.Series([text for _, text in texts], dtype=pl.String), owners)
    pairs = list(zip(matches.text.tolist(), matches.question.tolist(), strict=True))
    assert pairs == sorted(set(pairs))
    return dict(zip(pairs, matches.share.tolist(), strict=True))


def by_hand(questions: list[str], texts: list[tuple[int, str]], ngram: int, share: float) -> Pairs:
    """The same by counting; words are separated by blanks, sentences by ``.`` before a blank."""

    def words(text: str) -> list[str]:
        return text.replace(".", "").split()

    def grams(text: str) -> set[tuple[str, ...]]:
        split = words(text)
        return {tuple(split[start : start + ngram]) for start in range(len(split) - ngram + 1)}

    pairs: Pairs = {}
    for owner in {owner for owner, _ in texts}:
        own = [text for other, text in texts if other == owner]
        has = set().union(*map(grams, own))
        whole = {tuple(words(part)) for text in own for part in (text, *text.split(". "))}
        for number, question in enumerate(questions):
            if len(words(question)) < ngram:
                if words(question) and tuple(words(question)) in whole:
                    pairs[owner, number] = 1.0
                continue
            wanted = grams(question)
            shared = len(wanted & has)
            if shared >= max(1, math.ceil(share * len(wanted) - 1e-9)):
                pairs[owner, number] = pytest.approx(shared / len(wanted), abs=1e-6)
    return pairs


WORDS = st.lists(st.sampled_from("abcd"), max_size=12).map(" ".join)
TEXTS = st.lists(st.tuples(st.integers(0, 4), st.lists(WORDS, min_size=1, max_size=3).map(". ".join)), max_size=8)


@given(
    st.lists(WORDS, max_size=6),
    TEXTS.map(lambda texts: sorted(texts, key=lambda entry: entry[0])),
    st.integers(3, 6),
    st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]),
)
@settings(max_examples=400, deadline=None)
def test_the_index_finds_what_counting_finds(
    questions: list[str], texts: list[tuple[int, str]], ngram: int, share: float
) -> None:
    assert found(questions, texts, ngram, share) == by_hand(questions, texts, ngram, share)


def test_many_questions_that_share_a_phrase() -> None:
    chance = random.Random(0)
    stock = "which of the following is the most likely diagnosis in this patient who presents with"
    vocabulary = ["".join(chance.choices("abcdefgh", k=5)) for _ in range(2000)]
    questions = [f"{stock} {' '.join(chance.choices(vocabulary, k=20))}" for _ in range(3000)]
    texts = [(number, f"{stock} {' '.join(chance.choices(vocabulary, k=60))}") for number in range(200)]
    texts += [
        (200 + number, f"{' '.join(chance.choices(vocabulary, k=9))} {questions[number * 7]}") for number in range(50)
    ]
    pairs = found(questions, texts, 8, 0.7)
    assert pairs == {(200 + number, number * 7): 1.0 for number in range(50)}


@pytest.mark.parametrize(
    ("question", "text", "same"),
    [
        ("Is there an effusion?", "IS THERE AN EFFUSION", True),
        ("Is there an effusion?", "is there no effusion", False),
        ("Nodule of 5 mm?", "nodule of 5mm", True),
        ("Nodule of 5 mm?", "nodule of 15 mm", False),
        ("Nodule of 1.5 mm?", "nodule of 15 mm", False),
        ("Nodule of 1.5 mm?", "nodule of 1.5 mm", True),
        ("Left lung?", "right lung", False),
        ("<image 1> What is this?", "<image>\nWhat is this?", True),
        ("图中是肺吗？", "请问：图中是肺吗", True),
        ("图中是肺吗？", "图中是肝吗？", False),
        ("Ｔ２ weighted?", "T2-weighted", True),
        ("¿Es esto una TC?", "es esto una tc", True),
        ("รูปนี้คืออะไร", "รูปนี้คืออะไร?", True),
        ("?!", "?!", False),
    ],
)
def test_short_questions_are_compared_whole(question: str, text: str, *, same: bool) -> None:
    assert (found([question], [(0, text)], 20, 0.7) == {(0, 0): 1.0}) is same


def test_nothing_to_look_for_and_nothing_to_look_in() -> None:
    assert not found([], [(0, "any text")], 8, 0.7)
    assert not found(["Is this a lung?"], [], 8, 0.7)
    assert not found(["", " "], [(0, ""), (1, " ")], 8, 0.7)


def test_slices_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    questions = [" ".join(chance.choices("abcdefghij", k=chance.randint(2, 14))) for _ in range(40)]
    frame = pl.DataFrame(
        {
            "sample": pl.Series([number // 3 for number in range(300)], dtype=pl.UInt32),
            "text": [chance.choice(questions) + " x" * chance.randint(0, 3) for _ in range(300)],
        }
    )
    index = QuestionIndex(questions, 4, 0.7)
    whole = contamination._in_slices(index, frame)
    assert whole.text.size > 100
    for size in (1, 100, 1000):
        monkeypatch.setattr(contamination, "_SLICE_BYTES", size)
        sliced = contamination._in_slices(index, frame)
        assert all(np.array_equal(one, other) for one, other in zip(whole, sliced, strict=True))
