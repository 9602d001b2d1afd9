"""Signals of whole corpora: order, the worst of several images, resume, reuse, missing files, parallel runs."""

import io
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hand_made import caption, conversation, document, filed, make_corpus, measured, query, rows_of, sample, stored
from PIL import Image as Picture
from support.pictures import distinct, histology, retina

from curate.corpus import Corpus, Image, Sample, UserError
from curate.signals import SCHEMA, is_current, measure_corpus, measure_image, measure_shard, samples
from curate.signals import run as signals_run


def captions(raw: Path, count: int, first: int = 0) -> list[Sample]:
    """Distinct captions with a picture of their own each."""
    return [
        caption(f"Fundus photograph number {number}.", filed(raw, f"{number:03}.png", distinct(number)))
        for number in range(first, first + count)
    ]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "curated"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """Counts how often the bytes of a picture are decoded in this process."""
    counts: Counter[bytes] = Counter()

    def count(data: bytes) -> Any:
        counts[data] += 1
        return measure_image(data)

    monkeypatch.setattr(samples, "measure_image", count)
    return counts


def test_every_kind_is_measured_in_order_with_the_documented_schema(path: Path, raw: Path) -> None:
    picture = filed(raw, "a.png", retina())
    made = [
        caption("A retina.", picture),
        sample("conversation", (), ("user", ("Which drug?",)), ("assistant", ("Insulin.",))),
        document("First.", picture, "Last."),
        query(picture, "What is it?", "retina"),
        conversation(picture, "What is it?", "A retina of the left eye."),
    ]
    corpus = make_corpus(path, made)
    summary = measure_corpus(corpus)
    table = pq.read_table(corpus.facts_shard("signals", corpus.shards()[0]))
    assert table.schema.remove_metadata() == SCHEMA
    assert table["id"].to_pylist() == [one.id for one in made]
    assert table["image_count"].to_pylist() == [1, 0, 1, 1, 1]
    assert (summary.samples, summary.images, summary.measured, summary.unreadable) == (5, 4, 5, 0)

    without = rows_of(corpus)[1]
    assert without["image_phashes"] == []
    assert {name: value for name, value in without.items() if name.startswith(("image", "pair")) and value} == {}


def test_of_several_images_the_worst_counts(path: Path) -> None:
    good, other = stored(path, retina(400)), stored(path, histology(200, "JPEG"))
    blank = stored(path, blank_png(300, 30))
    row = measured(path, caption("Three.", good, blank, other))[0]
    alone = [measured(path, caption(str(number), image))[0] for number, image in enumerate((good, blank, other))]
    assert row["image_count"] == 3
    assert row["image_min_side"] == 30
    assert row["image_max_side"] == 400
    assert row["image_aspect"] == 10.0
    for name in ("image_entropy", "image_sharpness", "image_bits"):
        assert row[name] == min(one[name] for one in alone) == 0
    assert row["image_phashes"] == [phash for one in alone for phash in one["image_phashes"]]
    assert row["image_readable"]
    assert row["image_extension_ok"] is None


def blank_png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Picture.new("L", (width, height), 9).save(file, "PNG")
    return file.getvalue()


def test_one_unreadable_image_makes_the_sample_unreadable(path: Path, raw: Path) -> None:
    good = filed(raw, "good.png", retina())
    data = bytearray(histology())
    data[len(data) // 2] ^= 255
    broken = filed(raw, "broken.png", bytes(data))
    first, second = measured(path, caption("Two.", good, broken), caption("One.", good))
    assert first["image_readable"] is False
    assert "checksum" in first["image_problem"]
    assert first["image_phashes"][0] == second["image_phashes"][0]
    assert first["image_phashes"][1] is None
    assert first["image_entropy"] == second["image_entropy"]
    assert first["signals_key"]
    assert second["image_readable"] is True
    assert second["image_problem"] is None


@pytest.mark.parametrize(
    ("name", "data", "ok"),
    [
        ("a.png", retina(), True),
        ("a.PNG", retina(), True),
        ("a.jpg", retina(128, "JPEG"), True),
        ("a.jpeg", retina(128, "JPEG"), True),
        ("a.jpg", retina(), False),
        ("a.png", retina(128, "JPEG"), False),
        ("a.dat", retina(), False),
        ("a", retina(), None),
    ],
)
def test_suffixes_and_contents(path: Path, raw: Path, name: str, data: bytes, ok: bool | None) -> None:
    good = filed(raw, "good.png", histology())
    row, both = measured(path, caption("One.", filed(raw, name, data)), caption("Two.", good, filed(raw, name, data)))
    assert row["image_extension_ok"] is ok
    assert both["image_extension_ok"] is (ok is not False)


def test_an_image_that_samples_share_is_decoded_once(path: Path, raw: Path, decoded: Counter[bytes]) -> None:
    shared = filed(raw, "a.png", retina())
    other = filed(raw, "b.png", histology())
    corpus = make_corpus(path, [caption(f"Number {n}.", shared, *([other] if n % 2 else [])) for n in range(20)])
    measure_corpus(corpus, 2)
    assert decoded == {retina(): 1, histology(): 1}
    assert len({tuple(row["image_phashes"][:1]) for row in rows_of(corpus)}) == 1


def test_a_second_run_measures_nothing(path: Path, raw: Path, decoded: Counter[bytes]) -> None:
    corpus = make_corpus(path, captions(raw, 7), per_shard=3)
    first = measure_corpus(corpus, 1)
    before = {shard.name: corpus.facts_shard("signals", shard).stat().st_mtime_ns for shard in corpus.shards()}
    decoded.clear()
    second = measure_corpus(corpus, 1)
    assert (first.measured, first.reused, second.measured, second.reused) == (7, 0, 0, 7)
    assert (second.samples, second.images, second.unreadable) == (first.samples, first.images, first.unreadable)
    assert not decoded
    assert before == {shard.name: corpus.facts_shard("signals", shard).stat().st_mtime_ns for shard in corpus.shards()}
    assert len([step for step in Corpus.open(path).info.steps if step.name == "signals"]) == 1


@pytest.mark.parametrize("place", [0, 4, 9])
def test_one_new_row_anywhere_measures_one(path: Path, raw: Path, decoded: Counter[bytes], place: int) -> None:
    old = captions(raw, 9)
    measure_corpus(make_corpus(path, old, per_shard=2), 1)
    before = {row["id"]: row for row in rows_of(Corpus.open(path))}
    decoded.clear()
    corpus = make_corpus(path, [*old[:place], *captions(raw, 1, first=50), *old[place:]], per_shard=2)
    summary = measure_corpus(corpus, 1)
    assert (summary.samples, summary.measured, summary.reused) == (10, 1, 9)
    assert sum(decoded.values()) == 1
    after = rows_of(corpus)
    assert [row["id"] for row in after] == [one.id for shard in corpus.shards() for one in corpus.samples(shard)]
    assert all(row == before[row["id"]] for row in after if row["id"] in before)


def test_rows_that_moved_to_other_shards_are_reused_in_parallel_too(path: Path, raw: Path) -> None:
    old = captions(raw, 12)
    measure_corpus(make_corpus(path, old, per_shard=3), 1)
    corpus = make_corpus(path, list(reversed(old)), per_shard=4)
    summary = measure_corpus(corpus, 2)
    assert (summary.measured, summary.reused) == (0, 12)
    assert sorted(entry.name for entry in (path / "signals").iterdir()) == [shard.name for shard in corpus.shards()]


def test_signals_of_samples_that_are_gone_are_removed(path: Path, raw: Path) -> None:
    made = captions(raw, 6)
    measure_corpus(make_corpus(path, made, per_shard=2), 1)
    (path / "signals" / ".part-00001.parquet.123.tmp").write_bytes(b"left by a killed process")
    corpus = make_corpus(path, made[:2], per_shard=2)
    summary = measure_corpus(corpus, 1)
    assert (summary.samples, summary.measured) == (2, 0)
    assert [entry.name for entry in (path / "signals").iterdir()] == ["part-00000.parquet"]


def test_what_changes_a_signal_is_measured_again(path: Path, raw: Path) -> None:
    made = captions(raw, 3)
    measure_corpus(make_corpus(path, made, per_shard=1), 1)

    renamed = filed(raw, "000.jpg", distinct(0))
    header = {"dicom": {"modality": "CT", "body_part": "CHEST"}}
    changed = [
        caption("Fundus photograph number 0.", renamed),
        caption("Fundus photograph number 1.", *made[1].images, meta=header),
        caption("Fundus photograph number 2.", *made[2].images, meta={"note": "not looked at"}),
    ]
    assert [one.id for one in changed] == [one.id for one in made]
    corpus = make_corpus(path, [*changed, *captions(raw, 1, first=9)], per_shard=4)
    summary = measure_corpus(corpus, 1)
    assert (summary.measured, summary.reused) == (3, 1)
    rows = rows_of(corpus)
    assert rows[0]["image_extension_ok"] is False
    assert rows[1]["pair_modality_conflict"] is True


def test_another_version_of_the_signals_measures_everything(
    path: Path, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus(path, captions(raw, 4), per_shard=2)
    measure_corpus(corpus, 1)
    for module in (samples, signals_run):
        monkeypatch.setattr(module, "SIGNALS_VERSION", 999)
    assert not any(is_current(corpus, shard) for shard in corpus.shards())
    assert measure_corpus(corpus, 1).measured == 4


def test_missing_and_changed_files_are_told_and_tried_again(path: Path, raw: Path) -> None:
    made = captions(raw, 4)
    corpus = make_corpus(path, made)
    (raw / "001.png").unlink()
    (raw / "002.png").write_bytes(retina())
    first = measure_corpus(corpus, 1)
    assert (first.measured, first.unreadable, first.missing) == (4, 2, 2)
    rows = rows_of(corpus)
    assert [row["image_readable"] for row in rows] == [True, False, False, True]
    assert "001.png" in rows[1]["image_problem"]
    assert "changed" in rows[2]["image_problem"]
    assert not is_current(corpus, corpus.shards()[0])

    (raw / "001.png").write_bytes(distinct(1))
    second = measure_corpus(corpus, 1)
    assert (second.measured, second.reused, second.unreadable, second.missing) == (2, 2, 1, 1)
    (raw / "002.png").write_bytes(distinct(2))
    assert measure_corpus(corpus, 1).unreadable == 0
    assert measure_corpus(corpus, 1).measured == 0


def test_an_image_in_place_of_a_folder_or_unreadable_is_a_problem(path: Path, raw: Path) -> None:
    made = captions(raw, 1)
    (raw / "000.png").unlink()
    (raw / "000.png").mkdir()
    corpus = make_corpus(path, made)
    assert measure_corpus(corpus, 1).missing == 1
    assert "directory" in rows_of(corpus)[0]["image_problem"].lower()


def mixed(path: Path, raw: Path) -> list[Sample]:
    """Samples of all kinds over good, damaged and shared pictures."""
    chance = random.Random(3)
    made: list[Sample] = []
    for number in range(60):
        data = bytearray(chance.choice([retina(200), retina(200, "JPEG"), histology(600, "JPEG"), distinct(number)]))
        if number % 7 == 0:
            data[chance.randrange(len(data) // 2, len(data))] ^= 255
        image = filed(raw, f"{number}.png", bytes(data))
        made.append(
            chance.choice(
                [
                    caption(f"Caption {number} of the", image, stored(path, retina())),
                    conversation(image, f"What is number {number}?", "第二张图显示结节。"),
                    query(image, f"Is number {number} right", "yes", meta={"dicom": {"modality": "MR"}}),
                    document(f"Text {number}.", image, "no no no no"),
                    sample("conversation", (), ("user", (f"{number}?",)), ("assistant", ("Figure 2.",))),
                ]
            )
        )
    return made


def test_parallel_and_serial_runs_give_the_same(tmp_path: Path, raw: Path) -> None:
    made = mixed(tmp_path / "serial", raw)
    shutil.copytree(tmp_path / "serial", tmp_path / "processes")
    shutil.copytree(tmp_path / "serial", tmp_path / "threads")
    one = make_corpus(tmp_path / "serial", made, per_shard=9)
    two = make_corpus(tmp_path / "processes", made, per_shard=9)
    three = make_corpus(tmp_path / "threads", made)
    summaries = [measure_corpus(one, 1), measure_corpus(two, 2), measure_corpus(three, 4)]
    assert summaries[0] == summaries[1] == summaries[2]
    assert summaries[0].unreadable > 0
    assert rows_of(one) == rows_of(two) == rows_of(three)
    for left, right in zip(one.shards(), two.shards(), strict=True):
        assert one.facts_shard("signals", left).read_bytes() == two.facts_shard("signals", right).read_bytes()


KILLED = """
import sys
from pathlib import Path
from curate.corpus import Corpus
from curate.signals import measure_corpus
if __name__ == "__main__":
    measure_corpus(Corpus.open(Path(sys.argv[1])), 1)
"""


def test_a_killed_run_is_gone_on_with(tmp_path: Path, raw: Path) -> None:
    made = mixed(tmp_path / "whole", raw)
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    whole = make_corpus(tmp_path / "whole", made, per_shard=2)
    killed = make_corpus(tmp_path / "killed", made, per_shard=2)
    measure_corpus(whole, 1)
    signals = killed.path / "signals"
    for shards in (4, 13, 25):
        with subprocess.Popen([sys.executable, "-c", KILLED, str(killed.path)]) as process:
            while process.poll() is None and len(list(signals.glob("part-*.parquet"))) < shards:
                time.sleep(0.002)
            process.kill()
    done = len(list(signals.glob("part-*.parquet")))
    summary = measure_corpus(killed, 1)
    assert done >= 25
    assert (summary.samples, summary.reused) == (60, 2 * done)
    assert rows_of(killed) == rows_of(whole)
    assert sorted(p.name for p in (killed.path / "signals").iterdir()) == [shard.name for shard in whole.shards()]


def test_measure_shard_on_its_own_counts_and_skips(path: Path, raw: Path) -> None:
    corpus = make_corpus(path, captions(raw, 3))
    shard = corpus.shards()[0]
    counts = {"samples": 3, "images": 3, "unreadable": 0, "missing": 0}
    assert measure_shard(path, shard, 2) == {**counts, "measured": 3, "reused": 0}
    assert measure_shard(path, shard, 2) == {**counts, "measured": 0, "reused": 3}


def test_a_broken_signals_shard_is_made_again(path: Path, raw: Path) -> None:
    corpus = make_corpus(path, captions(raw, 4), per_shard=2)
    measure_corpus(corpus, 1)
    facts = corpus.facts_shard("signals", corpus.shards()[1])
    facts.write_bytes(facts.read_bytes()[:100])
    summary = measure_corpus(corpus, 1)
    assert (summary.measured, summary.reused) == (2, 2)


def test_a_broken_samples_shard_is_the_users_business(path: Path, raw: Path) -> None:
    corpus = make_corpus(path, captions(raw, 4), per_shard=2)
    corpus.shards()[1].write_bytes(b"PAR1 no longer")
    with pytest.raises(
        UserError, match=r"part-00001\.parquet cannot be read .*: remove \S+/samples and run the same curate"
    ):
        measure_corpus(corpus, 1)


def test_an_empty_corpus_has_no_signals(path: Path) -> None:
    summary = measure_corpus(make_corpus(path, []))
    assert (summary.samples, summary.measured) == (0, 0)


def test_progress_counts_up_to_all_samples(path: Path, raw: Path) -> None:
    corpus = make_corpus(path, captions(raw, 7), per_shard=3)
    calls: list[tuple[int, int]] = []
    measure_corpus(corpus, 1, lambda done, total: calls.append((done, total)))
    assert calls == [(0, 7), (3, 7), (6, 7), (7, 7)]
    measure_corpus(corpus, 1, lambda done, total: calls.append((done, total)))
    assert calls[-1] == (7, 7)


def test_the_lineage_tells_what_was_found(path: Path, raw: Path) -> None:
    measure_corpus(make_corpus(path, captions(raw, 3)), 1)
    step = Corpus.open(path).info.steps[-1]
    assert step.name == "signals"
    assert step.counts == {"samples": 3, "images": 3, "unreadable": 0}


def test_copies_of_a_picture_are_looked_at_one_by_one(path: Path, raw: Path) -> None:
    one, other = filed(raw, "a.png", retina()), filed(raw, "b.png", retina())
    (raw / "b.png").unlink()
    rows = measured(path, caption("One.", one), caption("Other.", other))
    assert [row["image_readable"] for row in rows] == [True, False]


def test_images_in_the_store_and_in_files_are_found(path: Path, raw: Path) -> None:
    images: list[Image] = [stored(path, retina()), filed(raw, "deep/er/a b.png", histology())]
    rows = measured(path, *(caption(str(number), image) for number, image in enumerate(images)))
    assert [row["image_readable"] for row in rows] == [True, True]
