"""What is made of a row: the chat and the pictures."""

from __future__ import annotations

import io
from typing import Any

import pytest
from PIL import Image

from curate.evals.messages import build_prompt, whole_tokens


def cell(size: tuple[int, int], mode: str = "RGB", **bounds: int) -> dict[str, Any]:
    file = io.BytesIO()
    Image.new(mode, size).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None, **bounds}


def row(question: str, *images: Any) -> dict[str, Any]:
    return {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}],
            "images": list(images)}  # fmt: skip


def test_pictures_stand_where_their_placeholders_are() -> None:
    prompt = build_prompt(row("<image>First, <image>", cell((64, 64)), cell((320, 160), max_pixels=51200)), 16)
    assert prompt.messages == [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "First, "}, {"type": "image"}]},
    ]
    assert [picture.size for picture in prompt.pictures] == [(64, 64), (320, 160)]


def test_a_row_without_pictures_keeps_its_text_as_it_is() -> None:
    prompt = build_prompt(row("What does <image> mean?"), 16)
    assert prompt.messages[1]["content"] == "What does <image> mean?"
    assert not prompt.pictures


def test_transparent_pictures_lie_on_white() -> None:
    (picture,) = build_prompt(row("<image>", cell((64, 64), "RGBA")), 16).pictures
    assert (picture.mode, picture.getpixel((0, 0))) == ("RGB", (255, 255, 255))


@pytest.mark.parametrize(
    ("question", "images", "message"),
    [
        ("<image>", [cell((64, 64))] * 2, "1 <image> for 2"),
        ("<image><video>", [cell((64, 64))], "<video>"),
        ("<image>", [{"bytes": b"no picture", "path": None}], "cannot identify"),
        ("<image>", [{"bytes": cell((64, 64))["bytes"][:60], "path": None}], "truncated"),
        ("<image>", [{"bytes": None, "path": None}], "neither bytes nor a path"),
        ("<image>", [cell((6500, 32))], "200 times"),
    ],
)
def test_a_row_that_cannot_be_shown_says_why(question: str, images: list[Any], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        build_prompt(row(question, *images), 16)


def test_sizes_are_whole_tokens_within_the_bounds() -> None:
    for width in (1, 31, 48, 100, 640, 5000):
        for height in (28, 33, 512, 4000):
            if max(width, height) > 200 * min(width, height):
                continue
            wide, high = whole_tokens(width, height, token=32, least=4096, most=589_824)
            assert wide % 32 == high % 32 == 0
            assert wide * high >= 4096
            assert wide * high <= 589_824 or 32 in (wide, high)
