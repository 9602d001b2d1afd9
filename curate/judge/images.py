"""Images as the judge receives them: data URLs of bounded size."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from curate.corpus import Image

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage


@dataclass(frozen=True, slots=True)
class ImageBound:
    """How large an image may be on its way to the judge. Part of the request key: another bound is another question."""

    side: int = 1024
    """Pixels of the longer side."""
    bytes: int = 1_000_000
    """Bytes of the file; base64 adds a third."""

    def holds(self, image: Image) -> bool:
        """Whether the image is sent as it is."""
        return max(image.width, image.height) <= self.side and image.size <= self.bytes

    def size(self, image: Image) -> tuple[int, int]:
        """Width and height in pixels as sent."""
        scale = min(1.0, self.side / max(image.width, image.height))
        return max(1, round(image.width * scale)), max(1, round(image.height * scale))


class UnreadableImageError(Exception):
    """The image cannot be decoded; the message says why."""


def data_url(data: bytes, image: Image, bound: ImageBound) -> str:
    """A PNG or JPEG file as a data URL: untouched when it is within the bound, else scaled down to it as JPEG (q90).

    Raises UnreadableImageError when it would have to be decoded and can't be.
    """
    media = image.format
    if not bound.holds(image):
        data, media = _scaled_down(data, bound), "jpeg"
    return f"data:image/{media};base64,{base64.b64encode(data).decode('ascii')}"


def _scaled_down(data: bytes, bound: ImageBound) -> bytes:
    from PIL import Image as Pillow

    try:
        with Pillow.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            picture.draft("RGB" if picture.mode == "RGB" else "L", (bound.side, bound.side))
            picture.load()
            opaque = _opaque(picture)
            opaque.thumbnail((bound.side, bound.side), Pillow.Resampling.LANCZOS, reducing_gap=3.0)
            file = io.BytesIO()
            opaque.save(file, "JPEG", quality=90, subsampling=0)
            return file.getvalue()
    except (OSError, SyntaxError, ValueError, MemoryError, Pillow.DecompressionBombError) as error:
        raise UnreadableImageError(str(error) or type(error).__name__) from None


def _opaque(picture: PillowImage) -> PillowImage:
    """As RGB or grey; what was transparent is black, the ground that medical pictures stand on."""
    from PIL import Image as Pillow

    if picture.mode in ("L", "RGB"):
        return picture
    if not picture.has_transparency_data:
        return picture.convert("L" if picture.mode == "1" else "RGB")
    rgba = picture.convert("RGBA")
    ground = Pillow.new("RGB", rgba.size)
    ground.paste(rgba, mask=rgba.getchannel("A"))
    return ground
