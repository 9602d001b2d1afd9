"""Corpora for tests, made without an ingest: samples written as shards, pictures as files in a root of their own."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from curate.corpus import Corpus, Image, Origin, Sample, Turn, to_table, write_shard


def make_corpus(path: Path, samples: Sequence[Sample], *, per_shard: int = 8192, root: Path | None = None) -> Corpus:
    """A complete corpus in ``path`` with these samples; image files lie under ``root`` (default ``path``/../raw).

    Called again on the same path it replaces the samples and leaves the facts and the journal, as an ingest does.
    """
    corpus = Corpus.create(path)
    corpus.info.roots = [str(root or path.parent / "raw")]
    corpus.info.complete = True
    corpus.save()
    for stale in corpus.shards():
        stale.unlink()
    for number, start in enumerate(range(0, len(samples), per_shard)):
        rows = samples[start : start + per_shard]
        fingerprint = hashlib.sha256("".join(row.id + row.source + row.privacy for row in rows).encode()).hexdigest()
        write_shard(path / "samples" / f"part-{number:05d}.parquet", to_table(rows), fingerprint)
    return corpus


def picture(seed: int, *, width: int = 48, height: int = 40, colour: bool = False, kind: str = "png") -> bytes:
    """A PNG or JPEG file with smooth, textured content that depends on ``seed``."""
    random_state = np.random.default_rng(seed)
    coarse = random_state.integers(0, 255, (6, 6, 3 if colour else 1), dtype=np.uint8)
    if not colour:
        coarse = coarse[:, :, 0]
    file = io.BytesIO()
    Pillow.fromarray(coarse).resize((width, height), Pillow.Resampling.BILINEAR).save(file, kind)
    return file.getvalue()


def store(root: Path, name: str, data: bytes) -> Image:
    """Write a picture below ``root`` and describe it as an ingest would."""
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    with Pillow.open(io.BytesIO(data)) as opened:
        size, kind = opened.size, opened.format
    return Image(
        sha256=hashlib.sha256(data).hexdigest(),
        format="png" if kind == "PNG" else "jpeg",
        width=size[0],
        height=size[1],
        size=len(data),
        stored=False,
        root=0,
        path=name,
        mtime_ns=file.stat().st_mtime_ns,
        name=name,
    )


def caption(text: str, *images: Image, source: str = "chest", row: int = 1, **fields: object) -> Sample:
    """An image-caption sample."""
    turn = Turn("document", (*range(len(images)), text))
    return Sample(
        kind="image_caption",
        source=source,
        license="CC0",
        images=images,
        turns=(turn,),
        origin=Origin("captions.jsonl", row),
        **fields,  # type: ignore[arg-type]
    )


def captions(root: Path, count: int, *, first: int = 0, source: str = "chest") -> list[Sample]:
    """Distinct image-caption samples, each with a picture of its own."""
    return [
        caption(
            f"Frontal chest radiograph number {number} without focal consolidation or effusion.",
            store(root, f"{source}/{number:05d}.png", picture(number)),
            source=source,
            row=number + 1,
        )
        for number in range(first, first + count)
    ]


def texts(count: int, *, source: str = "notes", first: int = 0) -> list[Sample]:
    """Distinct conversations without images."""
    return [
        Sample(
            kind="conversation",
            source=source,
            license=None,
            images=(),
            turns=(
                Turn("user", (f"Question {number}: which drug lowers potassium?",)),
                Turn("assistant", (f"Answer {number}: insulin with glucose shifts it into cells within minutes.",)),
            ),
            origin=Origin("notes.jsonl", number + 1),
        )
        for number in range(first, first + count)
    ]


def shuffled(samples: Iterable[Sample], seed: int = 0) -> list[Sample]:
    """The samples in a seeded random order."""
    rows = list(samples)
    random.Random(seed).shuffle(rows)
    return rows
