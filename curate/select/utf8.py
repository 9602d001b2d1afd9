"""The bytes of Arrow strings as they lie in memory, not copied."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def borders(texts: pa.StringArray) -> npt.NDArray[np.int32]:
    """Where each text begins in :func:`characters`, and last where the last one ends."""
    _, offsets, _ = texts.buffers()
    found = np.frombuffer(offsets or b"\0" * 4, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    from_zero: npt.NDArray[np.int32] = found - found[0]
    return from_zero


def characters(texts: pa.StringArray) -> npt.NDArray[np.uint8]:
    """The UTF-8 of all texts, one after the other."""
    _, offsets, data = texts.buffers()
    found = np.frombuffer(offsets or b"\0" * 4, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data or b"", np.uint8)[found[0] : found[-1]]
