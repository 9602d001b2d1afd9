"""Signals of single pictures, on real photographs and on deliberately broken files."""

import io
import itertools
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter
from PIL.Image import Resampling

from curate.signals import ImageSignals, measure_image


@cache
def photo(name: str, side: int = 400) -> Image.Image:
    """A real picture of scikit-image, in colour where it has any."""
    import skimage

    with Image.open(Path(skimage.__file__).parent / "data" / name) as picture:
        loaded = picture.convert("RGB" if picture.mode in ("RGB", "RGBA", "P") else "L")
    loaded.thumbnail((side, side), Resampling.LANCZOS)
    return loaded


REAL = ("retina.jpg", "ihc.png", "microaneurysms.png", "camera.png", "moon.png", "cell.png")


def png(picture: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", **options)
    return file.getvalue()


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", **{"quality": 90, **options})
    return file.getvalue()


def readable(data: bytes) -> ImageSignals:
    signals = measure_image(data)
    assert signals.problem is None
    assert signals.readable
    return signals


def differing_bits(one: ImageSignals, other: ImageSignals) -> int:
    assert one.phash is not None
    assert other.phash is not None
    return (one.phash ^ other.phash).bit_count()


def reference_phash(picture: Image.Image) -> int:
    """The imagehash package's phash, written out: unnormalised DCT-II by its definition, row by row."""
    pixels = np.asarray(picture.convert("L").resize((32, 32), Resampling.LANCZOS), dtype=np.float64)
    waves = [np.cos(np.pi * frequency * (np.arange(32) + 0.5) / 32) for frequency in range(8)]
    low = np.array([[(pixels * np.outer(down, across)).sum() for across in waves] for down in waves])
    return int("".join("1" if bit else "0" for bit in (low > np.median(low)).flatten()), 2)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("encode", [png, jpeg])
def test_the_hash_is_the_one_the_imagehash_package_defines(name: str, encode: Callable[[Image.Image], bytes]) -> None:
    data = encode(photo(name))
    with Image.open(io.BytesIO(data)) as picture:
        expected = reference_phash(picture)
    assert (readable(data).phash or 0).bit_length() <= 64
    assert ((readable(data).phash or 0) ^ expected).bit_count() <= 4


@pytest.mark.parametrize("name", REAL)
def test_the_hash_survives_resizing_and_compression_and_tells_pictures_apart(name: str) -> None:
    original = readable(png(photo(name)))
    smaller = photo(name).resize((200, 200), Resampling.BICUBIC)
    assert differing_bits(original, readable(jpeg(smaller, quality=60))) <= 6
    others = [readable(png(photo(other))) for other in REAL if other != name]
    assert min(differing_bits(original, other) for other in others) > 10


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    grey = photo("camera.png").convert("L")
    values = np.asarray(grey, dtype=np.float64)
    laplacian = values[1:-1, :-2] + values[1:-1, 2:] + values[:-2, 1:-1] + values[2:, 1:-1] - 4 * values[1:-1, 1:-1]
    assert readable(png(grey)).sharpness == pytest.approx(laplacian.var(), abs=0.01)


@pytest.mark.parametrize("encode", [png, jpeg])
@pytest.mark.parametrize("name", ["retina.jpg", "ihc.png", "camera.png", "moon.png"])
def test_blur_lowers_sharpness_manyfold(name: str, encode: Callable[[Image.Image], bytes]) -> None:
    sharp, blurred = (
        readable(encode(picture)).sharpness or 0.0
        for picture in (photo(name), photo(name).filter(ImageFilter.GaussianBlur(3)))
    )
    assert blurred < sharp / 5


@pytest.mark.parametrize(("side", "halvings"), [(512, 0), (513, 1), (1024, 1), (1025, 2), (2048, 2)])
def test_sharpness_is_measured_after_halving_to_512_pixels(side: int, halvings: int) -> None:
    large = photo("camera.png", 512).resize((side, side // 2), Resampling.BICUBIC)
    halved = large.reduce(2**halvings)
    assert max(halved.size) <= 512
    assert readable(png(large)).sharpness == readable(png(halved)).sharpness


def test_jpeg_and_png_of_one_picture_agree() -> None:
    picture = photo("retina.jpg", 1200)
    one, other = readable(png(picture)), readable(jpeg(picture, quality=95))
    assert one.entropy == pytest.approx(other.entropy, abs=0.2)
    assert one.sharpness == pytest.approx(other.sharpness, rel=0.3)
    assert differing_bits(one, other) <= 4


def test_entropy_and_depth_of_blank_two_bit_and_full_pictures() -> None:
    blank = readable(png(Image.new("L", (64, 64), 200)))
    assert (blank.entropy, blank.bits, blank.sharpness) == (0.0, 0, 0.0)

    four_levels = photo("camera.png").convert("L").point(lambda value: value // 64 * 85)
    two_bit = readable(png(four_levels))
    assert two_bit.bits == 2
    assert 0 < (two_bit.entropy or 0) <= 2

    assert readable(png(four_levels.point(lambda value: 255 if value else 0))).bits == 1
    assert readable(png(photo("camera.png"))).bits == 8

    even = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (256, 1)))
    assert readable(png(even)).entropy == 8.0

    page = Image.new("L", (300, 300), 255)
    page.paste(0, (20, 20, 120, 26))
    assert (readable(png(page)).entropy or 9) < 1 < (readable(png(photo("retina.jpg"))).entropy or 0)


def test_uniform_pictures_have_the_same_hash_whatever_their_grey() -> None:
    hashes = {readable(png(Image.new("L", (50, 80), grey))).phash for grey in (1, 77, 128, 255)}
    assert len(hashes) == 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_png_mode_is_read(mode: str) -> None:
    assert readable(png(photo("ihc.png").convert(mode))).bits


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}, {"optimize": True}, {"restart_marker_rows": 1}],
)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_is_read(mode: str, options: dict[str, Any]) -> None:
    signals = readable(jpeg(photo("ihc.png", 700).convert(mode), **options))
    assert differing_bits(signals, readable(png(photo("ihc.png", 700)))) <= 8


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3000, 1), (1, 700), (9, 1500)])
@pytest.mark.parametrize("encode", [png, jpeg])
def test_odd_sizes_are_measured(size: tuple[int, int], encode: Callable[[Image.Image], bytes]) -> None:
    signals = readable(encode(photo("ihc.png").resize(size)))
    assert None not in (signals.entropy, signals.sharpness, signals.bits, signals.phash)


ENCODED = {
    "png": lambda: png(photo("ihc.png")),
    "grey png": lambda: png(photo("camera.png")),
    "jpeg": lambda: jpeg(photo("retina.jpg")),
    "progressive jpeg": lambda: jpeg(photo("retina.jpg"), progressive=True),
    "grey jpeg": lambda: jpeg(photo("camera.png", 700).convert("L")),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_a_file_cut_anywhere_is_unreadable(kind: str) -> None:
    data = ENCODED[kind]()
    chance = random.Random(kind)
    for cut in [0, 1, 8, 20, *(chance.randrange(len(data) - 2) for _ in range(120))]:
        signals = measure_image(data[:cut])
        assert signals.problem, cut
        assert (signals.entropy, signals.sharpness, signals.bits, signals.phash) == (None, None, None, None)


@pytest.mark.parametrize("kind", ENCODED)
def test_damage_at_any_place_never_raises(kind: str) -> None:
    data = ENCODED[kind]()
    chance = random.Random(f"damage {kind}")
    for _ in range(250):
        broken = bytearray(data)
        start = chance.choice([chance.randrange(min(700, len(data))), chance.randrange(len(data))])
        length = chance.choice([1, 1, 2, 16, 300])
        way = chance.choice(["flip", "random", "delete", "insert"])
        if way == "flip":
            broken[start] ^= 1 << chance.randrange(8)
        elif way == "random":
            broken[start : start + length] = chance.randbytes(length)
        elif way == "delete":
            del broken[start : start + length]
        else:
            broken[start:start] = chance.randbytes(length)
        signals = measure_image(bytes(broken))
        assert signals.readable == (signals.entropy is not None)


def test_a_changed_bit_in_png_pixel_data_is_found() -> None:
    data = ENCODED["png"]()
    start, chance = data.index(b"IDAT") + 4, random.Random(5)
    for _ in range(100):
        broken = bytearray(data)
        broken[chance.randrange(start, len(data) - 20)] ^= 1 << chance.randrange(8)
        assert "damaged" in (measure_image(bytes(broken)).problem or "")


@pytest.mark.parametrize(("kind", "share"), [("jpeg", 1.0), ("grey jpeg", 0.9), ("progressive jpeg", 0.7)])
def test_a_hole_in_jpeg_data_is_found_although_pillow_decodes_it(kind: str, share: float) -> None:
    data = ENCODED[kind]()
    start, chance = data.index(b"\xff\xda") + 20, random.Random(6)
    found = 0
    for _ in range(60):
        hole = chance.randrange(start, len(data) - 600)
        broken = data[:hole] + bytes(512) + data[hole + 512 :]
        Image.open(io.BytesIO(broken)).load()
        found += not measure_image(broken).readable
    assert found >= 60 * share


def test_bytes_around_a_good_picture_do_no_harm() -> None:
    one, other = ENCODED["png"](), ENCODED["jpeg"]()
    assert measure_image(one + bytes(100)) == measure_image(one)
    assert measure_image(other + b"trailer") == measure_image(other)
    assert measure_image(other[:-2] + bytes(9) + other[-2:]).phash == measure_image(other).phash


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9", b"GIF89a", b"<html>", bytes(1000)])
def test_what_is_no_picture_has_a_problem(data: bytes) -> None:
    assert measure_image(data).problem


def test_decompression_bombs_are_not_decoded() -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    assert "too many" in (measure_image(bomb).problem or "")

    small = bytearray(jpeg(photo("camera.png").convert("L")))
    frame = small.index(b"\xff\xc0")
    small[frame + 5 : frame + 9] = struct.pack(">HH", 65_000, 65_000)
    assert "too many" in (measure_image(bytes(small)).problem or "")


def bits_apart(one: int | None, other: int | None) -> int:
    assert one is not None
    assert other is not None
    return (one ^ other).bit_count()


@pytest.mark.parametrize("name", REAL)
def test_the_mirrored_hash_is_the_hash_of_the_mirrored_picture(name: str) -> None:
    tiny = photo(name).convert("L").resize((32, 32), Resampling.LANCZOS)
    one, other = readable(png(tiny)), readable(png(tiny.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    assert one.phash_mirrored == other.phash
    assert one.phash == other.phash_mirrored
    # Resampling rounds to whole grey levels, from the left as from the right, so a large picture may differ a little.
    large = readable(png(photo(name).transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    assert bits_apart(readable(png(photo(name))).phash_mirrored, large.phash) <= 2


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize("widths", [(30, 30, 30, 30), (0, 60, 0, 0), (5, 0, 40, 12), (90, 90, 0, 0)])
@pytest.mark.parametrize("encode", [png, jpeg])
@pytest.mark.parametrize("name", ["ihc.png", "retina.jpg"])
def test_borders_are_trimmed(
    name: str, encode: Callable[[Image.Image], bytes], widths: tuple[int, int, int, int], colour: int
) -> None:
    # Without the black corners of a fundus photograph, which are a border of their own.
    picture = photo(name).convert("L").crop((60, 60, 340, 340))
    left, right, above, below = widths
    framed = Image.new("L", (picture.width + left + right, picture.height + above + below), colour)
    framed.paste(picture, (left, above))
    signals, plain = readable(encode(framed)), readable(png(picture))
    assert bits_apart(signals.phash_trimmed, plain.phash_trimmed) <= 4
    box = signals.content_box
    assert box is not None
    expected = (left, above, left + picture.width, above + picture.height)
    found = [share * side for share, side in zip(box, framed.size * 2, strict=True)]
    assert found == pytest.approx(expected, abs=4)


def test_a_page_around_a_frame_is_trimmed_with_it() -> None:
    picture = photo("ihc.png").convert("L")
    framed = Image.new("L", (picture.width + 20, picture.height + 20), 0)
    framed.paste(picture, (10, 10))
    page = Image.new("L", (framed.width + 60, framed.height + 80), 255)
    page.paste(framed, (20, 50))
    assert readable(png(page)).phash_trimmed == readable(png(picture)).phash


@pytest.mark.parametrize("picture", [photo("ihc.png"), Image.new("L", (64, 64), 200), Image.new("L", (1, 1))])
def test_nothing_is_trimmed_without_borders_or_content(picture: Image.Image) -> None:
    signals = readable(png(picture))
    assert signals.content_box == (0, 0, 1, 1)
    assert signals.phash_trimmed == signals.phash


def test_a_small_spot_on_a_blank_ground_is_not_blown_up() -> None:
    mask = Image.new("L", (400, 400))
    mask.paste(255, (50, 50, 120, 110))
    assert readable(png(mask)).content_box == (0, 0, 1, 1)


@pytest.mark.parametrize("name", REAL[:4])
@pytest.mark.parametrize("shares", [(0.0125,) * 4, (0.0375,) * 4, (0.05, 0.01, 0.03, 0.02), (0.04, 0.04, 0.0, 0.05)])
def test_one_of_the_crops_is_near_a_cropped_copy(name: str, shares: tuple[float, float, float, float]) -> None:
    picture = photo(name)
    left, right, above, below = shares
    width, height = picture.size
    box = (round(left * width), round(above * height), round((1 - right) * width), round((1 - below) * height))
    crops = readable(png(picture)).phashes_cropped
    assert crops is not None
    assert len(crops) == 16
    copy = readable(jpeg(picture.crop(box)))
    assert min(bits_apart(crop, copy.phash) for crop in crops) <= 6
    other = readable(png(photo(next(other for other in REAL if other != name))))
    assert min(bits_apart(crop, other.phash) for crop in crops) > 10


def test_the_crops_are_in_the_documented_order() -> None:
    picture = photo("ihc.png")
    width, height = picture.size
    crops = readable(png(picture)).phashes_cropped or ()
    shares = itertools.product((0.0125, 0.0375), repeat=4)
    for hashed, (left, right, above, below) in zip(crops, shares, strict=True):
        box = (left * width, above * height, (1 - right) * width, (1 - below) * height)
        part = picture.convert("L").resize((32, 32), Resampling.LANCZOS, box=box)
        assert bits_apart(hashed, reference_phash(part)) <= 4
