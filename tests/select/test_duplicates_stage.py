"""The duplicates stage: which samples stay, which go, and what is said of them."""

from __future__ import annotations

import io
import itertools
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image as Picture
from support.cli import curate
from support.measured import Row, caption, conversation, make_corpus, query, stored, write_verdicts
from support.pictures import histology, retina

from curate.corpus import Corpus, Image, Sample
from curate.select.duplicates.stage import duplicates_stage
from curate.select.policy_sections import Duplicates, ImageDuplicates, PairDuplicates, TextDuplicates
from curate.select.pool import DROPPED, Pool, Stage
from curate.signals import measure_corpus

LONG = (
    "The study of this patient was obtained in the morning and shows, as the doctor expected, an opacity of {} in the "
    "left lung without effusion, which the team wants to discuss with the family during the visit next week."
)
TEXT = Duplicates(text=TextDuplicates(), pair=None)
IMAGE = Duplicates(image=ImageDuplicates(), pair=None)


def corpus_of(path: Path, samples: list[Sample], verdicts: dict[str, Row] | None = None, per_shard: int = 2) -> Corpus:
    corpus = make_corpus(path, samples, per_shard=per_shard)
    measure_corpus(corpus)
    if verdicts is not None:
        write_verdicts(corpus, verdicts)
    return corpus


def dropped(stage: Stage) -> dict[int, tuple[str, str]]:
    """Rule and sample that is kept, by row."""
    assert dict(stage.dropped.schema) == DROPPED
    assert stage.dropped["row"].is_unique().all()
    return {row: (rule, related) for row, rule, related in stage.dropped.select("row", "rule", "related").iter_rows()}


def reasons(stage: Stage) -> dict[int, str]:
    return dict(stage.dropped.select("row", "reason").iter_rows())


def jpeg(data: bytes, quality: int = 85, **changes: Any) -> bytes:
    file = io.BytesIO()
    with Picture.open(io.BytesIO(data)) as picture:
        shown = picture.transpose(Picture.Transpose.FLIP_LEFT_RIGHT) if changes.get("mirrored") else picture
        shown.save(file, "JPEG", quality=quality)
    return file.getvalue()


def pictures(path: Path) -> tuple[Image, Image, Image, Image]:
    """A retina, the same as a JPEG file, its mirror image, and a slide."""
    Corpus.create(path)
    files = retina(256), jpeg(retina(256), 92), jpeg(retina(256), 92, mirrored=True), histology(256)
    return tuple(stored(path, data) for data in files)  # type: ignore[return-value]


def test_the_best_is_kept_by_score_then_picture_then_length_then_id(tmp_path: Path) -> None:
    path = tmp_path / "curated"
    Corpus.create(path)
    small, large = stored(path, retina(100)), stored(path, histology(200))
    by_score = [caption(LONG.format("5 mm"), small, row=1), caption(LONG.format("5 mm").upper(), large, row=2)]
    by_size = [caption(LONG.format("6 mm"), small, row=3), caption(LONG.format("6 mm").upper(), large, row=4)]
    by_length = [caption(LONG.format("7 mm"), row=5), caption(LONG.format("7  mm") + " ...", row=6)]
    by_id = [caption(LONG.format("8 mm"), row=7), caption(LONG.format("8 mm").upper(), row=8)]
    scored = [caption(LONG.format("9 mm"), row=9), caption(LONG.format("9 mm").upper(), large, row=10)]
    unasked = {"judge_score": None, "judge_status": "not_asked"}
    verdicts = {
        by_score[0].id: {"judge_score": 4.5},
        by_score[1].id: {"judge_score": 4.25},
        scored[0].id: {"judge_score": 1.0},
        scored[1].id: unasked,
    }
    samples = [*by_score, *by_size, *by_length, *by_id, *scored]
    stage = duplicates_stage(Pool.of(corpus_of(path, samples, verdicts)), TEXT)
    smaller = min((6, 7), key=lambda row: samples[row].id)
    assert dropped(stage) == {
        1: ("duplicate_text", samples[0].id),
        2: ("duplicate_text", samples[3].id),
        4: ("duplicate_text", samples[5].id),
        13 - smaller: ("duplicate_text", samples[smaller].id),
        9: ("duplicate_text", samples[8].id),
    }
    same = "its text is the same as that of made.jsonl:{}, which is preferred ({})"
    told = reasons(stage)
    assert told[1] == same.format(1, "judge score 4.5 against 4.25")
    assert told[2] == same.format(
        4, f"picture of {large.width} x {large.height} pixels against {small.width} x {small.height}"
    )
    assert told[4] == same.format(6, f"text of {len(LONG.format('7 mm')) + 5} characters against {len(LONG) + 2}")
    assert told[13 - smaller] == same.format(smaller + 1, "equally good, with the smaller id")
    assert told[9] == same.format(9, "judge score 1.0 against none")


@pytest.mark.parametrize(("best", "gone"), [("middle", {0, 2}), ("ends", {1})])
def test_a_chain_drops_only_what_is_near_a_kept_sample(tmp_path: Path, best: str, gone: set[int]) -> None:
    middle = LONG.format("5 mm")
    ends = middle.replace("morning", "evening"), middle.replace("visit", "meeting")
    samples = [caption(ends[0], row=1), caption(middle, row=2), caption(ends[1], row=3)]
    scores = {"middle": (3, 5, 3), "ends": (5, 3, 5)}[best]
    verdicts = {sample.id: {"judge_score": float(score)} for sample, score in zip(samples, scores, strict=True)}
    stage = duplicates_stage(Pool.of(corpus_of(tmp_path / "curated", samples, verdicts)), TEXT)
    assert set(dropped(stage)) == gone
    assert all(
        "its text is 0.8" in reason and "alike that of made.jsonl:" in reason for reason in reasons(stage).values()
    )


def test_near_misses_stay(tmp_path: Path) -> None:
    texts = [LONG.format("5 mm"), LONG.format("15 mm"), LONG.format("5 mm").replace("left", "right")]
    texts += [LONG.format("5 mm").replace("without", "with"), LONG.format("5 cm")]
    stage = duplicates_stage(Pool.of(corpus_of(tmp_path / "curated", [caption(text) for text in texts])), TEXT)
    assert dropped(stage) == {}
    assert stage.account["sizes"] == {}


def test_subsets_apart(tmp_path: Path) -> None:
    text = LONG.format("5 mm")
    samples = [
        caption(text, source="a", row=1),
        caption(text.upper(), source="b", row=2),
        caption(text.lower(), source="b", row=3),
        caption(text.replace("morning", "evening"), source="a", row=4),
    ]
    pool = Pool.of(corpus_of(tmp_path / "curated", samples))
    assert len(dropped(duplicates_stage(pool, TEXT))) == 3
    apart = dropped(duplicates_stage(pool, TEXT.model_copy(update={"across_sources": False})))
    assert len(apart) == 2
    for row, (_, related) in apart.items():
        assert next(sample.source for sample in samples if sample.id == related) == samples[row].source


def test_pictures(tmp_path: Path) -> None:
    path = tmp_path / "curated"
    png, again, mirrored, other = pictures(path)
    samples = [
        caption("One text.", png, row=1),
        caption("Words of another kind.", again, row=2),
        caption("Third of them.", mirrored, row=3),
        caption("The fourth.", png, row=4),
        caption("A fifth.", other, row=5),
        caption("No picture here.", row=6),
        caption("None here too.", row=7),
        query("What is it?", "retina", images=[png], row=8),
    ]
    best = {sample.id: {"judge_score": 5.0 if sample is samples[0] else 3.0} for sample in samples}
    pool = Pool.of(corpus_of(path, samples, best))
    stage = duplicates_stage(pool, IMAGE)
    assert dropped(stage) == dict.fromkeys((1, 2, 3), ("duplicate_image", samples[0].id))
    told = reasons(stage)
    assert told[3] == "it has the same picture as made.jsonl:1, which is preferred (judge score 5.0 against 3.0)"
    assert "its picture is, but for" in told[1]
    assert "its picture is the mirror image" in told[2]
    assert stage.account["compared"] == {"image": 5}
    assert stage.account["pictures"]["unreadable"] == 0
    (cluster,) = stage.account["clusters"]
    assert cluster["kept"] == samples[0].id
    assert {member["how"] for member in cluster["members"]} == {"exact", "near", "mirrored"}
    plain = IMAGE.model_copy(update={"image": ImageDuplicates(mirrored=False)})
    assert set(dropped(duplicates_stage(pool, plain))) == {1, 3}


def test_pairs_need_both(tmp_path: Path) -> None:
    path = tmp_path / "curated"
    png, again, _, other = pictures(path)
    text = LONG.format("5 mm")
    samples = [
        caption(text, png, row=1),
        caption(text.upper(), other, row=2),
        caption("Something else altogether.", png, row=3),
        caption(text.replace("morning", "evening"), again, row=4),
        caption(text.replace("visit", "meeting"), png, row=5),
        query("Is there bleeding?", "yes", images=[png], row=6),
        query("Is there bleeding?", "no", images=[png], row=7),
        query("is there bleeding", "Yes", images=[again], row=8),
        query("Is there bleeding?", "yes", images=[other], row=9),
        conversation("Is there bleeding?", "Yes.", row=10),
        conversation("Is there bleeding ?", "yes", row=11),
        conversation("Is there bleeding?", "Yes.", images=[other], row=12),
    ]
    best = {sample.id: {"judge_score": 5.0 if row in (0, 5, 9) else 3.0} for row, sample in enumerate(samples)}
    pool = Pool.of(corpus_of(path, samples, best))
    stage = duplicates_stage(pool, Duplicates())
    rule = "duplicate_pair"
    assert dropped(stage) == {
        3: (rule, samples[0].id),
        4: (rule, samples[0].id),
        7: (rule, samples[5].id),
        10: (rule, samples[9].id),
    }
    told = reasons(stage)
    assert "alike that of made.jsonl:1, and its picture, but for" in told[3]
    assert "alike that of made.jsonl:1, with the same picture, which is preferred" in told[4]
    assert "(neither has a picture)" in told[10]
    captions_only = Duplicates(pair=PairDuplicates(kinds=["image_caption"]))
    assert set(dropped(duplicates_stage(pool, captions_only))) == {3, 4}
    assert stage.account["by_kind"] == {rule: {"conversation": 1, "image_caption": 2, "query": 1}}


def test_a_sample_dropped_by_one_rule_keeps_nobody_out_by_another(tmp_path: Path) -> None:
    path = tmp_path / "curated"
    png, _, _, other = pictures(path)
    samples = [
        caption(LONG.format("5 mm"), png, row=1),
        caption(LONG.format("5 mm").upper(), other, row=2),
        caption("Another text.", other, row=3),
    ]
    scores = {sample.id: {"judge_score": score} for sample, score in zip(samples, (5.0, 4.0, 3.0), strict=True)}
    both = Duplicates(text=TextDuplicates(), image=ImageDuplicates())
    stage = duplicates_stage(Pool.of(corpus_of(path, samples, scores)), both)
    assert dropped(stage) == {1: ("duplicate_text", samples[0].id)}


def crowd() -> list[Sample]:
    """Texts of one template, most of them near many others, with scores in no order."""
    words = [first + second for first, second in itertools.product(["bal", "dor", "gim", "kul"], repeat=2)]
    draw = random.Random(5)
    texts = [
        LONG.format("5 mm").replace("morning", one).replace("family", f"{other} {third}")
        for one, other, third in itertools.product(words, words, words[:3])
    ]
    draw.shuffle(texts)
    return [caption(text, row=row) for row, text in enumerate(texts, 1)]


def test_in_a_crowd_all_that_stay_are_far_apart(tmp_path: Path) -> None:
    samples = crowd()
    draw = random.Random(6)
    verdicts = {sample.id: {"judge_score": draw.choice([1.0, 2.0, 3.0, 4.0])} for sample in samples}
    corpus = corpus_of(tmp_path / "curated", samples, verdicts, per_shard=200)
    policy = Duplicates(text=TextDuplicates(threshold=0.75), pair=None)
    stage = duplicates_stage(Pool.of(corpus), policy)
    gone = dropped(stage)
    shingles = []
    for sample in samples:
        words = next(sample.texts()).lower().replace(",", "").replace(".", "").replace("5 mm", "5mm").split()
        shingles.append({tuple(words[at : at + 3]) for at in range(len(words) - 2)})

    def alike(one: int, other: int) -> float:
        return len(shingles[one] & shingles[other]) / len(shingles[one] | shingles[other])

    kept = [row for row in range(len(samples)) if row not in gone]
    assert 1 < len(kept) < len(samples) / 2
    near = [pair for pair in itertools.combinations(kept, 2) if alike(*pair) >= 0.76]
    assert near == []
    number = {sample.id: row for row, sample in enumerate(samples)}
    for row, (_, related) in gone.items():
        assert number[related] in kept
        assert alike(row, number[related]) >= 0.75
        assert verdicts[related]["judge_score"] >= verdicts[samples[row].id]["judge_score"]
    one_shard = corpus_of(tmp_path / "whole", samples, verdicts, per_shard=10_000)
    again = duplicates_stage(Pool.of(one_shard), policy)
    assert again.dropped.equals(stage.dropped)
    assert again.account == stage.account


def test_the_account_is_bounded(tmp_path: Path) -> None:
    samples = [
        caption(f"{LONG.format(f'{number} mm')}{' ' * copy}", row=1) for number in range(60) for copy in range(2)
    ]
    samples += [caption("Normal." + " " * number, row=number) for number in range(300)]
    stage = duplicates_stage(Pool.of(corpus_of(tmp_path / "curated", samples, per_shard=100)), TEXT)
    account = stage.account
    assert account["sizes"] == {"2": 60, "300": 1}
    assert account["dropped"] == {"duplicate_text": 359}
    assert len(account["clusters"]) == 50
    assert (account["clusters"][0]["size"], len(account["clusters"][0]["members"])) == (300, 20)
    assert all(len(cluster["members"]) == 1 for cluster in account["clusters"][1:])


def test_nothing_to_compare(tmp_path: Path) -> None:
    everything = Duplicates(text=TextDuplicates(), image=ImageDuplicates())
    pool = Pool.of(corpus_of(tmp_path / "curated", [caption("One."), caption("Two.")]))
    assert dropped(duplicates_stage(pool, everything)) == {}
    assert dropped(duplicates_stage(pool, Duplicates(pair=None))) == {}
    pool.alive[:] = False
    assert dropped(duplicates_stage(pool, everything)) == {}


def test_the_command_tells_of_duplicates(tmp_path: Path) -> None:
    samples = [caption(LONG.format("5 mm"), row=1), caption(LONG.format("5 mm").upper(), row=2)]
    samples += [caption(LONG.format("15 mm"), row=3)]
    corpus = corpus_of(tmp_path / "curated", samples)
    policy = tmp_path / "mine.yaml"
    policy.write_text("name: mine\nduplicates: {text: {}}\n")
    ran = curate("select", corpus.path, "--policy", policy, "--json")
    assert ran.status == 0, ran.err
    assert ran.json()["counts"]["dropped"] == {"duplicate_text": 1}
    assert ran.json()["stages"]["duplicates"]["sizes"] == {"2": 1}
    table = pl.read_parquet(corpus.path / "decisions" / "mine.parquet").filter(~pl.col("kept"))
    assert table["related"].to_list() == [min(samples[:2], key=lambda sample: sample.id).id]
