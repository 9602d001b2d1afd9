"""Records of every format, with text of the length that captions and answers have, and what they need beside them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

_WORDS = re.findall(
    r"\S+",
    """
axial coronal sagittal contrast enhanced image of the chest abdomen pelvis head shows a small large left right
upper lower lobe nodule mass effusion consolidation fracture without with no evidence of acute disease and mild
moderate cardiomegaly interstitial oedema calcification in the adjacent soft tissue measuring 4 mm 12 mm 35 mm
on follow-up compared to arterial venous phase there is hepatic renal splenic lesion consistent with benign
""",
)
PICTURES = 200


def write_records(folder: Path, name: str, rows: int) -> Path:
    """``folder/NAME.jsonl`` with ``rows`` records, no two alike; they refer to ``pictures/000.png`` and so on."""
    path = folder / f"{name}.jsonl"
    if not path.exists():
        chance = random.Random(0)
        with path.open("wb") as file:
            for number in range(rows):
                record = _RECORDS[name](number, chance)
                if name == "verl":  # which looks for a relative path from wherever it is started
                    record["images"] = [str(folder / picture) for picture in record["images"]]
                file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
    return path


def _text(chance: random.Random, words: int) -> str:
    return " ".join(chance.choices(_WORDS, k=words)) + "."


def _picture(number: int) -> str:
    return f"pictures/{number % PICTURES:03}.png"


def _caption(number: int, chance: random.Random) -> dict[str, Any]:
    return {"image": _picture(number), "text": f"Case {number}. {_text(chance, 50)}", "source": "made"}


def _interleaved(number: int, chance: random.Random) -> dict[str, Any]:
    texts = [f"Case {number}. {_text(chance, 40)}", None, _text(chance, 20)]
    return {"texts": texts, "image_info": [None, {"image": _picture(number)}, None], "source": "made"}


def _conversation(number: int, chance: random.Random) -> dict[str, Any]:
    said = [("human", f"<image>\nCase {number}. {_text(chance, 15)}"), ("gpt", _text(chance, 50))]
    said += [("human", _text(chance, 10)), ("gpt", _text(chance, 30))]
    conversations = [{"from": role, "value": value} for role, value in said]
    return {"image": _picture(number), "conversations": conversations, "source": "made"}


def _query(number: int, chance: random.Random) -> dict[str, Any]:
    options = {letter: _text(chance, 4) for letter in "ABCD"}
    asked = f"<image>\nCase {number}. {_text(chance, 30)}"
    answer = chance.choice("ABCD")
    fixed = {"query_type": "choice", "source": "made"}
    return {"query": asked, "images": [_picture(number)], "answer": [answer], "choices": options, **fixed}


def _verl(number: int, chance: random.Random) -> dict[str, Any]:
    options = [{"label": letter, "text": _text(chance, 4)} for letter in "ABCD"]
    answer = chance.choice("ABCD")
    extra = {"split": "train", "index": number, "query_type": "choice", "answers": [answer], "choices": options}
    return {
        "data_source": "made",
        "prompt": [
            {"role": "system", "content": "Answer with the letter between <answer> and </answer>."},
            {"role": "user", "content": f"<image>\nCase {number}. {_text(chance, 30)}"},
        ],
        "images": [_picture(number)],
        "ability": "medical_vqa",
        "reward_model": {"style": "rule", "ground_truth": answer},
        "extra_info": extra,
    }


def _llamafactory(number: int, chance: random.Random) -> dict[str, Any]:
    said = [("user", f"<image>\nCase {number}. {_text(chance, 15)}"), ("assistant", _text(chance, 50))]
    return {"messages": [{"role": r, "content": c} for r, c in said], "images": [_picture(number)]}


def _sample(number: int, chance: random.Random) -> dict[str, Any]:
    parts = [{"image": 0}, {"text": f"Case {number}. {_text(chance, 50)}"}]
    turns = [{"role": "document", "parts": parts}]
    return {"kind": "image_caption", "images": [_picture(number)], "turns": turns, "source": "made"}


_RECORDS: dict[str, Callable[[int, random.Random], dict[str, Any]]] = {
    "image-caption": _caption,
    "interleaved": _interleaved,
    "conversation": _conversation,
    "query": _query,
    "verl": _verl,
    "llamafactory": _llamafactory,
    "sample": _sample,
}
FORMATS = tuple(_RECORDS)
