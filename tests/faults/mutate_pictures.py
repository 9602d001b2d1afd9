"""Damaged pictures: PNG by chunk, JPEG by segment, DICOM by element, and all of them by byte."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from functools import cache

from faults.mutate_bytes import damage
from faults.mutate_records import EXAMPLES, STRINGS
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import RLELossless

_PNG = b"\x89PNG\r\n\x1a\n"
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I", "CMYK", "F")


@cache
def bases() -> tuple[tuple[str, bytes], ...]:
    """Small pictures in every format and kind of pixels, made from an example: (suffix, bytes)."""
    made = []
    with Image.open(EXAMPLES / "case-reports" / "lower-leg-lesion.jpg") as original:
        small = original.convert("RGB")
        small.thumbnail((48, 48))
    for mode in _MODES:
        for image_format in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
            file = io.BytesIO()
            try:
                small.convert("L" if mode == "I;16" else mode).convert(mode).save(file, image_format)
            except (OSError, ValueError, KeyError):
                continue
            made.append((f".{image_format.lower()}", file.getvalue()))
    file = io.BytesIO()
    turned = Image.Exif()
    turned[0x0112] = 6
    small.save(file, "JPEG", exif=turned, progressive=True)
    made.append((".jpg", file.getvalue()))
    for path in ("pathology-captions/microaneurysms.png", "case-reports/lower-leg-lesion.jpg"):
        made.append(((EXAMPLES / path).suffix, (EXAMPLES / path).read_bytes()))
    return tuple(made)


def picture(chance: random.Random, *, whole: bool = False) -> tuple[str, bytes]:
    """A name and the bytes of a picture, damaged unless it is to be ``whole``."""
    suffix, data = chance.choice(bases())
    if whole:
        return f"p{suffix}", data
    if data.startswith(_PNG) and chance.random() < 0.7:
        data = _png(chance, data)
    elif data.startswith(b"\xff\xd8") and chance.random() < 0.7:
        data = _jpeg(chance, data)
    elif chance.random() < 0.1:
        data = data[: len(data) // 2] + chance.choice(bases())[1][len(data) // 2 :]
    else:
        data = damage(chance, data)
    if chance.random() < 0.1:
        suffix = chance.choice((".png", ".jpg", ".tif", ".dcm", ".webp"))
    return f"p{suffix}", data


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file with its checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Names and bodies of a PNG file's chunks."""
    found = []
    start = len(_PNG)
    while start + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        found.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + length]))
        start += 12 + length
    return found


def _png(chance: random.Random, data: bytes) -> bytes:
    """A PNG file damaged in its chunks, with checksums that are right all the same."""
    parts = chunks(data)
    place = chance.randrange(len(parts))
    name, body = parts[place]
    what = chance.choice(("header", "header", "body", "pixels", "drop", "double", "swap", "add", "add", "rename"))
    if what == "header":
        sizes = (0, 1, 47, 48, 5000, 13_000, 2**31 - 1, 2**32 - 1)
        header = bytearray(parts[0][1])
        field = chance.randrange(4)
        if field < 2:
            header[4 * field : 4 * field + 4] = struct.pack(">I", chance.choice(sizes))
        else:
            header[8 + chance.randrange(5)] = chance.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
        parts[0] = (b"IHDR", bytes(header))
    elif what == "body":
        parts[place] = (name, damage(chance, body, 1))
    elif what == "pixels":
        bomb = zlib.compress(b"\0" * chance.choice((0, 100, 1 << 24)))
        parts = [(n, bomb if n == b"IDAT" else b) for n, b in parts]
    elif what == "drop":
        del parts[place]
    elif what == "double":
        parts.insert(place, (name, body))
    elif what == "swap":
        chance.shuffle(parts)
    elif what == "rename":
        parts[place] = (chance.choice((b"IDAT", b"IEND", b"PLTE", b"tRNS", b"zzzz", b"\0\0\0\0")), body)
    else:
        bomb = zlib.compress(b"a" * (1 << 24))
        added = (
            (b"acTL", struct.pack(">II", chance.choice((0, 1, 2, 2**31)), 0)),
            (b"eXIf", chance.randbytes(40)),
            (b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"),
            (b"iCCP", b"icc\0\0" + bomb),
            (b"zTXt", b"Comment\0\0" + bomb),
            (b"iTXt", b"XML:com.adobe.xmp\0\x01\0\0\0" + bomb),
            (b"tRNS", chance.randbytes(chance.choice((0, 1, 2, 6, 300)))),
            (b"PLTE", chance.randbytes(chance.choice((0, 1, 3, 768, 900)))),
            (b"pHYs", chance.randbytes(9)),
            (b"gAMA", b"\0\0\0\0"),
        )
        parts.insert(min(1, len(parts)), chance.choice(added))
    return _PNG + b"".join(chunk(name, body) for name, body in parts)


def _jpeg(chance: random.Random, data: bytes) -> bytes:
    """A JPEG file damaged in its segments."""
    segments = []
    start = 2
    while start + 4 <= len(data) and data[start] == 0xFF and data[start + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, start + 2)
        segments.append(data[start : start + 2 + length])
        start += 2 + length
    rest = data[start:]
    place = chance.randrange(len(segments))
    what = chance.choice(("size", "frame", "body", "drop", "double", "shuffle", "exif", "scan", "twice"))
    if what in ("size", "frame"):
        frames = (0xC0, 0xC2)
        segments = [_frame(chance, what, segment) if segment[1] in frames else segment for segment in segments]
    elif what == "body":
        segment = segments[place]
        segments[place] = segment[:4] + damage(chance, segment[4:], 1)
    elif what == "drop":
        del segments[place]
    elif what == "double":
        segments.insert(place, segments[place])
    elif what == "shuffle":
        chance.shuffle(segments)
    elif what == "exif":
        tiff = b"Exif\0\0" + chance.choice((b"MM\0*", b"II*\0", b"")) + chance.randbytes(60)
        segments.insert(0, b"\xff\xe1" + struct.pack(">H", len(tiff) + 2) + tiff)
    elif what == "scan":
        rest = damage(chance, rest)
    else:
        return data + data
    return b"\xff\xd8" + b"".join(segments) + rest


def _frame(chance: random.Random, what: str, segment: bytes) -> bytes:
    """A frame header with another size, or another value somewhere."""
    changed = bytearray(segment)
    if what == "size":
        side = chance.choice((5, 7))
        changed[side : side + 2] = struct.pack(">H", chance.choice((0, 1, 47, 9000, 65_500, 65_535)))
    else:
        changed[chance.randrange(4, len(changed))] = chance.randrange(256)
    return bytes(changed)


@cache
def scans() -> tuple[bytes, ...]:
    """DICOM files: examples, one of them also run-length encoded, and cut to a small picture to be fast."""
    files = [(EXAMPLES / "dicom" / name).read_bytes() for name in ("mr-crop.dcm", "ct-thorax-crop.dcm")]
    encoded = dcmread(io.BytesIO(files[0]))
    encoded.compress(RLELossless, generate_instance_uid=False)
    file = io.BytesIO()
    encoded.save_as(file)
    with Image.open(EXAMPLES / "case-reports" / "lower-leg-lesion.jpg") as original:
        small = original.convert("RGB")
        small.thumbnail((48, 48))
    colour = dcmread(io.BytesIO(files[0]))
    colour.SamplesPerPixel, colour.PhotometricInterpretation, colour.PlanarConfiguration = 3, "RGB", 0
    colour.BitsAllocated = colour.BitsStored = 8
    colour.HighBit, colour.PixelRepresentation = 7, 0
    colour.Rows, colour.Columns = small.height, small.width
    colour.PixelData = small.tobytes() + b"\0" * (len(small.tobytes()) % 2)
    file_of_colour = io.BytesIO()
    colour.save_as(file_of_colour)
    return (*files, file.getvalue(), file_of_colour.getvalue())


_TAGS: dict[str, tuple[object, ...]] = {
    "Rows": (0, 1, 65535),
    "Columns": (0, 1, 65535),
    "NumberOfFrames": ("0", "-1", "2", "10000000", "x"),
    "SamplesPerPixel": (0, 2, 3, 4),
    "PhotometricInterpretation": ("MONOCHROME1", "RGB", "PALETTE COLOR", "YBR_FULL_422", "", "\\", "\x1b[31m"),
    "BitsAllocated": (0, 1, 7, 8, 16, 32, 64),
    "BitsStored": (0, 1, 12, 16, 64),
    "HighBit": (0, 31, 255),
    "PixelRepresentation": (0, 1, 2),
    "PlanarConfiguration": (0, 1, 2),
    "RescaleSlope": ("0", "1e308", "nan", "-1", "x"),
    "RescaleIntercept": ("1e308", "-1e308", "inf"),
    "WindowCenter": ("40", "nan", "1e308", "40\\50"),
    "WindowWidth": ("0", "-5", "1", "1e-300"),
    "PixelPaddingValue": (0, 65535),
    "PatientAge": ("042Y", "999Y", "x"),
    "PatientSex": ("M", "", "\0"),
    "Modality": ("CT", "", "x" * 100),
    "PixelSpacing": ("0\\0", "1", "nan\\nan"),
    "SOPClassUID": ("1.2", "", "1.2.840.10008.5.1.4.1.1.66.4"),
    "PatientIdentityRemoved": ("YES", "NO", ""),
}


def dicom(chance: random.Random) -> bytes:
    """A damaged DICOM file."""
    data = chance.choice(scans())
    if chance.random() < 0.45:
        return damage(chance, data)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(io.BytesIO(data))
        for _ in range(chance.choice((1, 2, 3))):
            _change_element(chance, dataset)
        try:
            dataset.save_as(file)
        except Exception:  # noqa: BLE001 - what pydicom will not write is no mutant
            return damage(chance, data)
    return file.getvalue()


def _change_element(chance: random.Random, dataset: Dataset) -> None:
    name = chance.choice(list(_TAGS))
    what = chance.random()
    if what < 0.15 and name in dataset:
        delattr(dataset, name)
    elif what < 0.3 and "PixelData" in dataset:
        dataset["PixelData"]._value = damage(chance, dataset.PixelData)
    elif what < 0.4:
        dataset.PatientComments = chance.choice(STRINGS)
    else:
        # Not through the attribute, which would check the value.
        setattr(dataset, name, "1" if dataset.get(name) is None else dataset.get(name))
        dataset[name]._value = chance.choice(_TAGS[name])
