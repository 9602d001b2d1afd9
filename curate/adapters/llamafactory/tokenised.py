"""Check the rows that LLaMA-Factory has tokenised, over their Arrow columns: 2 million rows take seconds, not hours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.adapters.llamafactory.source_rows import Problem, SourceRows

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of each row."""

    all: np.ndarray[Any, Any]
    trained: np.ndarray[Any, Any]
    """Tokens that carry loss."""
    images_trained: np.ndarray[Any, Any]
    """Image tokens among those."""
    pictures: np.ndarray[Any, Any]
    """Runs of image tokens: each picture makes one."""


def count_tokens(dataset: Any, image_token: int) -> TokenCounts:
    """Count over the columns ``input_ids`` and ``labels``, a batch of rows at a time."""
    import numpy as np
    import pyarrow.compute as pc

    lengths, trained, images, pictures = [], [], [], []
    for batch in dataset.data.table.select(["input_ids", "labels"]).to_batches():
        size = pc.list_value_length(batch.column("input_ids")).to_numpy()
        column = batch.column("labels")
        per_row = pc.list_value_length(column).to_numpy()
        labels = column.flatten().to_numpy()
        row = np.repeat(np.arange(len(per_row)), per_row)
        lengths.append(size)
        trained.append(np.bincount(row[labels != -100], minlength=len(per_row)))
        images.append(np.bincount(row[labels == image_token], minlength=len(per_row)))
        pad = batch.column("input_ids").flatten().to_numpy() == image_token
        begins = pad & ~np.concatenate(([False], pad[:-1] & (row[1:] == row[:-1])))
        pictures.append(np.bincount(row[begins], minlength=len(per_row)))
    empty = np.empty(0, dtype=np.int64)
    return TokenCounts(*(np.concatenate(part) if part else empty for part in (lengths, trained, images, pictures)))


def faults(counts: TokenCounts, rows: SourceRows, cutoff_len: int) -> list[Problem]:
    """Rows that cannot be trained on as they are. ``rows`` are the same rows, in the same order."""
    import numpy as np

    problems = rows.problems(
        np.flatnonzero(counts.all >= cutoff_len).tolist(),
        f"reaches cutoff_len {cutoff_len:,}, so LLaMA-Factory cuts it, and a cut inside a picture stops the training; "
        "raise cutoff_len in the stage file, or export with a smaller --max-tokens",
    )
    problems += rows.problems(
        np.flatnonzero(counts.images_trained > 0).tolist(),
        "image tokens carry loss: a picture is in an assistant's turn; put it into the user's",
    )
    problems += rows.problems(
        np.flatnonzero((counts.pictures != rows.pictures) & (counts.all < cutoff_len)).tolist(),
        "has image tokens that belong to no picture: its text spells one out; export again, which defuses it",
    )
    return problems + rows.problems(
        np.flatnonzero(counts.trained == 0).tolist(), "nothing in it carries loss, so it teaches nothing; leave it out"
    )
