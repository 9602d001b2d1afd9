"""Small pictures inside the page, as data URIs, within a bound for all of them together."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from curate.corpus import Corpus, Image, UserError
from curate.engine import usable_cores

_SIDE: Final = 288
"""Pixels of the longer side."""
_QUALITY: Final = 68
_MOST_PIXELS: Final = 120_000_000
"""Larger pictures would take half a gigabyte to decode."""
_MOST_BYTES: Final = 256 * 2**20
_BACKGROUND: Final = (0, 0, 0)
"""What was transparent is black, the ground that medical pictures stand on."""


@dataclass(frozen=True)
class Thumbnail:
    """A small picture, or the reason why there is none."""

    uri: str | None
    width: int
    height: int
    problem: str | None = None

    def left_out(self) -> Thumbnail:
        """The same without the picture, for which there is no room."""
        return Thumbnail(None, self.width, self.height, _FULL)


@dataclass
class Thumbnails:
    """Pictures by their hash, made in the order they are asked for until the bound is reached."""

    corpus: Corpus
    bound: int = 7_000_000
    """Characters of all data URIs together."""
    used: int = 0
    left_out: int = 0
    """Pictures that would have exceeded the bound."""
    made: dict[str, Thumbnail] = field(default_factory=dict)

    def make(self, images: Iterable[Image]) -> None:
        """Make what is not made yet; what comes first is preferred."""
        wanted = {image.sha256: image for image in images if image.sha256 not in self.made}
        with ThreadPoolExecutor(min(4, usable_cores())) as pool:
            for some in _batched(list(wanted.values()), 16):
                if self.used >= self.bound:
                    made = [Thumbnail(None, image.width, image.height, _FULL) for image in some]
                else:
                    made = list(pool.map(self._thumbnail, some))
                for image, thumbnail in zip(some, made, strict=True):
                    self.made[image.sha256] = self._counted(thumbnail)

    def _counted(self, thumbnail: Thumbnail) -> Thumbnail:
        taken = len(thumbnail.uri or "")
        if thumbnail.problem == _FULL or self.used + taken > self.bound:
            self.left_out += 1
            return Thumbnail(None, thumbnail.width, thumbnail.height, _FULL)
        self.used += taken
        return thumbnail

    def _thumbnail(self, image: Image) -> Thumbnail:
        from PIL import Image as Pillow

        def none(problem: str) -> Thumbnail:
            return Thumbnail(None, image.width, image.height, problem)

        if image.width * image.height > _MOST_PIXELS or image.size > _MOST_BYTES:
            return none(f"too large to be shown here ({image.width:,} × {image.height:,} pixels)")
        try:
            data = self.corpus.image_bytes(image)
        except (UserError, IndexError, ValueError):
            return none("its file is gone or has changed since it was ingested")
        try:
            with Pillow.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
                if picture.width * picture.height > _MOST_PIXELS:
                    return none("too large to be shown here")
                picture.draft("RGB" if picture.mode == "RGB" else "L", (2 * _SIDE, 2 * _SIDE))
                picture.load()
                if picture.has_transparency_data:
                    rgba = picture.convert("RGBA")
                    opaque = Pillow.new("RGB", rgba.size, _BACKGROUND)
                    opaque.paste(rgba, mask=rgba.getchannel("A"))
                elif picture.mode in ("L", "RGB"):
                    opaque = picture
                else:
                    opaque = picture.convert("L" if picture.mode in ("1", "LA") else "RGB")
                opaque.thumbnail((_SIDE, _SIDE), Pillow.Resampling.LANCZOS, reducing_gap=3.0)
                file = io.BytesIO()
                opaque.save(file, "WEBP", quality=_QUALITY, method=4)
        except (OSError, SyntaxError, ValueError, MemoryError, Pillow.DecompressionBombError):
            return none("it cannot be decoded")
        uri = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
        return Thumbnail(uri, *opaque.size)


_FULL: Final = "left out: the page holds as many pictures as it may"


def _batched(images: list[Image], number: int) -> Iterable[list[Image]]:
    return (images[start : start + number] for start in range(0, len(images), number))
