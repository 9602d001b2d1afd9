"""Samples with the same pictures are found, and pictures that only look alike are left apart."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from PIL import Image as Pillow
from support.corpora import caption, make_corpus, store

from curate.corpus import Corpus, Image, Sample, UserError, stored_image_path
from curate.select.duplicates import images
from curate.select.duplicates.images import image_pairs
from curate.select.policy_sections import ImageDuplicates
from curate.select.pool import Pool
from curate.signals import measure_corpus

Pixels = npt.NDArray[np.uint8]
CAPTIONS = ["image_caption"]
REAL = ("retina.jpg", "ihc.png", "coins.png", "astronaut.png", "chelsea.png", "rocket.jpg")


@cache
def photo(name: str) -> Pixels:
    """A real picture of scikit-image in grey, 400 pixels on its long side at most."""
    import skimage

    with Pillow.open(Path(skimage.__file__).parent / "data" / name) as picture:
        grey = picture.convert("L")
    grey.thumbnail((400, 400))
    return np.asarray(grey)


def png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()


def jpeg(pixels: Pixels, quality: int = 85) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def resized(pixels: Pixels, factor: float) -> Pixels:
    height, width = pixels.shape
    size = (round(width * factor), round(height * factor))
    return np.asarray(Pillow.fromarray(pixels).resize(size, Pillow.Resampling.BICUBIC))


def brighter(pixels: Pixels, contrast: float, level: int) -> Pixels:
    return np.clip((pixels.astype(float) - 128) * contrast + 128 + level, 0, 255).astype(np.uint8)


def cut(pixels: Pixels, left: float, right: float, top: float, bottom: float) -> Pixels:
    height, width = pixels.shape
    rows, columns = (
        slice(round(top * height), round((1 - bottom) * height)),
        slice(round(left * width), round((1 - right) * width)),
    )
    return np.ascontiguousarray(pixels[rows, columns])


def spot(pixels: Pixels) -> Pixels:
    """The picture with a round finding of 50 grey levels in it."""
    height, width = pixels.shape
    y, x = np.mgrid[:height, :width]
    distance = (y - 0.4 * height) ** 2 + (x - 0.6 * width) ** 2
    sign = -1 if pixels[int(0.4 * height), int(0.6 * width)] > 128 else 1
    change = sign * 50 * np.exp(-distance / (0.04 * min(height, width)) ** 2)
    return np.clip(pixels + change, 0, 255).astype(np.uint8)


class Made:
    """A corpus of captions, one for each picture, measured by curate itself."""

    def __init__(self, folder: Path) -> None:
        self.raw, self.path = folder / "raw", folder / "corpus"
        self.samples: list[Sample] = []

    def add(self, name: str, *data: bytes, **fields: Any) -> int:
        """Add a sample that shows these pictures; its row."""
        number = len(self.samples)
        stored = [store(self.raw, name if len(data) == 1 else f"{nth}/{name}", one) for nth, one in enumerate(data)]
        return self.add_images(*stored, number=number, **fields)

    def add_images(self, *stored: Image, number: int | None = None, **fields: Any) -> int:
        number = len(self.samples) if number is None else number
        self.samples.append(caption(f"Sample {number}.", *stored, row=number + 1, **fields))
        return number

    def corpus(self, per_shard: int = 8192) -> Corpus:
        corpus = make_corpus(self.path, self.samples, per_shard=per_shard)
        measure_corpus(corpus, 1)
        return corpus

    def pairs(self, **options: Any) -> dict[tuple[int, int], str]:
        return found(self.corpus(), **options)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def found(corpus: Corpus, kinds: Sequence[str] = CAPTIONS, **options: Any) -> dict[tuple[int, int], str]:
    table = image_pairs(Pool.of(corpus), ImageDuplicates(**options), kinds)
    assert table.schema.equals(images.PAIRS)
    rows = table.to_pylist()
    assert all(row["left"] < row["right"] for row in rows)
    return {(row["left"], row["right"]): row["how"] for row in rows}


CHANGES: dict[str, tuple[Callable[[Pixels], bytes], str]] = {
    "compressed": (lambda p: jpeg(p, 60), "near"),
    "smaller": (lambda p: png(resized(p, 0.6)), "near"),
    "larger": (lambda p: jpeg(resized(p, 1.5)), "near"),
    "more contrast": (lambda p: png(brighter(p, 1.12, 6)), "near"),
    "darker": (lambda p: jpeg(brighter(p, 0.9, -8), 75), "near"),
    "mirrored": (lambda p: jpeg(p[:, ::-1]), "mirrored"),
    "black frame": (lambda p: jpeg(np.pad(p, ((20, 20), (30, 30)))), "cropped"),
    "grey margin": (lambda p: png(np.pad(p, ((40, 8), (0, 12)), constant_values=128)), "cropped"),
    "cropped evenly": (lambda p: jpeg(cut(p, 0.04, 0.04, 0.04, 0.04)), "cropped"),
    "cropped on two sides": (lambda p: jpeg(cut(p, 0.05, 0, 0.03, 0)), "cropped"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(made: Made, change: str) -> None:
    alter, how = CHANGES[change]
    for name in REAL:
        made.add(f"original/{name}", png(photo(name)))
    for name in REAL:
        made.add(f"copies/{name}-copy", alter(photo(name)))
    pairs = made.pairs()
    # A small crop or frame, and a picture that is its own near mirror image, go by the stricter name.
    names = {"near", how} if how == "cropped" else {how, "cropped"}
    right = [pairs.get((row, row + len(REAL))) in names for row in range(len(REAL))]
    assert sum(right) == len(REAL)
    assert len(pairs) == len(REAL)


def test_copies_of_copies_are_one_cluster(made: Made) -> None:
    original = photo("retina.jpg")
    for nth, data in enumerate(
        (
            png(original),
            jpeg(original[:, ::-1], 70),
            jpeg(cut(original, 0.03, 0.02, 0.01, 0.04)),
            jpeg(resized(original, 0.5)),
            png(original),
        )
    ):
        made.add(f"copy-{'abcde'[nth]}.png", data)
    pairs = made.pairs()
    assert pairs[0, 4] == "exact"
    # What has the same file as another is paired with that one alone.
    assert set(pairs) == {(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (0, 4)}


@pytest.mark.parametrize("name", REAL)
def test_a_finding_or_an_arrow_keeps_pictures_apart(made: Made, name: str) -> None:
    original = photo(name)
    made.add("plain.png", png(original))
    made.add("finding.jpg", jpeg(spot(original), 92))
    marked = original.copy()
    marked[100:106, 120:160] = 255 if marked[100:106, 120:160].mean() < 128 else 0
    made.add("marked.jpg", jpeg(marked, 92))
    assert made.pairs() == {}


def test_pictures_that_collide_in_their_hash_are_told_apart(made: Made) -> None:
    """Two anatomies with the same coarse shape: bent by 4 % of the width, as two patients' films differ."""
    y, x = np.mgrid[:400, :400] / 400
    original = photo("coins.png")
    full = np.asarray(Pillow.fromarray(original).resize((400, 400)), dtype=float)
    bend = 0.04 * np.sin(2 * np.pi * y)
    rows, columns = (y * 399).astype(int), np.clip((x + bend) * 399, 0, 399).astype(int)
    made.add("one.png", png(full.astype(np.uint8)))
    made.add("other.png", png(full[rows, columns].astype(np.uint8)))
    assert made.pairs(distance=16) == {}


def test_mirrored_and_cropped_can_be_turned_off(made: Made) -> None:
    original = photo("astronaut.png")
    made.add("a.png", png(original))
    made.add("b.jpg", jpeg(original[:, ::-1]))
    made.add("c.jpg", jpeg(np.pad(original, 40)))
    made.add("d.jpg", jpeg(original, 70))
    assert set(made.pairs(mirrored=False, cropped=False)) == {(0, 3)}
    assert (0, 1) in made.pairs(cropped=False)
    assert (0, 2) in made.pairs(mirrored=False)


def slices(count: int) -> list[Pixels]:
    """Neighbouring slices of a made volume: ellipsoids that wax and wane slowly, and noise of its own in each."""
    chance = np.random.default_rng(0)
    y, x = np.mgrid[:200, :200] / 200 - 0.5
    centres, widths = chance.uniform(-0.3, 0.3, (30, 3)), chance.uniform(0.05, 0.15, (30, 2))
    levels = chance.uniform(-60, 90, 30)
    body = (x / 0.42) ** 2 + (y / 0.35) ** 2 < 1
    volume = []
    for z in np.linspace(-0.05, 0.05, count):
        grey = 90.0 * body
        for (down, across, depth), (wide, high), level in zip(centres, widths, levels, strict=True):
            grey += (
                body
                * level
                * np.exp(-(((x - across) / wide) ** 2 + ((y - down) / high) ** 2 + ((z - depth) / 0.2) ** 2))
            )
        volume.append(np.clip(grey + chance.normal(0, 1.5, grey.shape) * body, 0, 255).astype(np.uint8))
    return volume


def test_without_a_name_neighbouring_slices_look_the_same(made: Made) -> None:
    """What the next tests rest on: it is the guard that keeps these apart, not the pixels."""
    for word, pixels in zip(("alpha", "beta", "gamma", "delta", "epsilon", "zeta"), slices(6), strict=True):
        made.add(f"{word}.png", png(pixels))
    assert len(made.pairs()) >= 3


@pytest.mark.parametrize("pattern", ["ct/slice_{:03}.png", "IM{:04}", "study 7/{}.jpg"])
def test_slices_with_numbered_names_stay_apart(made: Made, pattern: str) -> None:
    volume = slices(8)
    for number, pixels in enumerate(volume):
        made.add(pattern.format(number), png(pixels))
    copy = made.add("elsewhere/slice.png", png(volume[3]))
    assert made.pairs() == {(3, copy): "exact"}


def test_numbers_of_unrelated_pictures_hide_no_copies(made: Made) -> None:
    for number, name in enumerate(REAL):
        made.add(f"train/{number:05}.jpg", jpeg(photo(name)))
    for number, name in enumerate(REAL, start=len(REAL)):
        made.add(f"train/{number:05}.jpg", jpeg(photo(name), 60))
    assert set(made.pairs()) == {(row, row + len(REAL)) for row in range(len(REAL))}


def test_slices_of_one_dicom_series_stay_apart(made: Made) -> None:
    words = ("alpha", "beta", "gamma", "delta")
    for word, pixels in zip(words, slices(4), strict=True):
        made.add(f"{word}.png", png(pixels), meta={"dicom": {"series": "4f1c"}})
    assert made.pairs() == {}


def test_frames_of_one_file_stay_apart(made: Made) -> None:
    make_corpus(made.path, [])
    for pixels in slices(4):
        frame = store(made.raw, "frame.png", png(pixels))
        place = stored_image_path(made.path, frame.sha256, "png")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png(pixels))
        made.add_images(replace(frame, stored=True, path="film.dcm"))
    assert made.pairs() == {}


def test_a_copy_stands_for_one_slice_of_a_series_only(made: Made) -> None:
    volume = slices(4)
    copy = made.add("copy.png", png(np.pad(volume[1], 1)))
    rows = [made.add(f"ct/slice_{number}.png", png(pixels)) for number, pixels in enumerate(volume)]
    pairs = made.pairs()
    assert len([row for row in rows if (copy, row) in pairs]) <= 1
    assert not any(left in rows and right in rows for left, right in pairs)


def test_nearly_blank_pictures_are_not_all_the_same(made: Made) -> None:
    chance = np.random.default_rng(0)
    for word in ("alpha", "beta", "gamma", "delta"):
        noise = chance.normal(240, 1, (200, 300))
        noise[chance.integers(20, 180), 20:25] = 200
        made.add(f"{word}.png", png(np.clip(noise, 0, 255).astype(np.uint8)))
    made.add("flat-a.png", png(np.full((90, 90), 17, np.uint8)))
    made.add("flat-b.png", png(np.full((80, 90), 99, np.uint8)))
    again = made.add("flat-copy.png", png(np.full((90, 90), 17, np.uint8)))
    table = image_pairs(Pool.of(made.corpus()), ImageDuplicates(), CAPTIONS)
    assert [(row["left"], row["right"], row["distance"], row["how"]) for row in table.to_pylist()] == [
        (again - 2, again, 0, "exact")
    ]
    assert int(table.schema.metadata[b"low_contrast"]) >= 2


def test_sets_of_pictures_match_only_whole(made: Made) -> None:
    retina, slide, coins = (photo(name) for name in ("retina.jpg", "ihc.png", "coins.png"))
    made.add("two.png", png(retina), png(slide))
    made.add("copy.jpg", jpeg(slide, 70), jpeg(retina, 70))
    made.add("one.png", png(retina))
    made.add("three.png", png(retina), png(slide), png(coins))
    made.add("twice.jpg", jpeg(retina, 65), jpeg(retina, 66))
    assert made.pairs() == {(0, 1): "near"}


def test_text_only_samples_and_other_kinds_are_left_out(made: Made) -> None:
    data = png(photo("ihc.png"))
    made.add("a.png", data)
    made.add("b.png", data)
    made.samples.append(caption("No picture.", row=3))
    made.samples.append(caption("Nor here.", row=4))
    corpus = made.corpus()
    assert found(corpus) == {(0, 1): "exact"}
    assert found(corpus, ["query"]) == {}


def test_dropped_samples_are_left_out(made: Made) -> None:
    for letter in "abc":
        made.add(f"{letter}.png", png(photo("ihc.png")))
    pool = Pool.of(made.corpus())
    pool.alive[0] = False
    table = image_pairs(pool, ImageDuplicates(), CAPTIONS)
    assert [(row["left"], row["right"]) for row in table.to_pylist()] == [(1, 2)]


def test_the_layout_in_shards_changes_nothing(tmp_path: Path) -> None:
    one, other = Made(tmp_path / "one"), Made(tmp_path / "other")
    for made in (one, other):
        for nth, name in enumerate(REAL):
            made.add(f"{'abcdef'[nth]}.png", png(photo(name)))
            made.add(f"{'abcdef'[nth]}-copy.jpg", jpeg(photo(name), 70))
            made.add(f"{'abcdef'[nth]}-small.jpg", jpeg(resized(photo(name), 0.7)))
    whole = image_pairs(Pool.of(one.corpus()), ImageDuplicates(), CAPTIONS)
    parted = image_pairs(Pool.of(other.corpus(per_shard=5)), ImageDuplicates(), CAPTIONS)
    assert whole.equals(parted)
    assert whole.num_rows == 3 * len(REAL)


def test_a_picture_that_was_lost_or_changed_is_counted_and_matches_nothing(made: Made) -> None:
    for nth, name in enumerate(REAL[:3]):
        made.add(f"{'abc'[nth]}.png", png(photo(name)))
        made.add(f"{'abc'[nth]}-copy.jpg", jpeg(photo(name)))
    corpus = made.corpus()
    (made.raw / "a-copy.jpg").unlink()
    (made.raw / "b-copy.jpg").write_bytes(jpeg(photo("retina.jpg")))
    table = image_pairs(Pool.of(corpus), ImageDuplicates(), CAPTIONS)
    assert [(row["left"], row["right"]) for row in table.to_pylist()] == [(4, 5)]
    assert table.schema.metadata[b"unreadable"] == b"2"


def test_a_picture_used_very_often_makes_as_many_rows(made: Made) -> None:
    often, copy = store(made.raw, "a.png", png(photo("ihc.png"))), store(made.raw, "b.jpg", jpeg(photo("ihc.png")))
    for number in range(3000):
        made.add_images(often if number % 2 else copy)
    pairs = made.pairs()
    assert len(pairs) == 2999
    assert pairs[0, 1] == "near"
    assert all(how == "exact" for pair, how in pairs.items() if pair != (0, 1))


def test_large_clusters_fall_apart_into_bounded_ones(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_MOST_TOGETHER", 4)
    for nth in range(10):
        made.add(f"{'abcdefghij'[nth]}.jpg", jpeg(photo("ihc.png"), 70 + nth))
    assert len(made.pairs()) == 6 + 6 + 1


def test_samples_that_are_not_measured_are_an_error(made: Made) -> None:
    made.add("a.png", png(photo("ihc.png")))
    corpus = make_corpus(made.path, made.samples)
    with pytest.raises(UserError, match="not measured yet; run: curate score"):
        found(corpus)


def test_signals_of_an_earlier_version_are_an_error(made: Made) -> None:
    made.add("a.png", png(photo("ihc.png")))
    corpus = made.corpus()
    facts = corpus.facts_shard("signals", corpus.shards()[0])
    pl.read_parquet(facts).drop("image_phashes_cropped").write_parquet(facts)
    with pytest.raises(UserError, match="earlier curate, without image_phashes_cropped"):
        found(corpus)


def test_an_empty_pool_has_no_pairs(made: Made) -> None:
    made.add("a.png", png(photo("ihc.png")))
    pool = Pool.of(made.corpus())
    pool.alive[:] = False
    assert image_pairs(pool, ImageDuplicates(), CAPTIONS).num_rows == 0
