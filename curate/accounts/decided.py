"""Decisions of every selection about single samples, read from whatever version of curate wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from curate.accounts.lookup import read_object, rows_where
from curate.corpus import Corpus, UserError

Row = dict[str, Any]

_COLUMNS = ("id", "kept", "rule", "reason", "related", "copies")


def selection_paths(corpus: Corpus) -> list[Path]:
    """The decisions of every selection of a corpus; the name of the file is that of the selection."""
    return sorted((corpus.path / "decisions").glob("*.parquet"))


def account_of(path: Path) -> Row:
    """What a selection tells of itself (policy, counts, time), beside its decisions; empty when it tells nothing."""
    return read_object(path.with_suffix(".json")) or {}


def decisions_about(corpus: Corpus, sample_id: str, problems: list[str]) -> list[Row]:
    """What each selection decided about a sample, and when: the columns of the decisions, ``selection`` and ``at``.

    ``kept`` is None for a selection that was made from other samples. Decisions that cannot be read are named in
    ``problems``.
    """
    told: list[Row] = []
    for path in selection_paths(corpus):
        try:
            rows = rows_where([path], "id", [sample_id], _COLUMNS)
        except UserError as error:
            problems.append(f"{error}; select again")
            continue
        row = rows[0] if rows else {}
        kept = row.get("kept")
        copies = row.get("copies")
        if copies is None and kept is not None:
            copies = int(kept)
        decided = {name: row.get(name) for name in ("rule", "reason", "related")}
        told.append(
            {"selection": path.stem, "at": account_of(path).get("at"), "kept": kept, **decided, "copies": copies}
        )
    return told


def pointing_to(corpus: Corpus, sample_id: str, problems: list[str]) -> list[Row]:
    """The samples in whose place a sample is kept: ``selection``, ``rule``, ``id``."""
    told: list[Row] = []
    for path in selection_paths(corpus):
        try:
            if "related" not in pl.read_parquet_schema(path):
                continue
            rows = rows_where([path], "related", [sample_id], ("id", "rule"))
        except UserError as error:
            problems.append(f"{error}; select again")
            continue
        except (pl.exceptions.PolarsError, OSError):
            continue  # decisions_about has named it
        told += [{"selection": path.stem, "rule": row["rule"], "id": row["id"]} for row in rows]
    return told
