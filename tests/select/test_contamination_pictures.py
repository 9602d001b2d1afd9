"""Samples that show a benchmark's picture are found, however it was copied; others are not."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from support.benchmark_files import slake, vqa_rad
from support.contamination import LONG, OTHER, again, corpus_of, gate, measure, run, scene
from support.corpora import caption, store

from curate.select.contamination import read_hits


def test_all_451_test_pictures_in_a_training_folder_are_found(tmp_path: Path) -> None:
    # MedTrinity-25M issue 26: every test picture of VQA-RAD was in a shared training split.
    tests = [scene(number) for number in range(451)]
    benchmark = vqa_rad(tmp_path / "rad", [(f"{LONG} Number {n}", data) for n, data in enumerate(tests)])
    root = tmp_path / "raw"
    leaked = [
        caption(f"Leaked {n}.", store(root, f"train/{n:04}.jpg", again(data, scale=(0.5, 0.7, 1.4)[n % 3])), row=n + 1)
        for n, data in enumerate(tests)
    ]
    clean = [caption(f"Clean {n}.", store(root, f"own/{n}.png", scene(10_000 + n)), row=n + 1) for n in range(451)]
    corpus = corpus_of(tmp_path, [*leaked, *clean], per_shard=300)
    stage, dropped = run(corpus, gate(("vqa-rad", benchmark)))
    assert set(dropped) == {f"Leaked {n}." for n in range(451)}
    assert set(stage.dropped["rule"]) == {"contaminated_image"}
    for number in (0, 450):
        assert dropped[f"Leaked {number}."]["related"].endswith(f".parquet:{number + 1}")
    hits = read_hits(corpus)
    assert hits.height == 451
    assert (hits["similarity"] > 0.95).all()
    assert sorted(read_hits(corpus)["id"]) == sorted(sample.id for sample in leaked)
    told = stage.account["benchmarks"][0]
    assert told["hits"] == {"image": 451, "question": 0, "both": 0}
    assert (told["rows"], told["pictures"]["distinct"], told["samples_dropped"]) == (451, 451, 451)
    assert len(stage.account["first_hits"]) == 50


def test_evidence_of_every_kind_of_picture_hit(tmp_path: Path) -> None:
    data = scene(1)
    benchmark = slake(tmp_path / "slake", [(LONG, data), (OTHER, scene(2))])
    repacked = io.BytesIO()
    Pillow.open(io.BytesIO(data)).save(repacked, "PNG", compress_level=1)
    root = tmp_path / "raw"
    files = {"same_file": data, "same_pixels": repacked.getvalue(), "near": again(data), "clean": scene(3)}
    assert files["same_pixels"] != data
    samples = [caption(f"{name} text", store(root, f"{name}.img", content)) for name, content in files.items()]
    corpus = corpus_of(tmp_path, samples)
    _, dropped = run(corpus, gate(("slake", benchmark)))
    assert set(dropped) == {"same_file text", "same_pixels text", "near text"}
    hits = {hit["how"]: hit for hit in read_hits(corpus).to_dicts()}
    assert set(hits) == {"same_file", "same_pixels", "near"}
    for name, hit in hits.items():
        sample = next(sample for sample in samples if sample.images[0].path == f"{name}.img")
        assert hit["id"] == sample.id
        assert hit["origin"] == "captions.jsonl:1"
        assert (hit["benchmark"], hit["benchmark_row"], hit["split"]) == ("slake", "test.json:1", "test")
        assert hit["picture_sha256"] == hashlib.sha256(files[name]).hexdigest()
        assert (hit["picture"], hit["benchmark_picture"]) == (f"{name}.img", "imgs/xmlab0/source.jpg")
        assert (hit["sample_text"], hit["benchmark_text"]) == (f"{name} text", LONG)
    assert "same file as one of slake (test.json:1, split test)" in dropped["same_file text"]["reason"]
    assert dropped["near text"]["related"] == "slake:test.json:1"


def test_a_second_picture_of_a_sample_is_looked_at(tmp_path: Path) -> None:
    benchmark = slake(tmp_path / "slake", [(LONG, scene(1))])
    root = tmp_path / "raw"
    pair = caption("Two views.", store(root, "a.png", scene(5)), store(root, "b.jpg", again(scene(1))))
    corpus = corpus_of(tmp_path, [pair])
    assert set(run(corpus, gate(("slake", benchmark)))[1]) == {"Two views."}
    assert read_hits(corpus)["picture"].to_list() == ["b.jpg"]


def test_blank_pictures_are_no_evidence(tmp_path: Path) -> None:
    def paper(dot: int, size: int = 64) -> bytes:
        sheet = np.full((size, size), 255, np.uint8)
        sheet[dot : dot + 2, dot : dot + 2] = 0
        file = io.BytesIO()
        Pillow.fromarray(sheet).save(file, "PNG")
        return file.getvalue()

    white = io.BytesIO()
    Pillow.new("L", (64, 64), 255).save(white, "PNG")
    benchmark = slake(tmp_path / "slake", [(LONG, white.getvalue()), (OTHER, paper(20)), ("Why?", scene(1))])
    root = tmp_path / "raw"
    samples = [
        caption("white", store(root, "white.png", white.getvalue())),
        caption("larger", store(root, "larger.png", paper(40, 128))),
        caption("same", store(root, "same.png", paper(20))),
    ]
    corpus = corpus_of(tmp_path, samples)
    # The uniform page is not even evidence when its bytes are the same; the page with a dot is then.
    assert set(run(corpus, gate(("slake", benchmark), image_distance=16))[1]) == {"same"}


def test_hashes_that_are_near_do_not_make_other_pictures_the_same(tmp_path: Path) -> None:
    # Same low frequencies, other content: what two patients' films look like to a perceptual hash.
    chance = np.random.default_rng(0)
    base = np.asarray(Pillow.open(io.BytesIO(scene(1, 256))), np.float64)
    noise = Pillow.fromarray(chance.normal(size=(28, 28)).astype(np.float32))
    other = base + 45 * np.asarray(noise.resize((256, 256), Pillow.Resampling.BICUBIC))
    file = io.BytesIO()
    Pillow.fromarray(np.clip(other, 0, 255).astype(np.uint8)).save(file, "PNG")
    bits = (measure(file.getvalue()) ^ measure(scene(1, 256))).bit_count()  # type: ignore[operator]
    assert bits <= 16
    benchmark = slake(tmp_path / "slake", [(LONG, scene(1, 256))])
    root = tmp_path / "raw"
    pictures = {"other": file.getvalue(), "copy": again(scene(1, 256))}
    corpus = corpus_of(tmp_path, [caption(n, store(root, f"{n}.img", data)) for n, data in pictures.items()])
    assert set(run(corpus, gate(("slake", benchmark), image_distance=16))[1]) == {"copy"}


def test_the_distance_of_the_policy_decides(tmp_path: Path) -> None:
    original, changed = scene(4), None
    for seed in range(200):
        pixels = np.asarray(Pillow.open(io.BytesIO(original)), np.float64)
        wave = Pillow.fromarray(np.random.default_rng(seed).normal(size=(5, 5)).astype(np.float32))
        file = io.BytesIO()
        mixed = pixels + 8 * np.asarray(wave.resize((160, 160), Pillow.Resampling.BICUBIC))
        Pillow.fromarray(np.clip(mixed, 0, 255).astype(np.uint8)).save(file, "PNG")
        if (measure(file.getvalue()) ^ measure(original)).bit_count() == 4:  # type: ignore[operator]
            changed = file.getvalue()
            break
    assert changed is not None
    benchmark = slake(tmp_path / "slake", [(LONG, original)])
    corpus = corpus_of(tmp_path, [caption("changed", store(tmp_path / "raw", "c.png", changed))])
    assert not run(corpus, gate(("slake", benchmark), image_distance=3))[1]
    assert set(run(corpus, gate(("slake", benchmark), image_distance=4))[1]) == {"changed"}
    assert read_hits(corpus)["distance"].to_list() == [4]


def test_a_picture_that_is_gone_counts_and_is_told(tmp_path: Path) -> None:
    benchmark = slake(tmp_path / "slake", [(LONG, scene(1))])
    corpus = corpus_of(tmp_path, [caption("gone", store(tmp_path / "raw", "gone.jpg", again(scene(1))))])
    (tmp_path / "raw" / "gone.jpg").unlink()
    stage, dropped = run(corpus, gate(("slake", benchmark)))
    assert "cannot be read, and its hash is near that of one of slake" in dropped["gone"]["reason"]
    assert stage.account["pictures_unconfirmed"] == 1
