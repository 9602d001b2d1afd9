"""A fault of verl 0.9.1 that real runs meet as well, mended from outside."""

from __future__ import annotations

import functools
import sys
from typing import Any


def mend_rows_of_equal_length() -> None:
    """Keep position ids right when all rows of a batch have the same number of tokens.

    Vision-language models have position ids of shape (4, tokens) a row, and verl holds a batch of them as a jagged
    tensor. When all rows are equally long, TransferQueue packs the batch so that the ragged dimension is the first of
    the two; verl's ``maybe_fix_3d_position_ids`` declares it to be the second without looking, and then rows are cut in
    the wrong places: an exception, or other rows' positions without a word. It happens whenever all responses of a
    batch reach max_response_length on prompts of one length. Here such a batch is packed anew first. verl's issue 7899,
    open in 0.9.1; a test fails as soon as verl doesn't need this any more.
    """
    import verl.utils.tensordict_utils as faulty

    original = faulty.maybe_fix_3d_position_ids
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def mended(data: Any) -> None:
        positions = data["position_ids"] if "position_ids" in data.keys() else None  # noqa: SIM118 - a TensorDict has no `in`
        if positions is not None and positions.is_nested and positions.dim() == 3:
            values, offsets = positions.values(), positions.offsets()
            if values.shape[0] == int(offsets[-1]):  # the offsets count rows of positions, not tokens
                rows = list(values.split(offsets.diff().tolist(), dim=0))
                data["position_ids"] = faulty.nested_tensor_from_tensor_list(rows, ragged_idx=2)
        original(data)

    replace_everywhere(original, mended)


def replace_everywhere(original: Any, replacement: Any) -> None:
    """Put ``replacement`` where modules of verl hold ``original``, those included that imported it by name before."""
    name = original.__name__
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("verl.") and getattr(module, name, None) is original:
            setattr(module, name, replacement)
