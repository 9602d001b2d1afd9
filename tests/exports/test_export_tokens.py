"""Token estimates of many texts and pictures at once are those of each by itself."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from curate.exports.tokens import image_tokens, many_image_tokens, many_text_tokens, text_tokens

texts = st.lists(st.text(max_size=30) | st.text("ab c1,.é中\n", max_size=30))
sizes = st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), max_size=8)


@given(texts, st.integers(0, 5))
def test_texts(texts: list[str], start: int) -> None:
    assert many_text_tokens(pa.array(texts, pa.string())[start:]).tolist() == [text_tokens(t) for t in texts[start:]]


@given(sizes)
def test_pictures(sizes: list[tuple[int, int]]) -> None:
    sides = [pa.array([size[axis] for size in sizes], pa.int32()) for axis in (0, 1)]
    images = pa.StructArray.from_arrays(sides, ["width", "height"])
    assert many_image_tokens(images).tolist() == [image_tokens(*size) for size in sizes]
