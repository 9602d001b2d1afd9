"""Samples as typed Arrow tables, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import orjson
import pyarrow as pa

from curate.corpus.sample import Image, Origin, Sample, Turn

_IMAGE = pa.struct(
    [
        ("sha256", pa.string()),
        ("format", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("size", pa.int64()),
        ("stored", pa.bool_()),
        ("root", pa.int16()),
        ("path", pa.string()),
        ("mtime_ns", pa.int64()),
        ("name", pa.string()),
    ]
)
_PART = pa.struct([("text", pa.string()), ("image", pa.int32())])
_TURN = pa.struct([("role", pa.string()), ("parts", pa.list_(_PART))])
_CHOICE = pa.struct([("label", pa.string()), ("text", pa.string())])

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("source", pa.string()),
        ("license", pa.string()),
        ("images", pa.list_(_IMAGE)),
        ("turns", pa.list_(_TURN)),
        ("answer", pa.list_(pa.string())),
        ("query_type", pa.string()),
        ("choices", pa.list_(_CHOICE)),
        ("privacy", pa.string()),
        ("meta", pa.string()),
        ("wire", pa.string()),
        ("file", pa.string()),
        ("row", pa.int64()),
    ]
)
"""Columns of ``samples/part-*.parquet``. ``meta`` and ``wire`` are JSON: their fields differ from row to row."""


def to_table(samples: Sequence[Sample]) -> pa.Table:
    """Samples as one Arrow table with :data:`SCHEMA`."""
    # Nested columns are built from their flat values: Arrow takes ten times as long over lists of dictionaries.
    turns = [turn for sample in samples for turn in sample.turns]
    parts = [part for turn in turns for part in turn.parts]
    images = [image for sample in samples for image in sample.images]
    choices = [choice for sample in samples for choice in sample.choices]
    flat_parts = _structs(
        _PART,
        [part if isinstance(part, str) else None for part in parts],
        [None if isinstance(part, str) else part for part in parts],
    )
    flat_turns = pa.StructArray.from_arrays(
        [
            pa.array([turn.role for turn in turns], pa.string()),
            _lists([turn.parts for turn in turns], flat_parts),
        ],
        fields=list(_TURN),
    )
    flat_images = _structs(_IMAGE, *([getattr(image, name) for image in images] for name in Image.__slots__))
    columns: dict[str, list[Any] | pa.Array] = {
        "id": [s.id for s in samples],
        "kind": [s.kind for s in samples],
        "source": [s.source for s in samples],
        "license": [s.license for s in samples],
        "images": _lists([s.images for s in samples], flat_images),
        "turns": _lists([s.turns for s in samples], flat_turns),
        "answer": [s.answer for s in samples],
        "query_type": [s.query_type for s in samples],
        "choices": _lists(
            [s.choices for s in samples], _structs(_CHOICE, [c[0] for c in choices], [c[1] for c in choices])
        ),
        "privacy": [s.privacy for s in samples],
        "meta": [orjson.dumps(s.meta).decode() for s in samples],
        "wire": [orjson.dumps(s.wire).decode() for s in samples],
        "file": [s.origin.file for s in samples],
        "row": [s.origin.row for s in samples],
    }
    return pa.table(columns, schema=SCHEMA)


def _structs(kind: pa.StructType, *columns: list[Any]) -> pa.StructArray:
    arrays = [pa.array(values, field.type) for values, field in zip(columns, kind, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=list(kind))


def _lists(rows: Sequence[Sequence[Any]], values: pa.Array) -> pa.ListArray:
    """``values`` cut into lists as long as ``rows``."""
    offsets = pa.array(accumulate(map(len, rows), initial=0), pa.int32())
    return pa.ListArray.from_arrays(offsets, values)


def from_table(table: pa.Table) -> Iterator[Sample]:
    """The samples of an Arrow table with :data:`SCHEMA`, in order."""
    for batch in table.to_batches(max_chunksize=1024):
        for row in batch.to_pylist():
            yield Sample(
                kind=row["kind"],
                source=row["source"],
                license=row["license"],
                images=tuple(Image(**image) for image in row["images"]),
                turns=tuple(
                    Turn(t["role"], tuple(p["image"] if p["text"] is None else p["text"] for p in t["parts"]))
                    for t in row["turns"]
                ),
                origin=Origin(row["file"], row["row"]),
                answer=tuple(row["answer"]),
                query_type=row["query_type"],
                choices=tuple((choice["label"], choice["text"]) for choice in row["choices"]),
                privacy=row["privacy"],
                meta=orjson.loads(row["meta"]),
                wire=orjson.loads(row["wire"]),
                id=row["id"],
            )
