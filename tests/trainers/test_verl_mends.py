"""verl's faults that the adapter mends: each is shown without the mend, so that a test fails once verl has mended it.

When one does: raise `versions` of the adapter, take the mend away, and its part of docs/grpo.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
import types
from typing import Any

import pytest

# Rows of three text positions each; the same number of tokens, and different ones.
EQUAL, DIFFERENT = [6, 6, 6], [5, 7, 6]


def rows_as_workers_get_them(lengths: list[int]) -> tuple[list[Any], list[Any]]:
    """Position ids of rows that long, before and after TransferQueue and verl's own repair of them."""
    import torch
    from tensordict import TensorDict
    from transfer_queue.storage.managers.simple_storage_manager import AsyncSimpleStorageManager
    from verl.utils import tensordict_utils

    pack = AsyncSimpleStorageManager._pack_field_values
    sent = [torch.arange(4 * length).view(4, length) + 1000 * row for row, length in enumerate(lengths)]
    tokens = pack([torch.arange(length) for length in lengths])
    batch = TensorDict({"input_ids": tokens, "position_ids": pack(sent)}, batch_size=[len(lengths)])
    tensordict_utils.maybe_fix_3d_position_ids(batch)
    parts = [tensordict_utils.index_select_tensor_dict(batch, [row]) for row in range(len(lengths))]
    return sent, [part["position_ids"].unbind()[0] for part in parts]


def arrive_unchanged(lengths: list[int]) -> bool:
    import torch

    try:
        sent, received = rows_as_workers_get_them(lengths)
    except RuntimeError:
        return False
    return all(torch.equal(before, after) for before, after in zip(sent, received, strict=True))


def test_rows_of_equal_length_need_the_mend_and_it_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    from verl.utils import tensordict_utils

    from curate.adapters.verl.mends import mend_rows_of_equal_length

    monkeypatch.setattr(tensordict_utils, "maybe_fix_3d_position_ids", tensordict_utils.maybe_fix_3d_position_ids)
    assert arrive_unchanged(DIFFERENT)
    assert not arrive_unchanged(EQUAL), "verl does not need mend_rows_of_equal_length any more"
    mend_rows_of_equal_length()
    assert arrive_unchanged(EQUAL)
    assert arrive_unchanged([20, 20])
    assert arrive_unchanged(DIFFERENT)


def test_every_process_of_verl_gets_the_mend() -> None:
    """As a worker does: verl imports the plugin, and modules imported later see the mended function."""
    script = (
        "from verl.utils import tensordict_utils\nfrom verl.workers import engine_workers\n"
        "for module in (tensordict_utils, engine_workers):\n"
        "    assert hasattr(module.maybe_fix_3d_position_ids, '__wrapped__'), module\n"
    )
    variables = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "curate.adapters.verl.plugin"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=variables, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_the_reference_model_is_offloaded_to_pinned_memory_whatever_is_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a CPU that can't work: pinning needs an NVIDIA driver. cpu_smoke leaves the model where it is."""
    import torch
    from verl.workers.config import FSDPEngineConfig
    from verl.workers.engine.fsdp import transformer_impl

    asked: list[bool] = []

    class Stop(Exception):  # noqa: N818
        pass

    def record(pin_memory: bool = False) -> None:
        asked.append(pin_memory)
        raise Stop

    monkeypatch.setattr(transformer_impl, "CPUOffloadPolicy", record)
    monkeypatch.setattr(transformer_impl, "get_sharding_strategy", lambda *_, **__: None)
    engine = object.__new__(transformer_impl.FSDPEngineWithLMHead)
    engine.engine_config = FSDPEngineConfig(strategy="fsdp2", forward_only=True, offload_policy=False)
    engine.model_config = types.SimpleNamespace(lora_rank=0)
    engine.device_mesh = None
    with pytest.raises(Stop):
        engine._build_fsdp_module(torch.nn.Linear(2, 2))
    assert asked == [True], "verl does not need leave_reference_model_in_place any more"


def test_smoke_runs_refuse_another_version_of_verl(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.9.2")
    monkeypatch.delitem(sys.modules, "curate.adapters.verl.cpu_smoke.plugin", raising=False)
    with pytest.raises(ImportError, match=r"private names of verl 0\.9\.1; this is verl 0\.9\.2"):
        __import__("curate.adapters.verl.cpu_smoke.plugin")
