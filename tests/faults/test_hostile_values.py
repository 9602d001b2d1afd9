"""What the mutants found, each by itself; and whatever JSON a line may hold, made by hypothesis."""

import contextlib
import io
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.cli import curate
from support.ingesting import ingest, only_reason, write_lines
from support.pictures import distinct

from curate.cli.main import main


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "a.png").write_bytes(distinct(1))
    return folder


VALUES: dict[str, pa.Array] = {
    "a date after the year 9999": pa.array([2**31 - 1, 0], pa.date32()),
    "a time after the year 9999": pa.array([2**62, 0], pa.timestamp("us")),
    "nanoseconds of a duration": pa.array([1, 0], pa.duration("ns")),
    "a string that is not UTF-8": pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\x02\0\0\0\x03\0\0\0"), pa.py_buffer(b"\xff\xfea")]
    ),
}


@pytest.mark.parametrize("column", VALUES.values(), ids=VALUES.keys())
def test_a_value_that_cannot_be_read_costs_its_row_alone(raw: Path, column: pa.Array) -> None:
    table = pa.table({"image": ["a.png", "a.png"], "text": ["one", "two"], "when": column})
    pq.write_table(table, raw / "r.parquet")
    _, samples, rejects = ingest(raw)
    assert [next(sample.texts()) for sample in samples] == ["two"]
    assert (only_reason(rejects), rejects[0]["row"]) == ("unreadable_value", 1)
    assert "'when'" in rejects[0]["message"]
    ran = curate("validate", raw, "--report", "json")
    assert [(p["row"], p["code"]) for p in ran.json()["problems"]] == [(1, "unreadable_value")]


@pytest.mark.parametrize(
    ("name", "content", "row", "reason"),
    [
        ("r.csv", b"imag\xff,text\na.png,x\n", 0, "not_utf8"),
        ("r.csv", b"image,text\n", 0, "empty_file"),
        ("r.json", b"[]", 0, "empty_file"),
        ("r.jsonl", b" " * 5000 + b"\n", 0, "empty_file"),
        ("r.jsonl", b'{"image": "a.png", "text": "\\ud800", "n": 1234567890123456789}\n', 1, "invalid_json"),
        ("r.jsonl", b'{"image": "a.png", "text": "\xed\xa0\x80", "n": 1234567890123456789}\n', 1, "not_utf8"),
    ],
)
def test_what_holds_no_readable_row_is_a_reject(raw: Path, name: str, content: bytes, row: int, reason: str) -> None:
    (raw / name).write_bytes(content)
    _, samples, rejects = ingest(raw)
    assert samples == []
    found = [(reject["row"], reject["reason"]) for reject in rejects if reject["file"] == name]
    assert found == [(row, reason)]


def test_an_empty_table_is_a_reject(raw: Path) -> None:
    pq.write_table(pa.table({"image": pa.array([], pa.string())}), raw / "r.parquet")
    _, _, rejects = ingest(raw)
    assert [reject["reason"] for reject in rejects if reject["file"] == "r.parquet"] == ["empty_file"]


def test_a_decimal_in_the_place_of_a_picture_is_kept_or_rejected_alike(raw: Path) -> None:
    fields = {
        "query": ["q"],
        "answer": ["a"],
        "query_type": ["exact"],
        "image": pa.array(["1.5"]).cast(pa.decimal128(9, 2)),
    }
    pq.write_table(pa.table(fields), raw / "r.parquet")
    _, samples, _ = ingest(raw)
    assert samples[0].meta == {"image": "1.50"}
    assert curate("validate", raw).status == 0


@pytest.mark.parametrize(("letter", "reason"), [("", "empty"), (" ", "empty"), ("B", None)])
def test_options_of_verl_rows_need_letters(raw: Path, tmp_path: Path, letter: str, reason: str | None) -> None:
    row = {
        "data_source": "s",
        "prompt": [{"role": "user", "content": "Which?"}],
        "reward_model": {"style": "rule", "ground_truth": "A"},
        "extra_info": {"query_type": "exact", "choices": {"A": "one", letter: "two", "C": "", "D": None}},
    }
    write_lines(raw / "r.jsonl", row)
    _, samples, rejects = ingest(raw)
    if reason:
        assert [reject["reason"] for reject in rejects if reject["row"]] == [reason]
        return
    assert samples[0].choices == (("A", "one"), ("B", "two"))
    assert curate("score", tmp_path / "curated").status == 0
    assert curate("export", tmp_path / "curated", "--format", "jsonl", "-o", tmp_path / "out").status == 0
    assert curate("validate", tmp_path / "out").status == 0


NAMES = st.sampled_from(
    (
        *("image", "images", "text", "texts", "image_info", "conversations", "query", "answer", "query_type"),
        *("choices", "prompt", "reward_model", "extra_info", "data_source", "kind", "turns", "meta", "source"),
        *("license", "id", "role", "parts", "from", "value", "content", "path", "bytes", "system", "messages"),
    )
) | st.text(max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["a.png", "<image>", "human", "gpt", "user", "document", "query", "image_caption", "choice", "A"])
)
VALUES_OF_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
RECORDS = st.one_of(
    VALUES_OF_JSON,
    st.fixed_dictionaries({"image": VALUES_OF_JSON, "text": VALUES_OF_JSON}),
    st.fixed_dictionaries({"texts": st.lists(SCALARS), "image_info": st.lists(VALUES_OF_JSON)}),
    st.fixed_dictionaries(
        {"query": SCALARS, "answer": VALUES_OF_JSON, "query_type": SCALARS, "choices": VALUES_OF_JSON}
    ),
    st.fixed_dictionaries(
        {
            "conversations": st.lists(
                st.fixed_dictionaries({"from": st.sampled_from(["human", "gpt", "system", ""]), "value": SCALARS})
            )
        }
    ),
    st.fixed_dictionaries({"kind": SCALARS, "turns": VALUES_OF_JSON, "images": VALUES_OF_JSON}),
    st.fixed_dictionaries(
        {"data_source": SCALARS, "prompt": VALUES_OF_JSON, "reward_model": VALUES_OF_JSON, "extra_info": VALUES_OF_JSON}
    ),
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(RECORDS, min_size=1, max_size=20))
def test_whatever_json_lines_hold_rows_add_up(records: list[Any]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="lines-"))
    try:
        raw = folder / "raw"
        raw.mkdir()
        (raw / "a.png").write_bytes(distinct(1))
        first = {"image": "a.png", "text": "The first row settles that these are lines."}
        lines = [json.dumps(record).encode(errors="replace") for record in (first, *records)]
        (raw / "r.jsonl").write_bytes(b"\n".join(lines))
        counts = json.loads(in_process("ingest", raw, "-o", folder / "c", "--json"))
        assert counts["rows"] == len(lines)
        assert counts["rows"] == counts["samples"] + counts["duplicates"] + sum(counts["rejects"].values())
        report = json.loads(in_process("validate", raw, "--report", "json", "--limit", "10000"))
        assert report["rows"] == len(lines)
        rows_with_errors = {problem["row"] for problem in report["problems"] if problem["severity"] == "error"}
        assert len(rows_with_errors) >= sum(counts["rejects"].values())
    finally:
        shutil.rmtree(folder)


def in_process(*arguments: str | Path) -> str:
    """What a command prints; here, since starting one would take longer than its work. A traceback is a failure."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["curate", *map(str, arguments)]),
        contextlib.redirect_stdout(io.TextIOWrapper(raw := io.BytesIO(), "utf-8", write_through=True)),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    assert end.value.code in (0, 1), err.getvalue()
    assert "Traceback" not in err.getvalue(), err.getvalue()
    assert out.getvalue() == ""
    return raw.getvalue().decode()
