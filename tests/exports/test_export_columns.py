"""What exports do with columns is what one would do with each sample by itself."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.measured import conversation

from curate.corpus import Image, Sample, to_table
from curate.exports.background import Behind, ahead
from curate.exports.llamafactory import _TURN_MARKUP, SftWriter, _cutoff, _sft_rows
from curate.exports.markers import defuse, defuse_text, has_marker
from curate.exports.pictures import distinct_images, relative_path, relative_paths
from curate.exports.turns import ASSISTANT, USER, flat_images, flatten_turns, speaks
from curate.select.tokens import image_tokens, many_text_tokens, most_text_tokens, text_tokens

PIECES = [
    "<image>",
    "<video>",
    "<|im_end|>",
    "< image>",
    "<im",
    "age>",
    "<",
    " ",
    "\n",
    "\v",
    "\x00",
    "\xa0",
    "é中",
    "a",
]
texts = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=20)
images = st.builds(
    Image,
    sha256=st.sampled_from(["ab" + "0" * 62, "cd" + "1" * 62, "ab" + "2" * 62]),
    format=st.sampled_from(["png", "jpeg"]),
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    size=st.just(1),
    stored=st.just(False),
    root=st.integers(-1, 1),
    path=st.sampled_from([None, "", "1.png", "a/b.png"]),
    mtime_ns=st.just(0),
    name=st.none(),
)
conversations = st.builds(
    lambda messages, images, system: conversation(*messages, images=images, system=system),
    st.lists(texts, min_size=1, max_size=4),
    st.lists(images, max_size=3),
    st.none() | texts,
)
samples = st.lists(conversations, min_size=1, max_size=6)


@given(st.lists(st.none() | texts, max_size=6), st.integers(0, 3))
def test_markers(values: list[str | None], start: int) -> None:
    harmless, marked = defuse(pa.array(values, pa.string())[start:])
    assert harmless.to_pylist() == [None if text is None else defuse_text(text) for text in values[start:]]
    assert marked.to_pylist() == [text is not None and has_marker(text) for text in values[start:]]


@given(samples)
def test_who_says_something(samples: list[Sample]) -> None:
    turns = flatten_turns(to_table(samples))
    for number, role in ((USER, "user"), (ASSISTANT, "assistant")):
        assert speaks(turns, number).tolist() == [
            any(
                isinstance(part, str) and re.search(r"[^ \t\n\f\r]", part)
                for turn in sample.turns
                if turn.role == role
                for part in turn.parts
            )
            or False
            for sample in samples
        ]


@given(samples)
def test_messages(samples: list[Sample]) -> None:
    table = to_table(samples)
    rows = _sft_rows(table, flatten_turns(table)).to_pylist()
    for row, sample in zip(rows, samples, strict=True):
        said = [
            (turn.role, "".join(defuse_text(p) if isinstance(p, str) else "<image>" for p in turn.parts))
            for turn in sample.turns
        ]
        assert [(m["role"], m["content"]) for m in row["messages"]] == [m for m in said if m[0] != "system"]
        assert row["system"] == "".join(text for role, text in said if role == "system")
        assert row["images"] == [relative_path(image) for image in sample.images]


@given(st.lists(st.lists(images, max_size=4), max_size=4))
def test_pictures(rows: list[list[Image]]) -> None:
    found = flat_images(to_table([conversation(str(n), images=row) for n, row in enumerate(rows)]))
    expected: dict[str, dict[Any, Image]] = {}
    for image in (image for row in rows for image in row):
        expected.setdefault(image.sha256, {}).setdefault((image.root, image.path), image)
    assert distinct_images(found) == {sha256: list(places.values()) for sha256, places in expected.items()}
    assert list(distinct_images(found)) == list(expected)
    assert relative_paths(found).to_pylist() == [relative_path(image) for row in rows for image in row]


@given(st.lists(texts, max_size=6))
def test_no_text_has_more_tokens_than_most(values: list[str]) -> None:
    array = pa.array(values, pa.string())
    assert (many_text_tokens(array) <= most_text_tokens(array)).all()


@given(st.lists(st.lists(st.tuples(texts, st.integers(1, 400), st.lists(images, max_size=4)), min_size=1), max_size=3))
def test_the_cutoff_is_that_of_the_longest_row_though_not_all_are_counted(tables: list[list[Any]]) -> None:
    writer = SftWriter(SimpleNamespace())  # type: ignore[arg-type]  # nothing is written
    longest = 0
    for rows in tables:
        samples = [conversation(text * times, "Yes.", images=images) for text, times, images in rows]
        writer._note_longest(flatten_turns(to_table(samples)))
        for sample in samples:
            pictures = sum(image_tokens(image.width, image.height) for image in sample.images)
            said = ["".join(defuse_text(p) if isinstance(p, str) else "<image>" for p in t.parts) for t in sample.turns]
            longest = max(longest, pictures + sum(text_tokens(text) + _TURN_MARKUP for text in said))
    assert _cutoff(writer._longest) == _cutoff(longest)


def test_the_next_item_is_worked_on_before_the_last_one_is_done_with() -> None:
    begun = [threading.Event() for _ in range(3)]

    def work(number: int) -> int:
        begun[number].set()
        return number

    with ThreadPoolExecutor(1) as pool:
        for number in ahead(pool, work, range(3)):
            assert begun[min(number + 1, 2)].wait(10)


def test_what_fails_behind_is_raised_by_the_next_call_and_nothing_runs_after_it() -> None:
    done: list[int] = []

    def fail() -> None:
        raise OSError(28, "No space left on device")

    with Behind() as writing:
        writing.run(lambda: done.append(1))
        writing.run(fail)
        with pytest.raises(OSError, match="No space"):
            writing.run(lambda: done.append(2))
    assert done == [1]
