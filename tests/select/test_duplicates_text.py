"""Near-duplicate texts: what is merged, what must never be, and that nothing is missed."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.measured import caption, conversation, document, make_corpus, query

from curate.corpus import Sample
from curate.select.duplicates.crowd import crowd_pairs
from curate.select.duplicates.normalise import tokenise
from curate.select.duplicates.sketch import bands_and_rows
from curate.select.duplicates.text import text_pairs
from curate.select.policy_sections import TextDuplicates
from curate.select.pool import Pool

BEFORE = "The study of this patient was obtained in the morning and shows, as the doctor expected from the story,"
AFTER = "which the team wants to discuss with the family during the visit that is planned for the week after next week."
KINDS = ["image_caption", "interleaved", "conversation", "query"]

Pair = tuple[int, int, float]


def pairs(folder: Path, samples: list[Sample], per_shard: int = 8192, **options: object) -> list[Pair]:
    corpus = make_corpus(folder / "curated", samples, per_shard=per_shard)
    table = text_pairs(Pool.of(corpus), TextDuplicates(**options), KINDS)  # type: ignore[arg-type]
    assert [str(field.type) for field in table.schema] == ["int64", "int64", "float"]
    return [tuple(row.values()) for row in table.to_pylist()]  # type: ignore[misc]


def within(finding: str) -> str:
    """A caption of some forty words around a finding: one other word leaves it more than 0.8 alike."""
    return f"{BEFORE} {finding}, {AFTER}"


APART = [
    ("a nodule of 5 mm", "a nodule of 15 mm"),
    ("a nodule of 5 mm", "a nodule of 5 cm"),
    ("a nodule of 0.5 mm", "a nodule of 5 mm"),
    ("a nodule of .5 mm", "a nodule of 5 mm"),
    ("a mass of 3 x 4 cm", "a mass of 3 x 5 cm"),
    ("a mass of 3x4 cm", "a mass of 4x3 cm"),
    ("a dose of 10³ units", "a dose of 103 units"),
    ("a dose of 1½ tablets", "a dose of 11/2 tablets"),
    ("a density of -50 HU", "a density of 50 HU"),
    ("a fraction of 55-60%", "a fraction of 55-65%"),
    ("a pressure of 120/80 mmHg", "a pressure of 120/90 mmHg"),
    ("a value of HbA1c 6.1%", "a value of HbA1c 6.2%"),
    ("a size < 10 mm", "a size > 10 mm"),
    ("a size ≤ 10 mm", "a size ≥ 10 mm"),
    ("a value of 1.5 mg/dl", "a value of 1.5 mg/l"),
    ("an opacity in the left lung", "an opacity in the right lung"),
    ("a marker L at the top", "a marker R at the top"),
    ("an opacity on both sides", "an opacity on all sides"),
    ("an effusion", "no effusion"),
    ("signs with effusion", "signs without effusion"),
    ("a finding that is cancer", "a finding that isn't cancer"),
    ("a fracture that cannot be seen", "a fracture that can be seen"),
    ("no effusion but pneumothorax", "effusion but no pneumothorax"),
    ("no effusion", "no pneumothorax"),
    ("a 5 mm cyst left, a 15 mm cyst right", "a 15 mm cyst left, a 5 mm cyst right"),
    ("a fracture of T11", "a fracture of T12"),
    ("a narrowing at C5-C6", "a narrowing at C5-C7"),
    ("a narrowing at L4/5", "a narrowing at L4/3"),
    ("a disease of stage II", "a disease of stage III"),
    ("a disease of Stage I", "a disease of Stage V"),
    ("a tumour of grade 2", "a tumour of grade 3"),
    ("a HER2+ tumour", "a HER2- tumour"),
    ("an ER+ tumour", "an ER- tumour"),
    ("a reaction (+)", "a reaction (-)"),
    ("mild stenosis", "severe stenosis"),
    ("an increased uptake", "a decreased uptake"),
    ("a hypodense lesion", "a hyperdense lesion"),
    ("a displaced fragment", "a nondisplaced fragment"),
    ("a benign process", "a malignant process"),
    ("a lesion of the upper lobe", "a lesion of the lower lobe"),
    ("a male person", "a female person"),
    ("右肺上叶结节", "左肺上叶结节"),
    ("双肺未见明显实变影", "双肺可见明显实变影"),
    ("无胸腔积液征象", "有胸腔积液征象"),
    ("结节直径约5mm", "结节直径约15mm"),
    ("第三腰椎骨折", "第四腰椎骨折"),
]


@pytest.mark.parametrize(("one", "other"), APART)
def test_texts_that_say_something_else_stay_apart(tmp_path: Path, one: str, other: str) -> None:
    samples = [caption(within(one), row=1), caption(within(other), row=2)]
    assert pairs(tmp_path, samples, threshold=0.3) == []


TOGETHER = [
    (within("a nodule of 5 mm"), within("a nodule of 5mm").upper().replace(",", " ;")),
    (within("a 5-mm nodule"), within("a  5 mm\n nodule")),
    (within("a size <= 10 mm"), within("a size ≤10 mm")),
    (within("a mass of 3 × 4 cm"), within("a mass of 3x4 cm")),
    (within("a mass of １５ ㎜"), within("a mass of 15 mm")),
    (within("an inflamed ﬁstula"), within("an inflamed fistula")),
    (within("a no\u00adthing\u200b"), within("a nothing")),
    (within("a range of 5–10 mg"), within("a range of 5-10 mg")),
    ("右肺上叶结节，直径约5 mm。", "右肺上叶结节, 直径约5mm"),
]


@pytest.mark.parametrize(("one", "other"), TOGETHER)
def test_the_same_in_other_letters_and_spaces_is_one_text(tmp_path: Path, one: str, other: str) -> None:
    assert pairs(tmp_path, [caption(one, row=1), caption(other, row=2)], threshold=1.0) == [(0, 1, 1.0)]


def test_one_neutral_word_changed_is_near(tmp_path: Path) -> None:
    one = within("an opacity in the left lung of 5 mm without effusion")
    found = pairs(tmp_path, [caption(one, row=1), caption(one.replace("morning", "evening"), row=2)])
    shingles = len(one.split()) - 1 - 2  # "5 mm" is one token, and runs of three words are two fewer than words
    assert found == [(0, 1, pytest.approx((shingles - 3) / (shingles + 3)))]
    chinese = "患者因反复咳嗽三周就诊，胸部检查显示右肺上叶结节，建议随访观察并复查"
    assert len(pairs(tmp_path, [caption(chinese), caption(chinese.replace("观察", "监测"))], threshold=0.7)) == 1


def test_an_answer_counts_as_a_whole(tmp_path: Path) -> None:
    ask = within("something in the field") + " What is it?"
    samples = [
        query(ask, "pneumonia", row=1),
        query(ask, "oedema", row=2),
        query(ask.upper(), "Pneumonia.", row=3),
        conversation(ask, "Pneumonia.", row=4),
        conversation(ask, "Oedema.", row=5),
        conversation(ask, "pneumonia", row=6, system="Answer briefly."),
        query(ask, "A", row=7, query_type="single_choice", choices=(("A", "cat"), ("B", "dog"))),
        query(ask, "A", row=8, query_type="single_choice", choices=(("A", "dog"), ("B", "cat"))),
        query(ask, "B", row=9, query_type="single_choice", choices=(("A", "cat"), ("B", "dog"))),
    ]
    found = {(left, right): similarity for left, right, similarity in pairs(tmp_path, samples, threshold=0.7)}
    assert (0, 2) in found
    assert found[3, 5] == 1.0
    assert not {(0, 1), (0, 3), (3, 4), (6, 8), (0, 6)} & found.keys()


def test_kinds_and_empty_texts(tmp_path: Path) -> None:
    samples = [
        caption("", row=1),
        caption(" \n", row=2),
        caption("???", row=3),
        caption("!!!", row=4),
        caption("???", row=5, source="b"),
        document("One part.", "Another part.", row=6),
        caption("One part. Another part.", row=7),
        caption("x" * 300_000, row=8),
        caption("\x00\x1b[31m", row=9),
    ]
    assert pairs(tmp_path, samples) == [(2, 4, 1.0), (5, 6, 1.0)]
    corpus = make_corpus(tmp_path / "curated", samples)
    assert text_pairs(Pool.of(corpus), TextDuplicates(), ["query"]).num_rows == 0
    assert text_pairs(Pool.of(corpus), TextDuplicates(), ["image_caption"]).num_rows == 1


def test_samples_that_are_out_are_not_compared(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "curated", [caption("Same text.", row=row) for row in range(4)], per_shard=2)
    pool = Pool.of(corpus)
    pool.alive[[0, 3]] = False
    assert text_pairs(pool, TextDuplicates(), KINDS).to_pylist() == [{"left": 1, "right": 2, "similarity": 1.0}]


def made_up(seed: int, count: int) -> list[str]:
    """Texts of neutral words in families of copies with more and more words replaced."""
    draw = random.Random(seed)
    words = [first + second + third for first, second, third in itertools.product("bdg", "aeo", ["pal", "mik", "tor"])]
    found = []
    while len(found) < count:
        text = draw.choices(words, k=draw.randint(2, 40))
        for _ in range(draw.randint(1, 5)):
            found.append(" ".join(text))
            text = [draw.choice(words) if draw.random() < 0.06 else word for word in text]
    draw.shuffle(found)
    return found[:count]


Shingles = set[tuple[str, ...]]


def shingles(text: str, words: int) -> Shingles:
    parts = text.split()
    return {tuple(parts[at : at + words]) for at in range(max(1, len(parts) - words + 1))}


def jaccard(one: Shingles, other: Shingles) -> float:
    return len(one & other) / len(one | other)


@pytest.mark.parametrize(("threshold", "words"), [(0.8, 3), (0.5, 2), (0.95, 1)])
def test_against_every_pair_compared(tmp_path: Path, threshold: float, words: int) -> None:
    texts = list(dict.fromkeys(made_up(7, 600)))
    sets = [shingles(text, words) for text in texts]
    right = {
        (left, other): similarity
        for left, other in itertools.combinations(range(len(texts)), 2)
        if (similarity := jaccard(sets[left], sets[other])) >= threshold
    }
    samples = [caption(text, row=row) for row, text in enumerate(texts, 1)]
    found = pairs(tmp_path, samples, 100, threshold=threshold, shingle=words)
    assert len(right) >= 20
    assert {(left, other) for left, other, _ in found} <= right.keys()
    assert all(similarity == pytest.approx(right[left, other]) for left, other, similarity in found)
    assert len(found) >= 0.99 * len(right)


def test_the_layout_of_shards_changes_nothing(tmp_path: Path) -> None:
    samples = [caption(text, row=row) for row, text in enumerate(made_up(3, 200), 1)]
    whole = pairs(tmp_path / "whole", samples)
    assert len(whole) > 20
    assert pairs(tmp_path / "parts", samples, 7) == whole
    assert pairs(tmp_path / "ones", samples[:60], 1) == [pair for pair in whole if pair[1] < 60]


def test_one_text_many_times_is_linear(tmp_path: Path) -> None:
    samples = [caption("Normal chest X-ray.", row=row) for row in range(20_000)]
    found = pairs(tmp_path, samples, 4096)
    assert found == [(0, right, 1.0) for right in range(1, 20_000)]


def test_a_crowd_of_one_template_is_linear_and_loses_nobody(tmp_path: Path) -> None:
    words = [first + second for first, second in itertools.product(["bal", "dor", "gim", "kul"], repeat=2)]
    texts = [
        within(f"a {one} structure").replace("family", f"{other} {third}")
        for one, other, third in itertools.product(words, words, words[:4])
    ]
    found = pairs(tmp_path, [caption(text, row=row) for row, text in enumerate(texts)], threshold=0.5)
    assert {row for pair in found for row in pair[:2]} == set(range(len(texts)))
    assert len(found) < 30 * len(texts)  # all pairs would be 500 times as many as texts
    sets = [shingles(text.lower().replace(",", "").replace(".", ""), 3) for text in texts]
    assert all(similarity == pytest.approx(jaccard(sets[left], sets[right])) for left, right, similarity in found)


@settings(deadline=None, max_examples=40)
@given(st.text(max_size=80))
def test_case_spaces_and_commas_do_not_count(text: str) -> None:
    words = " ".join(part for part in text.split() if part.isascii() and part.isalpha())
    changed = words.upper().replace(" ", " \t,  ")
    one, other = (tokenise(pl.Series([form])) for form in (words, changed))
    assert one.hashes.tolist() == other.hashes.tolist()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(max_size=30), max_size=5))
def test_texts_do_not_flow_into_each_other(texts: list[str]) -> None:
    together = tokenise(pl.Series(texts, dtype=pl.String))
    alone = [tokenise(pl.Series([text])).hashes.tolist() for text in texts]
    ends = together.ends.tolist()
    assert [together.hashes[start:end].tolist() for start, end in itertools.pairwise(ends)] == alone


@settings(deadline=None, max_examples=40)
@given(st.floats(0.05, 1), st.integers(64, 256))
def test_bands_find_what_is_at_the_threshold(threshold: float, permutations: int) -> None:
    bands, rows = bands_and_rows(threshold, permutations)
    assert bands * rows <= permutations
    assert rows == 1 or 1 - (1 - threshold**rows) ** bands >= 0.998


def test_a_crowd_with_one_phrase_is_searched_whole(tmp_path: Path) -> None:
    draw = random.Random(11)
    words = [first + second for first, second in itertools.product(["bal", "dor", "gim", "kul", "pes"], repeat=2)]
    texts = [within(f"a {draw.choice(words)} structure").replace("family", draw.choice(words)) for _ in range(500)]
    texts = list(dict.fromkeys(texts))
    sets = [shingles(text.lower().replace(",", "").replace(".", ""), 3) for text in texts]
    right = {
        pair: jaccard(sets[pair[0]], sets[pair[1]])
        for pair in itertools.combinations(range(len(texts)), 2)
        if jaccard(sets[pair[0]], sets[pair[1]]) >= 0.85
    }
    assert 500 < len(right) < 60_000
    found = pairs(tmp_path, [caption(text, row=row) for row, text in enumerate(texts)], threshold=0.85)
    assert {(left, other) for left, other, _ in found} <= right.keys()
    assert len(found) >= 0.99 * len(right)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sets(st.integers(0, 12), min_size=1), min_size=2, max_size=30), st.floats(0.05, 1))
def test_rare_shingles_miss_no_pair(sets: list[set[int]], threshold: float) -> None:
    flat = [value for members in sets for value in sorted(members)]
    ends = np.cumsum([0, *map(len, sets)])
    found = crowd_pairs(np.array(flat, np.uint64), ends, threshold)
    assert found is not None
    pairs_found = set(zip(found[0].tolist(), found[1].tolist(), strict=True))
    for one, other in itertools.combinations(range(len(sets)), 2):
        if len(sets[one] & sets[other]) / len(sets[one] | sets[other]) >= threshold:
            assert (one, other) in pairs_found


def test_processes_find_the_same_as_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [caption(text, row=row) for row, text in enumerate(made_up(3, 200), 1)]
    in_threads = pairs(tmp_path / "threads", samples, 40)
    monkeypatch.setattr("curate.select.duplicates.text._PATIENCE", 0.0)
    assert pairs(tmp_path / "processes", samples, 40) == in_threads
