"""Samples made by hand, and their signals."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image as Picture

from curate.corpus import (
    Corpus,
    CorpusInfo,
    Image,
    Origin,
    Part,
    Sample,
    Turn,
    stored_image_path,
    to_table,
    write_shard,
)
from curate.signals import measure_corpus


def make_corpus(path: Path, samples: Sequence[Sample], *, per_shard: int = 8192) -> Corpus:
    """A corpus of ``samples``, whose picture files lie in ``raw`` beside it; replaces the samples that it had."""
    corpus = Corpus(path, CorpusInfo(roots=[str(path.parent / "raw")], complete=True))
    corpus.save()
    shutil.rmtree(path / "samples", ignore_errors=True)
    for number, start in enumerate(range(0, len(samples), per_shard)):
        rows = samples[start : start + per_shard]
        ids = hashlib.sha256("".join(row.id for row in rows).encode()).hexdigest()
        write_shard(path / "samples" / f"part-{number:05d}.parquet", to_table(rows), ids)
    return corpus


def described(data: bytes, path: str | None) -> Image:
    """A PNG or JPEG file as ingest describes it: under the first root, or in the store when ``path`` is None."""
    with Picture.open(io.BytesIO(data)) as picture:
        image_format, (width, height) = (picture.format or "").lower(), picture.size
    sha256 = hashlib.sha256(data).hexdigest()
    root = 0 if path else -1
    return Image(sha256, image_format, width, height, len(data), path is None, root, path, 0, path)  # type: ignore[arg-type]


def stored(corpus: Path, data: bytes) -> Image:
    """A picture in the image store of the corpus at ``corpus``."""
    image = described(data, None)
    place = stored_image_path(corpus, image.sha256, image.format)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return image


def filed(raw: Path, path: str, data: bytes) -> Image:
    """A picture in a file of the input folder ``raw``."""
    (raw / path).parent.mkdir(parents=True, exist_ok=True)
    (raw / path).write_bytes(data)
    return described(data, path)


def sample(kind: Any, images: tuple[Image, ...], *turns: tuple[Any, tuple[Part, ...]], **fields: Any) -> Sample:
    return Sample(
        kind=kind,
        source="made",
        license=None,
        images=images,
        turns=tuple(Turn(role, parts) for role, parts in turns),
        origin=Origin("made.jsonl", 1),
        **fields,
    )


def caption(text: str, *images: Image, **fields: Any) -> Sample:
    return sample("image_caption", images, ("document", (*range(len(images)), text)), **fields)


def document(*parts: str | Image) -> Sample:
    """An interleaved document."""
    places = iter(range(len(parts)))
    placed = tuple(part if isinstance(part, str) else next(places) for part in parts)
    return sample("interleaved", tuple(part for part in parts if isinstance(part, Image)), ("document", placed))


def conversation(image: Image, *texts: str, system: str | None = None, **fields: Any) -> Sample:
    """A conversation about an image; user and assistant take turns."""
    turns: list[tuple[Any, tuple[Part, ...]]] = [("system", (system,))] if system is not None else []
    turns += [("assistant" if n % 2 else "user", (text,) if n else (0, text)) for n, text in enumerate(texts)]
    return sample("conversation", (image,), *turns, **fields)


def query(image: Image, text: str, *answers: str, **fields: Any) -> Sample:
    return sample("query", (image,), ("user", (0, text)), **{"answer": answers, "query_type": "exact", **fields})


def rows_of(corpus: Corpus) -> list[dict[str, Any]]:
    """All signals of a corpus, in order."""
    return [
        row
        for shard in corpus.shards()
        for row in pl.read_parquet(corpus.facts_shard("signals", shard)).iter_rows(named=True)
    ]


def measured(path: Path, *samples: Sample) -> list[dict[str, Any]]:
    """The signals of a corpus of ``samples`` at ``path``."""
    corpus = make_corpus(path, samples)
    measure_corpus(corpus, 1)
    return rows_of(corpus)
