"""Token estimates of many texts and pictures at once are those of each by itself, and of the models' own rules."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.measured import caption, conversation, document, query

from curate.corpus import Image, Sample, to_table
from curate.select.tokens import (
    PATCH_RULES,
    image_tokens,
    many_image_tokens,
    many_text_tokens,
    sample_tokens,
    text_tokens,
)

texts = st.lists(st.text(max_size=30) | st.text("ab c1,.é中\n", max_size=30))
sides = st.integers(28, 5000)
sizes = st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), max_size=8)
models = st.sampled_from(sorted(PATCH_RULES))


def picture(width: int, height: int) -> Image:
    return Image("0" * 64, "png", width, height, 1, False, 0, "a.png", 0, "a.png")


@given(texts, st.integers(0, 5))
def test_texts(texts: list[str], start: int) -> None:
    assert many_text_tokens(pa.array(texts, pa.string())[start:]).tolist() == [text_tokens(t) for t in texts[start:]]


@given(sizes, models, st.sampled_from([28 * 28, 768 * 768, 10**9]))
def test_pictures(sizes: list[tuple[int, int]], model: str, most: int) -> None:
    sides = [pa.array([size[axis] for size in sizes], pa.int32()) for axis in (0, 1)]
    images = pa.StructArray.from_arrays(sides, ["width", "height"])
    rule = PATCH_RULES[model]
    assert many_image_tokens(images, rule, most).tolist() == [image_tokens(*size, rule, most) for size in sizes]


def resized(height: int, width: int, factor: int, least: int, most: int) -> tuple[int, int]:
    """What transformers' ``smart_resize`` of Qwen2-VL makes of a picture."""
    rows, columns = round(height / factor) * factor, round(width / factor) * factor
    if rows * columns > most:
        beta = math.sqrt(height * width / most)
        return tuple(max(factor, math.floor(side / beta / factor) * factor) for side in (height, width))
    if rows * columns < least:
        beta = math.sqrt(least / (height * width))
        return math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor
    return rows, columns


@given(sides, sides, st.sampled_from([("qwen3-vl", 16, 65536, 16777216), ("qwen2.5-vl", 14, 3136, 12845056)]))
def test_pictures_take_what_the_image_processor_makes_of_them(
    width: int, height: int, model: tuple[str, int, int, int]
) -> None:
    name, patch, least, most = model
    rows, columns = resized(height, width, patch * 2, least, most)
    tokens = (rows // patch) * (columns // patch) // 4 + 2
    assert image_tokens(width, height, PATCH_RULES[name], 10**9) == tokens


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        ("qwen3-vl", (512, 512), 16 * 16 + 2),
        ("qwen2.5-vl", (512, 512), 18 * 18 + 2),
        ("qwen2-vl", (512, 512), 18 * 18 + 2),
        ("qwen3-vl", (2000, 2000), 24 * 24 + 2),
        ("qwen2.5-vl", (2000, 2000), 27 * 27 + 2),
        ("qwen3-vl", (64, 64), 8 * 8 + 2),
        ("qwen2.5-vl", (40, 40), 2 * 2 + 2),
    ],
)
def test_pictures_by_hand(model: str, size: tuple[int, int], tokens: int) -> None:
    assert image_tokens(*size, PATCH_RULES[model]) == tokens


def test_the_default_is_qwen3_vl_at_the_trainers_largest_size() -> None:
    for size in [(28, 28), (100, 3000), (768, 768), (769, 768), (5000, 4000)]:
        assert image_tokens(*size) == image_tokens(*size, PATCH_RULES["qwen3-vl"], 589824)


pictures = st.builds(picture, st.integers(28, 900), st.integers(28, 900))
samples = st.lists(
    st.one_of(
        st.builds(caption, st.text(max_size=20), pictures),
        st.builds(lambda text, shown: document(text, *shown, text), st.text(max_size=20), st.lists(pictures)),
        st.builds(lambda text, shown: conversation(text, "Yes.", images=shown), st.text(), st.lists(pictures)),
        st.builds(lambda text, shown: query(text, "A", images=shown), st.text(), st.lists(pictures, max_size=2)),
    ),
    max_size=12,
)


@given(samples, st.integers(1, 5), st.integers(0, 3))
def test_samples(samples: list[Sample], chunk: int, start: int) -> None:
    tables = [to_table(samples[first : first + chunk]) for first in range(0, len(samples), chunk)]
    table = pa.concat_tables([to_table([]), *tables]).slice(start)
    found_texts, found_pictures = sample_tokens(table)
    parts = [[part for turn in sample.turns for part in turn.parts] for sample in samples[start:]]
    assert found_texts.tolist() == [sum(text_tokens(part) for part in said if isinstance(part, str)) for said in parts]
    assert found_pictures.tolist() == [
        sum(image_tokens(sample.images[n].width, sample.images[n].height) for n in said if isinstance(n, int))
        for sample, said in zip(samples[start:], parts, strict=True)
    ]


def test_a_picture_shown_twice_counts_twice() -> None:
    sample = document("Before.", picture(512, 512), "after.")
    turn = sample.turns[0]
    again = type(turn)(turn.role, (*turn.parts, 0))
    twice = type(sample)(sample.kind, sample.source, None, sample.images, (again,), sample.origin)
    assert sample_tokens(to_table([sample, twice]))[1].tolist() == [258, 516]
