"""Collects this folder only where the trainers are installed, and sets up the process before they are imported."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

# Without any trainer this is the core environment: nothing here is collected. With one of them it is the training
# environment (make_env.sh), and then a trainer that is missing or does not import fails the tests that use it.
if find_spec("llamafactory") is None and find_spec("verl") is None:
    collect_ignore_glob = ["*.py"]
else:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the proofs run on the CPU, whatever the machine has
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Both trainers read Parquet through `datasets`, which keeps a converted copy of all it ever read.
    _datasets_cache = tempfile.TemporaryDirectory(prefix="curate-trainers-", ignore_cleanup_errors=True)
    os.environ["HF_DATASETS_CACHE"] = _datasets_cache.name


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Qwen3-VL checkpoint."""
    from curate.adapters.tiny_qwen3_vl import build_tiny_qwen3_vl

    directory = tmp_path_factory.mktemp("model")
    build_tiny_qwen3_vl(directory)
    return directory
