"""JSON Lines exports: image-caption and interleaved records, and whole samples."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import IO, Any, ClassVar, Final

import orjson
import pyarrow as pa

from curate.corpus import SCHEMA, Sample, from_table
from curate.exports.job import ExportedFile, Job, Split, batches_by_picture_size
from curate.exports.pictures import data_uri, relative_path
from curate.exports.records import PlaceImage, to_record
from curate.exports.turns import DOCUMENT, Flags, flat_images, flatten_turns, speaks

RECORD_FORMATS: Final = {"image-caption": "image-caption", "interleaved": "interleaved", "jsonl": "sample"}
"""Wire format of the rows, by export format."""


class JsonlWriter:
    """``train.jsonl`` and ``val.jsonl``, one record a line."""

    columns: ClassVar[Sequence[str]] = tuple(SCHEMA.names)

    def __init__(self, job: Job, format_name: str) -> None:
        self._job = job
        self._record_format = RECORD_FORMATS[format_name]
        self._open: dict[Split, tuple[ExportedFile, IO[bytes], Any]] = {}

    def add(self, table: pa.Table, split: Split) -> None:
        """Write the samples of ``table``."""
        table = self._job.without(table, self._problems(table))
        if self._job.options.images == "path":
            failed = self._job.pictures.copy(flat_images(table))
            self._write(self._job.without_failed(table, failed), split, relative_path)
            return
        for batch, data, failed in self._job.pictures.read_ahead(batches_by_picture_size(table)):
            readable = self._job.without_failed(batch, failed)
            self._write(readable, split, lambda image, data=data: data_uri(image, data.place(image.sha256)))  # type: ignore[misc]

    def finish(self) -> None:
        """Note the hashes of what was written; there is nothing beside the rows."""
        for file, _, ids in self._open.values():
            file.samples = ids.hexdigest()

    def _problems(self, table: pa.Table) -> dict[str, Flags]:
        """What the record format cannot hold."""
        turns = flatten_turns(table)
        pictured, textless = turns.images_per_row > 0, ~speaks(turns, DOCUMENT)
        return {
            "image-caption": {"no picture": ~pictured, "no text": textless},
            "interleaved": {"neither text nor picture": ~pictured & textless},
            "sample": {},
        }[self._record_format]

    def _write(self, table: pa.Table, split: Split, place_image: PlaceImage) -> None:
        if not table.num_rows:
            return
        if split not in self._open:
            path = f"{split}.jsonl"
            self._open[split] = (ExportedFile(path, split), self._job.open(path), sha256())
            self._job.files.append(self._open[split][0])
        file, out, ids = self._open[split]
        for sample in from_table(table):
            out.write(orjson.dumps(self._row(sample, place_image), option=orjson.OPT_APPEND_NEWLINE))
            ids.update(sample.id.encode())
            file.rows += 1
            file.sample_count += not self._job.again

    def _row(self, sample: Sample, place_image: PlaceImage) -> dict[str, Any]:
        record = to_record(sample, self._record_format, place_image)
        if self._record_format == "sample":
            return record
        if "id" in record:
            record["record_id"] = record.pop("id")
        license_field = {} if sample.license is None else {"license": sample.license}
        return {"id": sample.id, **record, "source": sample.source, **license_field}
