"""The fast way over JSON lines finds exactly what the careful way finds; nothing in a line brings it down."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sources.validating import findings

from curate.schemas import FORMATS
from curate.sources.validate import Report, ValidateOptions, validate

ONE_FOLDER = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
"""All examples of a test write over the same files."""

IMAGES = ["0.png", "1.png", "none.png"]
names = st.sampled_from(
    [name for model in FORMATS.values() for name in model.model_fields]
    + ["from", "value", "role", "content", "n", "a b"]
)
words = st.sampled_from(
    [*IMAGES, "", " ", "<image>", "human", "gpt", "user", "assistant", "A", '":', '"', "é\u2028", "\x1b[31m"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.floats() | words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
turns = st.lists(
    st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt"]), "value": words}, optional={"n": values})
)
likely = st.one_of(
    st.fixed_dictionaries({"image": words | st.lists(words), "text": words}, optional={"n": values, "query": values}),
    st.fixed_dictionaries({"conversations": turns}, optional={"image": words | st.lists(words), "kind": values}),
    st.fixed_dictionaries(
        {"query": words, "answer": values, "query_type": words}, optional={"images": st.lists(words), "choices": values}
    ),
    st.fixed_dictionaries({"texts": st.lists(words | st.none()), "image_info": st.lists(values)}),
    st.fixed_dictionaries({"kind": words, "turns": values}, optional={"images": st.lists(words), "meta": values}),
    st.fixed_dictionaries({"messages": values, "images": st.lists(words)}, optional={"system": values}),
    st.fixed_dictionaries({"prompt": values, "reward_model": values, "extra_info": values, "images": values}),
)
objects = st.dictionaries(names, values, max_size=5) | likely
texts = objects.map(lambda value: json.dumps(value, ensure_ascii=False)) | objects.map(json.dumps)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A line with some bytes taken out, doubled or replaced."""
    line = draw(texts).encode(errors="surrogatepass")
    start, length = draw(st.integers(0, len(line))), draw(st.integers(0, 8))
    return line[:start] + draw(st.binary(max_size=4) | st.just(line[start : start + length])) + line[start + length :]


lines = (texts.map(lambda text: text.encode(errors="surrogatepass")) | damaged()).map(
    lambda line: line.replace(b"\n", b" ").replace(b"\r", b" ")
)


def assert_both_ways_agree(folder: Path, rows: list[bytes]) -> Report:
    """Lines of a plain file may be validated as JSON in one step; compressed ones are parsed one by one."""
    # A first line that is sound makes the file one of JSON lines, whatever follows.
    content = b"\n".join([b'{"image": "0.png", "text": "First."}', *rows])
    plain, packed = folder / "rows.jsonl", folder / "packed.jsonl.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content, 1))
    options = ValidateOptions(limit=10_000)
    fast, careful = validate([plain], options), validate([packed], options)
    assert findings(fast) == findings(careful)
    assert (fast.rows, fast.errors, fast.warnings, fast.by_code) == (
        careful.rows,
        careful.errors,
        careful.warnings,
        careful.by_code,
    )
    return fast


@given(st.lists(lines, max_size=6).map(lambda rows: rows * 3))
@settings(ONE_FOLDER, max_examples=300)
def test_the_fast_and_the_careful_way_agree(folder: Path, rows: list[bytes]) -> None:
    assert_both_ways_agree(folder, rows)


ROW = '"image": "0.png", "text": "x"'


@pytest.mark.parametrize(
    ("tail", "code"),
    [
        ('"text": "y"', "duplicate_key"),
        ('"n": 1, "n" : 1', "duplicate_key"),
        ('"n": NaN', "not_a_number"),
        ('"n": -Infinity', "not_a_number"),
        ('"n": 1e999', "invalid_json"),
        ('"n": 1' + "0" * 400, "integer_too_long"),
        ('"n": 123456789012345678901', "integer_too_long"),
        ('"n": [NaN]', "not_a_number"),
        ('"n": {"m": 1, "m": 1}', "duplicate_key"),
        ('"n": "\\ud800"', "invalid_json"),
        ('"n": "a\tb"', "invalid_json"),
        ('"n": 01', "invalid_json"),
        ('"n": 1, "text": ""', "duplicate_key"),
        ('"n": 1, "n": "\\u0022\\u0022"', "duplicate_key"),
    ],
)
def test_what_pydantic_alone_would_let_pass(folder: Path, tail: str, code: str) -> None:
    """After rows of the same shape, so that the fast way is taken."""
    earlier = [f'{{{ROW}, "n": {value}}}'.encode() for value in ("1", "1.5", "[1.5]", '{"m": 1}', '"s"', "null")]
    report = assert_both_ways_agree(folder, [*earlier, *earlier, f"{{{ROW}, {tail}}}".encode()])
    assert [(f.row, f.code) for f in report.findings() if f.code != "mixed_types"] == [(14, code)]


@pytest.mark.parametrize(
    "line",
    [
        '{"image": "0.png", "text": "says \\"image\\": \\"x\\""}',
        '{"image" : "0.png" , "text"\t:"x"}',
        '{"image": "0.png", "text": "x", "n": "\\u0022:"}',
        '{"image": "0.png", "text": "x", "n": 1234567890123456789}',
        '{"image": "0.png", "text": "x", "n": ' + "[" * 250 + "]" * 250 + "}",
    ],
)
def test_look_alikes_pass(folder: Path, line: str) -> None:
    report = assert_both_ways_agree(folder, [line.encode()] * 3)
    assert (report.rows, report.errors) == (4, 0)


@pytest.mark.parametrize("depth", [900, 1010])
@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_values_nested_deeper_than_the_stack(folder: Path, brackets: str, depth: int) -> None:
    begin, end = brackets
    value = (begin if begin == "[" else '{"a":') * depth + "1" + end * depth
    for row in ('{"image": "0.png", "text": "x"}', VERL):
        deep = f'{row[:-1]}, "n": {value}}}'
        lines, array = folder / "rows.jsonl", folder / "rows.json"
        lines.write_text("\n".join([row, deep, row, deep]))
        found = validate([lines], ValidateOptions()).findings()
        assert [(f.row, f.code) for f in found] == [(2, "too_deep"), (4, "too_deep")]
        for rows in ([row, deep], [deep, row]):
            array.write_text(f"[{','.join(rows)}]")
            report = validate([array], ValidateOptions())
            assert set(report.by_code) <= {"too_deep"}


def test_a_row_of_another_format_among_rows_of_one_shape_is_recognised(folder: Path) -> None:
    caption = {"image": "0.png", "text": "x"}
    turned = caption | {"conversations": [{"from": "gpt", "value": "x"}]}
    rows = [json.dumps(row).encode() for row in [*[caption] * 5, turned, *[caption] * 5]]
    assert {(f.row, f.code) for f in assert_both_ways_agree(folder, rows).findings()} == {(7, "too_short")}


VERL = (
    '{"data_source": "d", "prompt": [{"role": "user", "content": "x"}], "reward_model": {"ground_truth": "A"},'
    ' "extra_info": {"query_type": "exact"}}'
)


def test_a_string_is_no_picture_in_a_verl_row_however_many_sound_rows_came_before(folder: Path) -> None:
    row = {
        "data_source": "d",
        "prompt": [{"role": "user", "content": "<image>Which?"}],
        "images": [{"image": "0.png"}],
        "reward_model": {"ground_truth": "A"},
        "extra_info": {"query_type": "exact"},
    }
    rows = [json.dumps(line).encode() for line in [*[row] * 5, row | {"images": [{"bytes": "text"}]}]]
    found = assert_both_ways_agree(folder, rows).findings()
    assert [(f.row, f.field, f.code) for f in found if f.row > 2] == [(7, "images.0.bytes", "wrong_type")]


LLAMAFACTORY = (
    '{"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "a"}], "images": [], "n": 0}'
)


@pytest.mark.parametrize(
    ("row", "place", "first", "second", "column"),
    [
        (VERL, '"ground_truth": "A"', '"ground_truth": "A"', '"ground_truth": ["A"]', "reward_model.ground_truth"),
        (VERL, '"ground_truth"', '"n": 1, "ground_truth"', '"n": "1", "ground_truth"', "reward_model.n"),
        (VERL, '"query', '"n": [[1], []], "query', '"n": [["1"], []], "query', "extra_info.n.[].[]"),
        (VERL, '"query', '"n": {"m": [1]}, "query', '"n": {"m": ["1"]}, "query', "extra_info.n.m.[]"),
        (VERL, '"content"', '"name": 1, "content"', '"name": "1", "content"', "prompt.[].name"),
        (VERL, '"prompt"', '"n": {"m": [1]}, "prompt"', '"n": {"m": ["1"]}, "prompt"', "n.m.[]"),
        (LLAMAFACTORY, '"n": 0', '"n": {"m": [0]}', '"n": {"m": ["0"]}', "n.m.[]"),
        (LLAMAFACTORY, '"content": "?"', '"content": "?", "m": 1', '"content": "?", "m": "1"', "messages.[].m"),
    ],
)
def test_nested_types_that_trainers_cannot_load(
    folder: Path, row: str, place: str, first: str, second: str, column: str
) -> None:
    rows = [row.replace(place, first)] * 5 + [row.replace(place, second)] * 5
    (folder / "rows.jsonl").write_text("\n".join(rows))
    found = validate([folder / "rows.jsonl"], ValidateOptions()).findings()
    assert [(f.row, f.field, f.code) for f in found] == [(6, column, "mixed_types")]


def test_pictures_of_verl_as_paths_and_as_cells(folder: Path) -> None:
    pictured = VERL.replace('"x"', '"<image>"')[:-1] + ', "images": [%s]}'
    rows = [pictured % '"0.png"'] * 5 + [pictured % '{"image": "0.png"}'] * 5
    (folder / "rows.jsonl").write_text("\n".join(rows))
    found = validate([folder / "rows.jsonl"], ValidateOptions()).findings()
    assert [(f.row, f.field) for f in found if f.code == "mixed_types"] == [(6, "images.[]")]


@given(
    content=st.binary(max_size=200) | st.lists(lines, max_size=4).map(b"\n".join),
    name=st.sampled_from(["jsonl", "json", "csv"]),
)
@settings(ONE_FOLDER, max_examples=200)
@example(content=b"\xef\xbb\xbf", name="jsonl")
@example(content=b'{"image": "0.png", "text": "x"}\n[', name="jsonl")
def test_no_bytes_bring_it_down(folder: Path, content: bytes, name: str) -> None:
    path = folder / f"rows.{name}"
    path.write_bytes(content)
    report = validate([path], ValidateOptions())
    assert report.rows or report.errors
    for finding in report.findings():
        json.dumps(finding, ensure_ascii=False).encode()
