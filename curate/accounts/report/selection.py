"""The selection that a report is about: its decisions, shard by shard, and what was written beside them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.corpus import Corpus, UserError
from curate.select.policy import Policy

_COLUMNS = {
    "id": pl.String(),
    "kept": pl.Boolean(),
    "rule": pl.String(),
    "reason": pl.String(),
    "related": pl.String(),
    "copies": pl.Int32(),
}


@dataclass(frozen=True)
class Selection:
    """Decisions about the samples of a corpus."""

    name: str
    path: Path
    account: dict[str, Any] = field(default_factory=dict)
    """Content of ``decisions/<name>.json``; empty when there is none."""
    export: dict[str, Any] = field(default_factory=dict)
    """Parameters of the export that made these decisions, when no policy did."""
    chosen: str = ""
    """Why the report is about this one."""

    def stage(self, name: str) -> dict[str, Any]:
        """What a stage of the policy tells; empty when it tells nothing."""
        stages = self.account.get("stages")
        found = stages.get(name) if isinstance(stages, dict) else None
        if isinstance(found, list):
            return {name: found}
        return found if isinstance(found, dict) else {}

    @property
    def policy(self) -> Policy | None:
        """What was asked for; None when it cannot be known, or when another version of curate wrote it."""
        written = self.account.get("policy")
        if not isinstance(written, dict):
            gate = {"min_score": self.export.get("min_score", 3.0), "require": bool(self.export.get("require_verdict"))}
            written = {"name": "built-in", "judge": gate, "ignore_rules": list(self.export.get("ignore_rules") or ())}
        try:
            return Policy.model_validate(written)
        except ValueError:
            return None

    @property
    def where(self) -> str | None:
        """Condition of the export beside its policy."""
        where = self.export.get("where")
        return where if isinstance(where, str) else None

    def rows(self, shard: int) -> pl.DataFrame:
        """The decisions about the samples of a shard, in their order: id, kept, rule, reason, related, copies."""
        try:
            with pq.ParquetFile(self.path) as file:
                present = [name for name in _COLUMNS if name in file.schema_arrow.names]
                frame = pl.DataFrame(pl.from_arrow(file.read_row_group(shard, columns=present)))
        except (OSError, pa.ArrowException, IndexError) as error:
            raise UserError(f"{self.path} cannot be read ({_first(error)}); {_REMEDY}") from None
        missing = [pl.lit(None, kind).alias(name) for name, kind in _COLUMNS.items() if name not in present]
        frame = frame.with_columns(missing).with_columns(
            pl.coalesce("copies", pl.col("kept").cast(pl.Int32)).alias("copies")
        )
        return frame.select(pl.col(name).cast(kind) for name, kind in _COLUMNS.items())

    def check(self, corpus: Corpus) -> None:
        """Raise UserError unless the decisions have a row group for each shard, of its size."""
        try:
            metadata = pq.read_metadata(self.path)
            names = set(metadata.schema.to_arrow_schema().names)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{self.path} cannot be read ({_first(error)}); {_REMEDY}") from None
        if not {"id", "kept", "rule", "reason"} <= names:
            raise UserError(f"{self.path} holds no decisions: it has the columns {', '.join(sorted(names))}")
        groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
        if groups != [pq.read_metadata(shard).num_rows for shard in corpus.shards()]:
            raise other_samples(self.path)


_REMEDY = "make the selection again: curate select, or curate export"


def other_samples(path: Path) -> UserError:
    """What to tell of decisions that an ingest has overtaken."""
    return UserError(f"{path} is about other samples than the corpus holds now; {_REMEDY}")


def open_selection(corpus: Corpus, name: str | None) -> Selection | None:
    """The selection called ``name``; without a name the newest, or None when nothing was selected yet.

    The newest is that of ``curate select``: those that exports make by themselves count where there is no other.

    Raises UserError when there is none of that name, or its files cannot be read or are about other samples.
    """
    there = {path.stem: path for path in sorted((corpus.path / "decisions").glob("*.parquet"))}
    chosen = "it was named"
    if name is None:
        if not there:
            return None
        name, chosen = _newest(corpus, there)
    elif name not in there:
        near = difflib.get_close_matches(name, there, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(there)}" if there else "there is none"
        raise UserError(f"{corpus.path} has no selection {name!r}; {hint}")
    steps = [step for step in corpus.info.steps if step.name == "export" and step.parameters.get("format") == name]
    selection = Selection(
        name=name,
        path=there[name],
        account=_account(there[name].with_suffix(".json")),
        export=steps[-1].parameters if steps else {},
        chosen=chosen,
    )
    selection.check(corpus)
    return selection


def _newest(corpus: Corpus, there: Mapping[str, Path]) -> tuple[str, str]:
    """The newest selection, and why it is that one."""
    for step in reversed(corpus.info.steps):
        name = step.parameters.get("selection")
        if step.name != "select" or not isinstance(name, str) or name not in there:
            continue
        # An export of the same name may have replaced it since.
        if _account(there[name].with_suffix(".json")).get("policy_sha256") == step.parameters.get("policy_sha256"):
            return name, "the newest of curate select"
    newest = max(there, key=lambda known: (there[known].stat().st_mtime_ns, known))
    return newest, "the newest; curate select has made none"


def selection_names(corpus: Corpus) -> list[str]:
    """All selections of a corpus."""
    return sorted(path.stem for path in (corpus.path / "decisions").glob("*.parquet"))


def _account(path: Path) -> dict[str, Any]:
    try:
        account = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError) as error:
        raise UserError(f"{path} cannot be read ({_first(error)}); {_REMEDY}") from None
    if not isinstance(account, dict):
        raise UserError(f"{path} is no account of a selection: it holds no JSON object; {_REMEDY}")
    return account


def _first(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
