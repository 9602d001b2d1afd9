"""Synthetic input of any size: multiple-choice and open questions about small pictures, ten questions a picture."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import numpy as np
import orjson
from numpy.typing import NDArray

QUESTIONS_A_PICTURE = 10
PICTURES_A_FOLDER = 1000
_SIDE = 64

_PARTS = ("chest", "abdomen", "knee", "skull", "pelvis", "shoulder", "wrist", "lumbar spine", "ankle", "hip")
_FINDINGS = ("pleural effusion", "fracture", "nodule", "cyst", "pneumothorax", "calcification", "oedema", "mass")
_SIDES = ("left", "right", "bilateral", "central")
_PLACES = ("upper", "middle", "lower", "anterior", "posterior", "medial", "lateral")


def make_records(folder: Path, samples: int) -> None:
    """``samples`` records in ``folder/records.jsonl`` and their pictures beside it; no two records are alike."""
    folder.mkdir(parents=True)
    pictures = -(-samples // QUESTIONS_A_PICTURE)
    names = [_write_picture(folder, number) for number in range(pictures)]
    chance = random.Random(0)
    with (folder / "records.jsonl").open("wb") as file:
        for number in range(samples):
            record = _record(number, names[number // QUESTIONS_A_PICTURE], chance)
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))


def _record(number: int, picture: str, chance: random.Random) -> dict[str, object]:
    side, place, part = chance.choice(_SIDES), chance.choice(_PLACES), chance.choice(_PARTS)
    finding = chance.choice(_FINDINGS)
    asked = f"Case {number}: the {part} image shows a finding of {chance.randint(2, 90)} mm in the {side} {place} part."
    if number % 2:
        options = dict(zip("ABCD", chance.sample(_FINDINGS, 4), strict=True))
        return {
            "query": f"<image>\n{asked} Which of the options describes it best?",
            "images": [picture],
            "answer": [chance.choice("ABCD")],
            "query_type": "choice",
            "choices": options,
            "source": f"made-{number % 7}",
        }
    return {
        "query": f"<image>\n{asked} Name the finding.",
        "images": [picture],
        "answer": [finding],
        "query_type": "exact",
        "source": f"made-{number % 7}",
    }


def _write_picture(folder: Path, number: int) -> str:
    """A grey PNG of 64 x 64 that no other number has."""
    name = f"{number // PICTURES_A_FOLDER:04}/{number:07}.png"
    path = folder / name
    if number % PICTURES_A_FOLDER == 0:
        path.parent.mkdir()
    rows, columns = np.indices((_SIDE, _SIDE))
    pixels = ((rows * (1 + number % 5) + columns * (1 + number % 7)) % 256).astype(np.uint8)
    pixels[:2, :12].flat = np.frombuffer(f"{number:024}".encode(), np.uint8)
    path.write_bytes(_png(pixels))
    return name


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of one chunk each of header, data and end (PNG 3rd ed., 5.3), made many times as fast as by Pillow."""
    height, width = pixels.shape
    scanlines = np.zeros((height, width + 1), np.uint8)
    scanlines[:, 1:] = pixels
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(scanlines.tobytes(), 1)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
