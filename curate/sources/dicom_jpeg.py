"""A pydicom decoder plugin for lossless and 12-bit JPEG, which none of pydicom's permissive decoders reads safely.

imagecodecs wraps libjpeg-turbo 3. GDCM reads lossless JPEG too, but ends the whole process on some damaged streams.
"""

from __future__ import annotations

from importlib.util import find_spec

from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1

NAME = "imagecodecs"
DECODER_DEPENDENCIES = dict.fromkeys((JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1), (NAME,))
"""Looked up by pydicom under this name."""


def register() -> None:
    """Make the plugin known to pydicom under ``NAME``; call once."""
    for transfer_syntax in DECODER_DEPENDENCIES:
        get_decoder(transfer_syntax).add_plugin(NAME, (__name__, decode_frame.__name__))


def is_available(uid: str) -> bool:
    """Whether the plugin decodes the transfer syntax here; called by pydicom."""
    return uid in DECODER_DEPENDENCIES and find_spec(NAME) is not None


def decode_frame(src: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame without colour conversion, which is pydicom's to do; called by pydicom."""
    import imagecodecs

    colour = "RGB" if runner.samples_per_pixel == 3 else None
    pixels = imagecodecs.jpeg8_decode(src, colorspace=colour, outcolorspace=colour)
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    runner.set_option("planar_configuration", 0)
    return bytes(pixels.tobytes())
