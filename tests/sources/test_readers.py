import gzip
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.sources import readers
from curate.sources.readers import BadRow, Row, read_rows


def rows_of(tmp_path: Path, name: str, content: bytes) -> list[Row | BadRow]:
    path = tmp_path / name
    path.write_bytes(content)
    return list(read_rows(path))


def reasons(rows: list[Row | BadRow]) -> list[tuple[int, str]]:
    return [(row.number, row.reason) for row in rows if isinstance(row, BadRow)]


def fields(rows: list[Row | BadRow]) -> list[dict[str, object]]:
    return [row.fields for row in rows if isinstance(row, Row)]


def test_json_lines_with_bom_crlf_and_blank_lines(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"a":1}\r\n\r\n{"a":"\xc3\xa9"}\r\n')
    assert rows == [Row(1, {"a": 1}), Row(3, {"a": "é"})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a":NaN}', "not_a_number"),
        (b'{"a": -Infinity}', "not_a_number"),
        (b'{"a":1,"a":2}', "duplicate_key"),
        (b'{"a":{"b":1,"c":[{"d":1,"d":1}]}}', "duplicate_key"),
        (b'{"a" : 1, "b":":", "a" :2}', "duplicate_key"),
        (b'{"a":"\xff"}', "not_utf8"),
        (b'{"a":"\\ud800"}', "invalid_json"),
        (b"[1, 2]", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"a":1', "invalid_json"),
        (b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", "too_deep"),
        (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", "invalid_json"),
    ],
)
def test_one_broken_line_costs_one_row(tmp_path: Path, line: bytes, reason: str) -> None:
    rows = rows_of(tmp_path, "a.jsonl", b'{"before":1}\n' + line + b'\n{"after":1}\n')
    assert fields(rows) == [{"before": 1}, {"after": 1}]
    assert reasons(rows) == [(2, reason)]


@pytest.mark.parametrize("line", [b'{"a":"says \\":\\" here"}', b'{"a" : "b\\":1"}', b'{"x":{"a":1},"y":{"a":1}}'])
def test_look_alikes_are_no_duplicate_keys(tmp_path: Path, line: bytes) -> None:
    assert reasons(rows_of(tmp_path, "a.jsonl", line)) == []


def test_a_line_over_the_limit_is_skipped_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_ROW_BYTES", 1000)
    rows = rows_of(tmp_path, "a.jsonl", b'{"a":"' + b"x" * 5000 + b'"}\n{"a":1}\n')
    assert reasons(rows) == [(1, "line_too_long")]
    assert fields(rows) == [{"a": 1}]


def test_a_json_array_streams_until_it_breaks(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "a.json", b'[{"a":1},{"a":2,"a":3},7,{"a":1.5},{"a":')
    assert fields(rows) == [{"a": 1}, {"a": 1.5}]
    assert reasons(rows) == [(2, "duplicate_key"), (3, "not_an_object"), (5, "invalid_json")]


@pytest.mark.parametrize(
    "text", ['{\n  "a": 1,\n  "b": [{"c": 2}]\n}\n', '{"a": 1,\n "b": [{"c": 2}]}', '{"a":1,"b":[{"c":2}]}']
)
def test_a_single_object_however_laid_out(tmp_path: Path, text: str) -> None:
    assert fields(rows_of(tmp_path, "a.json", text.encode())) == [{"a": 1, "b": [{"c": 2}]}]


def test_json_lines_under_the_name_json_and_arrays_under_jsonl(tmp_path: Path) -> None:
    assert len(fields(rows_of(tmp_path, "a.json", b'{"a":1}\n{"a":2}\n'))) == 2
    assert len(fields(rows_of(tmp_path, "a.jsonl", b'[{"a":1},{"a":2}]'))) == 2


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", b"", "empty_file"),
        ("a.json", b" \n ", "empty_file"),
        ("a.jsonl", '{"a":1}'.encode("utf-16"), "not_utf8"),
        ("a.parquet", b"PAR1 not really", "unreadable_file"),
        ("a.jsonl.gz", b"not gzip at all", "unreadable_file"),
        ("a.csv", b"a,a\n1,2\n", "duplicate_key"),
    ],
)
def test_files_that_are_not_what_they_say(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    assert reasons(rows_of(tmp_path, name, content)) == [(0, reason)]


def test_compressed_files(tmp_path: Path) -> None:
    lines = b"".join(b'{"a":%d}\n' % number for number in range(2000))
    several_members = gzip.compress(lines[: len(lines) // 2]) + gzip.compress(lines[len(lines) // 2 :])
    assert len(fields(rows_of(tmp_path, "a.jsonl.gz", several_members))) == 2000
    with pa.OSFile(str(tmp_path / "b.jsonl.zst"), "wb") as raw, pa.CompressedOutputStream(raw, "zstd") as file:
        file.write(lines)
    assert len(fields(list(read_rows(tmp_path / "b.jsonl.zst")))) == 2000


def test_a_cut_off_gzip_keeps_the_rows_before_the_cut_and_says_so(tmp_path: Path) -> None:
    lines = b"".join(json.dumps({"a": str(number) * 50}).encode() + b"\n" for number in range(100_000))
    rows = rows_of(tmp_path, "a.jsonl.gz", gzip.compress(lines)[:-5000])
    assert 0 < len(fields(rows)) < 100_000
    assert reasons(rows)[-1] == (0, "unreadable_file")


def test_csv_cells_and_broken_rows(tmp_path: Path) -> None:
    content = 'image,text,choices\na.png,"two\nlines, é","[""x"", ""y""]"\nb.png\nc.png,\udcff,\nd.png,ok,\n'
    rows = rows_of(tmp_path, "a.csv", content.encode(errors="surrogateescape"))
    assert fields(rows) == [
        {"image": "a.png", "text": "two\nlines, é", "choices": ["x", "y"]},
        {"image": "d.png", "text": "ok"},
    ]
    assert reasons(rows) == [(2, "column_count"), (3, "not_utf8")]


def test_parquet_with_pictures_dates_and_nulls(tmp_path: Path) -> None:
    table = pa.table(
        {
            "image": [{"bytes": b"\x89PNG\r\n\x1a\nrest", "path": "x.png"}, {"bytes": None, "path": "y.png"}],
            "text": ["one", "two"],
            "taken": pa.array([0, None], pa.timestamp("s")),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    first, second = fields(list(read_rows(tmp_path / "a.parquet")))
    assert str(first["image"]).startswith("data:image/png;base64,")
    assert first["taken"] == "1970-01-01T00:00:00"
    assert second == {"image": "y.png", "text": "two"}


PEAK_AFTER_READING = r"""
import sys
from pathlib import Path
from curate.sources.readers import read_rows
from support.memory import peak_mib
print(sum(1 for _ in read_rows(Path(sys.argv[1]))), peak_mib())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows.csv", "rows.jsonl.gz"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    """A JSON array, JSON lines and CSV are streamed: 80 MB more of rows cost no more memory."""
    peaks = []
    for megabytes in (40, 120):
        row = json.dumps({"image": "a.png", "text": "word " * 200})
        count = megabytes * 2**20 // len(row)
        if name == "rows.json":
            content = ("[" + ",".join([row] * count) + "]").encode()
        elif name == "rows.csv":
            content = ("image,text\n" + f"a.png,{'word ' * 200}\n" * count).encode()
        else:
            content = (row + "\n").encode() * count
        path = tmp_path / name
        path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
        done = subprocess.run(
            [sys.executable, "-c", PEAK_AFTER_READING, str(path)],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        rows, peak = map(int, done.stdout.split())
        assert rows == count
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 40
