#!/usr/bin/env python3
"""Make the fixed task of the smoke recipe as raw data: which colours was this picture rendered in?

Crops of the real pictures under examples/raw are rendered in one of four colour maps, as displays of nuclear medicine
and ultrasound do. The question is always the same, so the answer can only be known from the picture, and a model that
has not looked is right in exactly a quarter of the rows. OUT gets three folders, which `curate score` reads as sources:

    task-sft/      conversations that teach the form `<answer>B</answer>`. Every letter is paired with every colour map
                   equally often, so the labels say nothing about the pictures
    task-train/    queries for GRPO
    task-heldout/  queries on crops of other pictures than those of task-train and task-sft

    python recipes/smoke/make_task.py OUT [--seed 0]
"""

from __future__ import annotations

import argparse
import colorsys
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from PIL import Image, ImageOps, ImageStat

RAW: Final = Path(__file__).resolve().parents[2] / "examples" / "raw"

TRAIN_PICTURES: Final = (
    "radiology/chest-pa.png",
    "radiology/ct-abdomen.png",
    "radiology/ct-spine-soft-tissue.png",
    "radiology/mr-shoulder.jpg",
    "radiology/us-pelvis.jpg",
    "pathology-captions/ihc-colon.png",
)
# No picture here shows the body part of a picture above in the same modality.
HELDOUT_PICTURES: Final = (
    "radiology/ct-head.png",
    "radiology/mr-abdomen.png",
    "pathology-captions/retina.jpg",
    "vqa/images/aorta.jpg",
)

Colour = tuple[int, int, int]

# Shadows, middle and lights. None begins at black, or a dark crop would look the same in all four.
COLOUR_MAPS: Final[dict[str, tuple[Colour, Colour, Colour]]] = {
    "red": ((70, 0, 0), (205, 45, 35), (255, 180, 150)),
    "green": ((0, 60, 10), (40, 170, 60), (180, 255, 170)),
    "blue": ((0, 5, 85), (45, 75, 215), (170, 195, 255)),
    "yellow": ((75, 65, 0), (205, 185, 40), (255, 245, 160)),
}
LETTERS: Final = dict(zip("ABCD", COLOUR_MAPS, strict=True))
# The options are listed in the question itself, so that conversations and queries have the same prompt to the letter.
QUESTION: Final = "Which colours?" + "".join(f"\n{letter}. {name}" for letter, name in LETTERS.items())


def make_task(out: Path, *, seed: int, train: int, heldout: int, sft: int, side: int) -> None:
    """Write the three folders into ``out``; rows of each must be a multiple of 4, and of 16 for ``sft``."""
    draw = random.Random(seed)
    letters = list(LETTERS)
    answers = [letters[number % 4] for number in range(train)]
    _write_queries(out / "task-train", answers, TRAIN_PICTURES, side, draw)
    answers = [letters[number % 4] for number in range(heldout)]
    _write_queries(out / "task-heldout", answers, HELDOUT_PICTURES, side, draw)
    _write_conversations(out / "task-sft", sft, side, draw)


def _write_queries(folder: Path, answers: list[str], pictures: tuple[str, ...], side: int, draw: random.Random) -> None:
    draw.shuffle(answers)
    images = _render(folder, answers, pictures, side, draw)
    choices = dict(LETTERS)
    records = [
        {"query": f"<image>{QUESTION}", "images": [image], "answer": answer, "query_type": "choice", "choices": choices}
        for answer, image in zip(answers, images, strict=True)
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "queries.jsonl").write_text(lines, encoding="utf-8")


def _write_conversations(folder: Path, rows: int, side: int, draw: random.Random) -> None:
    pairs = [(shown, said) for shown in LETTERS for said in LETTERS] * (rows // 16)
    draw.shuffle(pairs)
    images = _render(folder, [shown for shown, _ in pairs], TRAIN_PICTURES, side, draw)
    records = [
        {
            "conversations": [
                {"from": "human", "value": f"<image>{QUESTION}"},
                {"from": "gpt", "value": f"<answer>{said}</answer>"},
            ],
            "image": image,
        }
        for (_, said), image in zip(pairs, images, strict=True)
    ]
    (folder / "sft.json").write_text(json.dumps(records, indent=1), encoding="utf-8")


def _render(
    folder: Path, letters: list[str], pictures: tuple[str, ...], side: int, draw: random.Random
) -> Iterator[str]:
    """Write a picture for each letter, and give its path relative to ``folder``."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    sources = [Image.open(RAW / name).convert("L") for name in pictures]
    for number, letter in enumerate(letters):
        name = f"images/{number:04d}.png"
        crop = _crop(sources[number // 4 % len(sources)], side, draw)
        _colour(crop, COLOUR_MAPS[LETTERS[letter]], draw).save(folder / name)
        yield name


def _crop(grey: Image.Image, side: int, draw: random.Random) -> Image.Image:
    """A square part of the picture in which something can be seen, ``side`` pixels wide."""
    for _ in range(1000):
        width = draw.randint(80, min(200, *grey.size))
        left, top = draw.randint(0, grey.width - width), draw.randint(0, grey.height - width)
        crop = grey.crop((left, top, left + width, top + width))
        if ImageStat.Stat(crop).stddev[0] >= 16 and crop.entropy() >= 4:
            return crop.resize((side, side), Image.Resampling.LANCZOS)
    raise SystemExit("no part of the picture has any contrast")


def _colour(crop: Image.Image, colours: tuple[Colour, Colour, Colour], draw: random.Random) -> Image.Image:
    """Render in a colour map, with brightness, contrast and hue a little different each time."""
    gamma, cut = draw.uniform(0.7, 1.4), draw.uniform(0, 3)
    turn, gain = draw.uniform(-0.025, 0.025), draw.uniform(0.85, 1.0)
    even = ImageOps.autocontrast(crop, cutoff=cut).point([round(255 * (level / 255) ** gamma) for level in range(256)])
    black, mid, white = (_turn(colour, turn, gain) for colour in colours)
    return ImageOps.colorize(even, black=black, white=white, mid=mid)


def _turn(colour: Colour, turn: float, gain: float) -> Colour:
    hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in colour))
    red, green, blue = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value * gain)
    return round(255 * red), round(255 * green), round(255 * blue)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the raw data of the smoke recipe's task.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=192, help="queries for GRPO; a multiple of 4")
    parser.add_argument("--heldout", type=int, default=64, help="held-out queries; a multiple of 4")
    parser.add_argument("--sft", type=int, default=192, help="conversations; a multiple of 16")
    parser.add_argument("--side", type=int, default=64, help="pixels; 64 x 64 are four image tokens")
    given = parser.parse_args()
    if given.train % 4 or given.heldout % 4 or given.sft % 16:
        parser.error("--train and --heldout must be multiples of 4 and --sft of 16, so that chance is exactly 1/4")
    make_task(given.out, seed=given.seed, train=given.train, heldout=given.heldout, sft=given.sft, side=given.side)
    print(given.out)
