"""The YAML header of a dataset card, as the Hugging Face Hub and ``datasets.load_dataset`` read it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import yaml

_LICENSES: Final = {
    "cc0": "cc0-1.0",
    "cc0-1.0": "cc0-1.0",
    "cc0 1.0": "cc0-1.0",
    **{f"cc-by{kind}-{version}": f"cc-by{kind}-{version}" for kind in ("", "-sa", "-nc") for version in ("3.0", "4.0")},
    "cc-by-2.0": "cc-by-2.0",
    "cc-by-2.5": "cc-by-2.5",
    "cc-by-nd-4.0": "cc-by-nd-4.0",
    "cc-by-nc-nd-3.0": "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0": "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-3.0": "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0": "cc-by-nc-sa-4.0",
    "mit": "mit",
    "apache-2.0": "apache-2.0",
    "bsd-2-clause": "bsd-2-clause",
    "bsd-3-clause": "bsd-3-clause",
    "odbl": "odbl",
    "odc-by": "odc-by",
    "gpl-3.0": "gpl-3.0",
}
"""What a licence is called without its version ("CC-BY", "Public Domain") says too little: that is ``other``.
Identifiers of the Hub (https://huggingface.co/docs/hub/repositories-licenses) by what samples call them."""

_TASKS: Final = {
    "image-caption": ["image-to-text"],
    "interleaved": ["image-text-to-text", "text-generation"],
    "llamafactory-cpt": ["image-text-to-text", "text-generation"],
    "llamafactory-sft": ["visual-question-answering", "image-text-to-text"],
    "verl": ["visual-question-answering", "question-answering"],
    "jsonl": ["image-text-to-text"],
}
_TAGS: Final = {
    "llamafactory-cpt": ["llama-factory", "continual-pretraining"],
    "llamafactory-sft": ["llama-factory", "sft"],
    "verl": ["verl", "rlvr", "grpo"],
}
_SIZES: Final = (0, 10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9, 10**10, 10**11, 10**12)
_NAMES: Final = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_SPLITS: Final = {"train": "train", "val": "validation"}
"""Names of the splits in ``datasets``."""


def header(
    format_name: str, *, licenses: Sequence[str | None], languages: Sequence[str], files: Sequence[Mapping[str, Any]]
) -> str:
    """The header with its two lines of dashes; ``files`` are those of ``export.json``.

    Whatever the licences are called, the result is YAML with one value where one is expected.
    """
    known, named = _licenses(licenses)
    fields: dict[str, Any] = {"license": known[0] if len(known) == 1 else known}
    if named:
        fields["license_name"] = named
    if languages:
        fields["language"] = list(languages)
    fields |= {
        "size_categories": [size_category(sum(int(file["rows"]) for file in files))],
        "task_categories": _TASKS.get(format_name, ["image-text-to-text"]),
        "tags": ["medical", "medcurate", *_TAGS.get(format_name, [])],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": _SPLITS[file["split"]], "path": file["path"]} for file in files],
            }
        ],
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=10_000)}---\n"


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows: ``n<1K``, ``1K<n<10K``, ... ``n>1T``."""
    for (low, high), name in zip(pairwise(_SIZES), _NAMES, strict=True):
        if low <= rows < high:
            return f"n<{name}" if not low else f"{_NAMES[_NAMES.index(name) - 1]}<n<{name}"
    return "n>1T"


def _licenses(found: Sequence[str | None]) -> tuple[list[str], str | None]:
    """Identifiers of the licences, and how those without an identifier are called."""
    known, others = [], []
    for name in found:
        if name is None or not name.strip():
            known.append("unknown")
        elif (plain := re.sub(r"[\s_]+", "-", name.strip().casefold())) in _LICENSES:
            known.append(_LICENSES[plain])
        elif name.strip().casefold() in _LICENSES:
            known.append(_LICENSES[name.strip().casefold()])
        else:
            known.append("other")
            others.append("".join(char if char.isprintable() else " " for char in name).strip())
    return list(dict.fromkeys(known)) or ["unknown"], ", ".join(others) or None
