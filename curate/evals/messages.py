"""A row of a verl export as the model gets it: the same messages and pictures as in verl's rollout.

The steps are those of verl's ``RLHFDataset._build_messages`` and of ``qwen_vl_utils.process_vision_info``, which it
calls for the pictures, so that an answer here is the answer of a greedy rollout. They are written out because
LLaMA-Factory's environment has neither.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from PIL import Image

_PLACEHOLDERS: Final = re.compile(r"(<image>|<video>|<audio>)")
_IMAGE: Final = "<image>"
_MERGED: Final = 2
"""Patches in each direction that become one token."""
_LEAST, _MOST = 4, 16384
"""Tokens of a picture without bounds of its own; as in qwen_vl_utils."""
_LONGEST_TO_SHORTEST: Final = 200


class Prompt(NamedTuple):
    """What the processor of the model is given."""

    messages: list[dict[str, Any]]
    """The chat. A message of a row with pictures has a list of parts as content."""
    pictures: list[Image.Image]
    """RGB, sized to whole tokens, in the order of their placeholders."""


def build_prompt(row: Mapping[str, Any], patch_size: int) -> Prompt:
    """Messages and pictures of a row with ``prompt`` and ``images``; ``patch_size`` is that of the model, in pixels.

    Raises ValueError or OSError with what is wrong: placeholders without a picture, or the reverse, a picture that
    cannot be decoded or is more than 200 times as long as wide.
    """
    cells = row.get("images")
    cells = [] if cells is None else list(cells)
    shown = sum(message["content"].count(_IMAGE) for message in row["prompt"])
    if cells and shown != len(cells):
        raise ValueError(f"the prompt has {shown} <image> for {len(cells)} picture(s)")
    messages = []
    for message in row["prompt"]:
        content: Any = message["content"]
        if cells:
            parts = [part for part in _PLACEHOLDERS.split(content) if part]
            if other := {"<video>", "<audio>"} & set(parts):
                raise ValueError(f"the prompt has {other.pop()}, and only pictures are read")
            content = [{"type": "image"} if part == _IMAGE else {"type": "text", "text": part} for part in parts]
        messages.append({"role": message["role"], "content": content})
    return Prompt(messages, [_picture(cell, patch_size) for cell in cells])


def _picture(cell: Any, patch_size: int) -> Image.Image:
    given: Mapping[str, Any] = {"image": cell} if isinstance(cell, str) else cell
    if given.get("bytes") is not None:
        opened = Image.open(io.BytesIO(given["bytes"]))
    else:
        path = given.get("image") or given.get("path")
        if not path:
            raise ValueError("a picture has neither bytes nor a path")
        opened = Image.open(Path(str(path).removeprefix("file://")))
    token = patch_size * _MERGED
    least = given.get("min_pixels") or _LEAST * token**2
    most = given.get("max_pixels") or _MOST * token**2
    with opened:
        picture = _rgb(opened)
    return picture.resize(whole_tokens(*picture.size, token=token, least=least, most=most))


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    white = Image.new("RGB", picture.size, (255, 255, 255))
    white.paste(picture, mask=picture.getchannel("A"))
    return white


def whole_tokens(width: int, height: int, *, token: int, least: int, most: int) -> tuple[int, int]:
    """Width and height as multiples of ``token`` pixels, of between ``least`` and ``most`` pixels in all.

    The shape is kept as well as that allows; ``smart_resize`` of qwen_vl_utils. Raises ValueError for a picture that is
    too long and narrow.
    """
    if max(width, height) > _LONGEST_TO_SHORTEST * min(width, height):
        raise ValueError(f"the picture has {width} x {height} pixels; a side may be 200 times the other one at most")
    wide, high = (max(token, round(side / token) * token) for side in (width, height))
    if wide * high > most:
        shrink = math.sqrt(width * height / most)
        wide, high = (math.floor(side / shrink / token) * token for side in (width, height))
        wide, high = max(token, wide), max(token, high)
    elif wide * high < least:
        grow = math.sqrt(least / (width * height))
        wide, high = (math.ceil(side * grow / token) * token for side in (width, height))
    return wide, high
