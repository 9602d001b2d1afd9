"""Damaged files of many records: JSON arrays, CSV, Parquet, compressed ones, saved datasets."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from faults.mutate_bytes import damage
from faults.mutate_pictures import picture
from faults.mutate_records import line, originals, record, whole_line


def container(chance: random.Random) -> tuple[dict[str, bytes], int | None]:
    """Files, and the rows in them where these are known."""
    return chance.choice((_array, _csv, _csv, _parquet, _parquet, _parquet, _compressed, _compressed, _saved))(chance)


def _array(chance: random.Random) -> tuple[dict[str, bytes], int | None]:
    records = [json.loads(whole_line(chance)), record(chance), record(chance)]
    indent = chance.choice((None, 2))
    data = json.dumps(records, indent=indent).encode(errors="surrogatepass")
    return {"r.json": damage(chance, data) if chance.random() < 0.5 else data}, None


def _csv(chance: random.Random) -> tuple[dict[str, bytes], int | None]:
    records = [one for one in (record(chance) for _ in range(3)) if isinstance(one, dict)] or [{"text": "a"}]
    names = list(dict.fromkeys(name for one in records for name in one))
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator=chance.choice(("\n", "\r\n", "\r")))
    writer.writerow(names)
    for one in records:
        values = [one.get(name) for name in names]
        writer.writerow([v if isinstance(v, str) else "" if v is None else json.dumps(v) for v in values])
    data = file.getvalue().encode(errors="surrogatepass")
    return {"r.csv": damage(chance, data) if chance.random() < 0.6 else data}, None


def _table(chance: random.Random) -> pa.Table:
    """A table whose columns have types that records do not usually have."""
    rows = 3
    fields = [one for one in (json.loads(chance.choice(originals())) for _ in range(rows)) if isinstance(one, dict)]
    columns: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in fields for name in one):
        values = [one.get(name) for one in fields]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[name] = pa.array([None if value is None else json.dumps(value) for value in values])
    for _ in range(chance.choice((0, 1, 2))):
        columns[chance.choice([*columns, "extra", "image", "text"])] = _odd_column(chance, rows)
    return pa.table(columns)


def _odd_column(chance: random.Random, rows: int) -> pa.Array:
    _, data = picture(chance, whole=chance.random() < 0.5)
    cells = [
        {"bytes": data, "path": chance.choice((None, "a.png", "/etc/passwd"))},
        None,
        {"bytes": None, "path": None},
    ]
    return chance.choice(
        (
            lambda: pa.array(cells),
            lambda: pa.array([[cell] for cell in cells]),
            lambda: pa.array([data, b"", None]),
            lambda: pa.array([10**15, 0, None], pa.timestamp(chance.choice(("s", "us", "ns")))),
            lambda: pa.array([2**62, -(2**62), None], pa.timestamp(chance.choice(("ms", "us")))),
            lambda: pa.array([1, 2, None], pa.duration("ns")),
            lambda: pa.array([1, 2, None], pa.date32()),
            lambda: pa.array([2**31 - 1, -(2**31), None], pa.date32()),
            lambda: pa.array([float("nan"), float("inf"), None]),
            lambda: pa.array([1, 2**64 - 1, None], pa.uint64()),
            lambda: pa.array(["1.5", "2", None]).cast(pa.decimal128(20, 4)),
            lambda: pa.array(["a", "b", None]).dictionary_encode(),
            lambda: pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
            lambda: pa.array([[("a", 1), ("a", 2)], [], None], pa.map_(pa.string(), pa.int64())),
            lambda: pa.nulls(rows),
            lambda: pa.array([True, False, None]),
        )
    )()


def _parquet(chance: random.Random) -> tuple[dict[str, bytes], int | None]:
    table = _table(chance)
    file = io.BytesIO()
    pq.write_table(table, file, compression=chance.choice(("none", "zstd", "snappy")))
    data = file.getvalue()
    if chance.random() < 0.5:
        return {"r.parquet": data}, table.num_rows
    return {"r.parquet": damage(chance, data)}, None


def _compressed(chance: random.Random) -> tuple[dict[str, bytes], int | None]:
    lines = b"\n".join([whole_line(chance), line(chance), line(chance)]) + b"\n"
    if chance.random() < 0.1:
        lines = b" " * (1 << 24) + lines  # expands a thousandfold
    gz = chance.random() < 0.5
    data = gzip.compress(lines, mtime=0) if gz else pa.compress(lines, codec="zstd", asbytes=True)
    ending = "gz" if gz else "zst"
    if chance.random() < 0.3:
        return {f"r.jsonl.{ending}": data}, None
    return {f"{chance.choice(('r.jsonl', 'r.csv', 'r.json'))}.{ending}": damage(chance, data)}, None


def _saved(chance: random.Random) -> tuple[dict[str, bytes], int | None]:
    """What ``datasets.Dataset.save_to_disk`` leaves."""
    table = _table(chance)
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    named = chance.choice(("data.arrow", "data.arrow", "../pictures/retina.jpg", "/etc/passwd", "", "a\0", 7, None))
    state = json.dumps(chance.choice(({"_data_files": [{"filename": named}]}, {"_data_files": named}, [named], named)))
    files = {"data.arrow": file.getvalue(), "state.json": state.encode(), "dataset_info.json": b"{}"}
    if chance.random() < 0.6:
        files["data.arrow"] = damage(chance, files["data.arrow"])
    return files, None
