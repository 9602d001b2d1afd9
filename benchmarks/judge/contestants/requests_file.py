"""What the peers' scripts share: reading the requests, and telling whether a reply is a score for its sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read(folder: Path) -> list[dict[str, Any]]:
    """One dictionary a sample: ``id``, ``system`` and ``text``, the whole text of the user message."""
    with (folder / "requests.jsonl").open() as lines:
        rows = [json.loads(line) for line in lines]
    return [
        {"id": row["id"], "system": row["system"], "text": "\n".join(part["text"] for part in row["content"])}
        for row in rows
    ]


def is_score(reply: object, text: str) -> bool:
    """Whether the reply is JSON with a score and the code of the sample with this text."""
    try:
        fields = json.loads(str(reply))
        return fields["medical_correctness"] in range(6) and fields["sample"] in text
    except (ValueError, KeyError, TypeError):
        return False
