"""Mixtures of small corpora: samples of known size, a policy's section, and what came out."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from support.measured import caption, make_corpus, write_signals

from curate.corpus import Image, Sample
from curate.select.mixture import mixture_stage
from curate.select.policy_sections import Mixture
from curate.select.pool import Pool, Stage
from curate.select.tokens import PATCH_RULES, image_tokens, text_tokens


def picture(width: int, height: int) -> Image:
    """A picture of this size; its file is not needed."""
    return Image("0" * 64, "png", width, height, 1, False, 0, "a.png", 0, "a.png")


def sized(
    name: str, count: int, *, seed: int = 0, longest: int = 400, pictured: bool = True, **meta: str
) -> list[Sample]:
    """Distinct captions of a subset, of different lengths, most with a picture."""
    draw = random.Random(f"{name} {seed}")
    return [
        caption(
            f"{name} {number} " + "shadow " * draw.randint(1, longest // 7),
            *([picture(draw.randint(100, 900), draw.randint(100, 900))] if pictured and draw.random() < 0.8 else []),
            source=name,
            row=number + 1,
            meta=dict(meta),
        )
        for number in range(count)
    ]


def tokens(sample: Sample, model: str = "qwen3-vl") -> int:
    """Tokens of a sample, counted one part at a time."""
    parts = [part for turn in sample.turns for part in turn.parts]
    return sum(
        text_tokens(part)
        if isinstance(part, str)
        else image_tokens(sample.images[part].width, sample.images[part].height, PATCH_RULES[model])
        for part in parts
    )


class Mixed:
    """A mixture of a corpus of its own."""

    def __init__(self, path: Path, samples: Sequence[Sample], mixture: dict[str, Any], **options: Any) -> None:
        self.samples = list(samples)
        corpus = make_corpus(path, samples, per_shard=options.get("per_shard", 8192))
        write_signals(corpus, options.get("signals"))
        pool = Pool.of(corpus)
        pool.alive[list(options.get("gone", ()))] = False
        self.alive: npt.NDArray[np.bool_] = pool.alive.copy()
        self.stage: Stage
        self.stage, self.copies = mixture_stage(pool, Mixture.model_validate(mixture), options.get("seed", 0))

    @property
    def by_id(self) -> dict[str, int]:
        """Copies of each sample that is in."""
        return {s.id: int(n) for s, n in zip(self.samples, self.copies, strict=True) if n}

    def taken(self, key: Any = lambda sample: sample.source, size: Any = tokens) -> Counter[str]:
        """Units that are in, by what ``key`` says of a sample."""
        found: Counter[str] = Counter()
        for sample, copies in zip(self.samples, self.copies, strict=True):
            found[key(sample)] += int(copies) * size(sample)
        return found

    def part(self, name: str) -> dict[str, Any]:
        """What the account says of a part."""
        return next(part for part in self.stage.account["parts"] if part["name"] == name)
