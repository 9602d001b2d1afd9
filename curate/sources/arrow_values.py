"""Arrow values as wire values: the cells of Parquet files and saved datasets."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa

from curate.sources.images import sniff
from curate.sources.rejects import one_line

_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
"""Last bytes of a saved dataset's data file: Arrow's IPC format, "end-of-stream marker"."""


def arrow_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of a saved dataset's data file. Raises ArrowInvalid for one that is damaged or cut off."""
    # Not mapped into memory: a file that is cut short meanwhile would end the process with a bus error.
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as stream:
        yield from stream
    with path.open("rb") as file:
        # Arrow takes the end of the file for the end of the data; only a whole stream says so itself.
        file.seek(-min(len(_END_OF_STREAM), path.stat().st_size), os.SEEK_END)
        if file.read() != _END_OF_STREAM:
            raise pa.ArrowInvalid(f"{path.name} is cut off: rows after these are missing")


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any] | str]:
    """Each row of a batch, or a sentence about the column whose value Python cannot hold: a date in the year 300000,
    a string that is not UTF-8."""
    try:
        rows: list[dict[str, Any] | str] = batch.to_pylist()
    except (ValueError, OverflowError, KeyError) as error:
        if len(batch) > 1:
            return [rows_of(batch.slice(row, 1))[0] for row in range(len(batch))]
        return [f"the column {_unreadable_column(batch)!r} holds a value that cannot be read: {one_line(error)}"]
    return rows


def _unreadable_column(batch: pa.RecordBatch) -> str:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.to_pylist()
        except (ValueError, OverflowError, KeyError):
            return str(name)
    return ""


def wire_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Arrow values as wire values: pictures as data URIs or paths (verl keeps its own cells), dates as text."""
    verl = "reward_model" in fields
    return {
        key: value
        if verl and key == "images"
        else _picture(value)
        if key in ("image", "images")
        else _json_value(value)
        for key, value in fields.items()
    }


def _picture(value: Any) -> Any:
    """The cells of Hugging Face's ``Image`` feature, ``{bytes, path}``, or raw bytes, as references."""
    if isinstance(value, list):
        return [_picture(item) for item in value]
    if isinstance(value, dict) and value.keys() <= {"bytes", "path"}:
        return _picture(value["bytes"]) if value.get("bytes") else value.get("path")
    if isinstance(value, bytes):
        return f"data:image/{sniff(value[:16]) or 'unknown'};base64,{base64.b64encode(value).decode()}"
    return _json_value(value)


def _json_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_json_value(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    return str(value) if isinstance(value, (Decimal, UUID, timedelta)) else value
