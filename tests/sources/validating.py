"""What the tests of ``curate validate`` look at, and how they spoil files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.sources.validate import Report, ValidateOptions, validate

Row = dict[str, Any]


def findings(report: Report) -> list[tuple[Any, ...]]:
    return sorted((f.severity, f.row, f.field, f.code, f.message) for f in report.findings())


def found(report: Report) -> list[tuple[str, int, str, str]]:
    return [(Path(f.file).name, f.row, f.field, f.code) for f in report.findings()]


def check(*paths: Path, **options: Any) -> list[tuple[str, int, str, str]]:
    return found(validate(paths, ValidateOptions(**options)))


def edit_parquet(path: Path, change: Callable[[list[Row]], object], schema: pa.Schema | None = None) -> None:
    """Change the rows of a Parquet file in place; with ``schema`` they get other types."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema or table.schema), path)


def edit_json(path: Path, change: Callable[[Row], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def turns(question: str, answer: str) -> list[Row]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
