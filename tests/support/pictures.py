"""Small real pictures for tests, as bytes."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

from PIL import Image


@cache
def retina(width: int = 128, image_format: str = "PNG") -> bytes:
    """scikit-image's retina photograph, scaled down."""
    return _scaled("retina.jpg", width, image_format)


@cache
def histology(width: int = 128, image_format: str = "PNG") -> bytes:
    """scikit-image's immunohistochemistry slide, scaled down."""
    return _scaled("ihc.png", width, image_format)


def _scaled(name: str, width: int, image_format: str) -> bytes:
    import skimage

    with Image.open(Path(skimage.__file__).parent / "data" / name) as picture:
        small = picture.convert("RGB")
        small.thumbnail((width, width))
        file = io.BytesIO()
        small.save(file, image_format)
        return file.getvalue()


def distinct(number: int, size: int = 48) -> bytes:
    """A PNG that differs for every number."""
    picture = Image.linear_gradient("L").resize((size, size)).convert("RGB")
    picture.putpixel((number % size, (number // size) % size), (255, 0, number % 256))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()
