"""What the tests of contamination share: pictures like radiographs, careless copies of them, samples, and a run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image as Pillow
from support.corpora import make_corpus

from curate.corpus import Corpus, Image, Origin, Sample, Turn
from curate.select.contamination import contamination_stage
from curate.select.policy_sections import Benchmark, ContaminationGate
from curate.select.pool import DROPPED, Pool, Stage
from curate.signals.image import measure_image
from curate.signals.run import measure_corpus

LONG = "Which finding in the right lower lobe best explains the fever and the productive cough of this patient?"
OTHER = "What structural abnormality of the aortic valve is most consistent with the murmur that was described?"


def measure(data: bytes) -> int | None:
    return measure_image(data).phash


def again(data: bytes, *, scale: float = 0.7, quality: int = 80) -> bytes:
    """The picture as a careless copy has it: smaller, and JPEG."""
    image = Pillow.open(io.BytesIO(data)).convert("L")
    file = io.BytesIO()
    image.resize((round(image.width * scale), round(image.height * scale))).save(file, "JPEG", quality=quality)
    return file.getvalue()


def scene(seed: int, size: int = 160) -> bytes:
    """A PNG with coarse and fine structure, as radiographs have."""
    chance = np.random.default_rng(seed)
    total = np.zeros((size, size))
    for cells, weight in ((4, 4.0), (8, 2.0), (20, 1.0)):
        layer = Pillow.fromarray(chance.normal(size=(cells, cells)).astype(np.float32))
        total += weight * np.asarray(layer.resize((size, size), Pillow.Resampling.BICUBIC))
    low, high = total.min(), total.max()
    file = io.BytesIO()
    Pillow.fromarray(((total - low) / (high - low) * 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def ask(text: str, *images: Image, answer: str = "yes", row: int = 1, role: str = "user") -> Sample:
    """A conversation of one question and its answer."""
    turns = (Turn(role, (*range(len(images)), text)), Turn("assistant", (answer,)))  # type: ignore[arg-type]
    return Sample(
        kind="conversation", source="sft", license=None, images=images, turns=turns, origin=Origin("sft.jsonl", row)
    )


def corpus_of(tmp_path: Path, samples: list[Sample], *, per_shard: int = 8192) -> Corpus:
    corpus = make_corpus(tmp_path / "curated", samples, per_shard=per_shard)
    measure_corpus(corpus, workers=1)
    return corpus


def gate(*benchmarks: tuple[str, Path], **fields: Any) -> ContaminationGate:
    return ContaminationGate(benchmarks=[Benchmark(name=name, path=str(path)) for name, path in benchmarks], **fields)


def run(corpus: Corpus, asked: ContaminationGate) -> tuple[Stage, dict[str, dict[str, Any]]]:
    """The stage, and what it dropped by the text of its sample's first turn."""
    pool = Pool.of(corpus)
    stage = contamination_stage(pool, asked, measure)
    assert stage.keep is not None
    stage.keep()
    assert stage.dropped.schema == pl.Schema(DROPPED)
    assert stage.dropped["row"].is_unique().all()
    json.dumps(stage.account)
    texts = [next(sample.texts(), "") for shard in corpus.shards() for sample in corpus.samples(shard)]
    return stage, {texts[entry["row"]]: entry for entry in stage.dropped.to_dicts()}
