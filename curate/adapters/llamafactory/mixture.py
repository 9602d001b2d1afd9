"""The rows that a stage trains on, with the export and row that each came from; several exports become one file.

LLaMA-Factory has one folder of pictures for all datasets, and where it samples from a dataset, the rows come in random
order. The datasets library then infers the type of the pictures' column from each worker's first 1,000 rows, and fails
when those have none and a later one does. So the rows of several exports are copied, the chosen ones, with absolute
paths, all rows with pictures first. They are read and written by row group.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from curate.adapters.llamafactory.arguments import MIXTURE
from curate.adapters.llamafactory.data_plan import DataPlan

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

EXPORT, ROW = "export", "row"
"""Columns that say where a row came from: the export's number in the plan, and the row in its file, from 1."""

_TRAINED_ON: Final = ["id", "messages", "system", "images"]


def training_file(plan: DataPlan, data: Path, split: str) -> Path:
    """The Parquet file with the rows of ``split`` (train or val) that LLaMA-Factory reads; ``data`` is `run/data`."""
    return (data / MIXTURE if plan.composed else Path(plan.exports[0].path)) / f"{split}.parquet"


def compose(plan: DataPlan, data: Path) -> None:
    """Write the mixture into ``data/mixture``, whole or not at all; nothing for a single export."""
    directory = data / MIXTURE
    if not plan.composed or directory.exists():
        return
    partial = directory.with_name(f".{MIXTURE}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    _write(plan, partial / "train.parquet", "train")
    info = {MIXTURE: _entry("train.parquet", plan)}
    if plan.validated:
        _write(plan, partial / "val.parquet", "val")
        info[f"{MIXTURE}_val"] = _entry("val.parquet", plan)
    (partial / "dataset_info.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    partial.rename(directory)


def row_groups(plan: DataPlan, data: Path, split: str) -> Iterator[pa.Table]:
    """The rows that LLaMA-Factory reads, in its order, with the columns `export` and `row`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = training_file(plan, data, split)
    if not path.exists():
        return
    with pq.ParquetFile(path) as file:
        first = 1
        for number in range(file.num_row_groups):
            group = file.read_row_group(number, columns=[*_columns(file), *([EXPORT, ROW] if plan.composed else [])])
            if not plan.composed:
                group = group.append_column(EXPORT, pa.array([0] * group.num_rows, pa.int32()))
                group = group.append_column(ROW, pa.array(range(first, first + group.num_rows), pa.int64()))
                first += group.num_rows
            yield group


def repeats(rows: int, take: int, seed: tuple[int, ...]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """How often each of ``rows`` rows is used so that ``take`` are in all: as evenly as possible, the rest drawn."""
    import numpy as np

    whole, rest = divmod(take, rows)
    counts = np.full(rows, whole, dtype=np.int64)
    counts[np.random.default_rng(seed).permutation(rows)[:rest]] += 1
    return counts


def _write(plan: DataPlan, path: Path, split: str) -> None:
    import pyarrow.parquet as pq

    writer = None
    try:
        for pictured in (True, False):
            for table in _chosen(plan, split, pictured=pictured):
                if not table.num_rows:  # the datasets library fails at a row group without rows
                    continue
                writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
                writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _chosen(plan: DataPlan, split: str, *, pictured: bool) -> Iterator[pa.Table]:
    """The rows of all exports that are used and have pictures, or have none."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for number, export in enumerate(plan.exports):
        path = Path(export.path) / f"{split}.parquet"
        if not path.exists():
            continue
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            counts = (
                repeats(rows, export.take, (plan.seed, number)) if split == "train" else np.ones(rows, dtype=np.int64)
            )
            first = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=_columns(file))
                has_pictures = pc.greater(pc.list_value_length(table.column("images")), 0).to_numpy(
                    zero_copy_only=False
                )
                used = counts[first : first + table.num_rows] * (has_pictures == pictured)
                places = np.repeat(np.arange(table.num_rows), used)
                chosen = _with_absolute_pictures(table.take(places), Path(export.path))
                chosen = chosen.append_column(EXPORT, pa.array(np.full(len(places), number, dtype=np.int32)))
                yield chosen.append_column(ROW, pa.array(first + places + 1, pa.int64()))
                first += table.num_rows


def _with_absolute_pictures(table: pa.Table, export: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    images = table.column("images").combine_chunks()
    paths = images.flatten()
    absolute = pc.if_else(pc.starts_with(paths, "/"), paths, pc.binary_join_element_wise(f"{export}/", paths, ""))
    lengths = pc.fill_null(pc.list_value_length(images), 0)
    ends = pc.cumulative_sum(lengths).to_numpy()
    offsets = pa.array([0, *ends.tolist()], pa.int32())
    return table.set_column(
        table.schema.get_field_index("images"), "images", pa.ListArray.from_arrays(offsets, absolute.cast(pa.string()))
    )


def _columns(file: Any) -> list[str]:
    return [name for name in _TRAINED_ON if name in file.schema_arrow.names]


def _entry(file_name: str, plan: DataPlan) -> dict[str, Any]:
    columns = {"messages": "messages", "images": "images"} | ({"system": "system"} if plan.stage == "sft" else {})
    tags = {name: name.removesuffix("_tag") for name in ("role_tag", "content_tag", "user_tag", "assistant_tag")}
    # Not "openai": LLaMA-Factory's converter for it adds a system text of its own.
    return {
        "file_name": file_name,
        "formatting": "sharegpt",
        "columns": columns,
        "tags": tags | {"system_tag": "system"},
    }
