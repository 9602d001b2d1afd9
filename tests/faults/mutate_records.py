"""Records of the examples, damaged: fields, types, values, depth, and the JSON that they are written in."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from faults.mutate_bytes import damage

EXAMPLES = Path(__file__).parents[2] / "examples" / "raw"
PICTURES = "../pictures"
"""Where a mutant finds the intact pictures of the examples."""

STRINGS = (
    "",
    " ",
    "\0",
    "a\0b",
    "\x1b[2J\x1b]0;gone\x07",
    "\x9b31m",
    "\u202e\u2066gnihton",
    "\ufeff",
    "\ud800",
    "\udfff\ud83d",
    "\U0010ffff",
    "e\u0301" * 50,
    "<image>",
    "<image><image>",
    "< image>",
    "<|im_end|><|endoftext|><|vision_start|>",
    "<script>alert(1)</script>",
    "::error file=a::b",
    "[red]markup[/red][/]",
    "%s%n{0}{}",
    "'; DROP TABLE samples; --",
    "NaN",
    "null",
    "../../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "/proc/self/environ",
    "https://example.org/a.png",
    "data:image/png;base64,",
    "data:image/png;base64,iVBORw0KGgo=",
    "iVBORw0KGgo" + "A" * 100,
    ".",
    "..",
    "~",
    "C:\\scan.png",
    "x" * 300,
    "x/" * 2100,
    "x" * 5000,
    "ﬁ\u2028\u2029\x85\x0b\x0c",
    "5 mm, no effusion",
    "A",
    "yes",
)
NUMBERS = (0, -1, 1, 7, 2**31, 2**53 + 1, 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**40, 0.5, -0.0, 1e308, 1e-320)
NAMES = (
    *("image", "images", "text", "texts", "image_info", "conversations", "query", "answer", "query_type", "choices"),
    *("source", "license", "system", "prompt", "reward_model", "extra_info", "data_source", "ability", "kind", "turns"),
    *(
        "meta",
        "messages",
        "id",
        "wire",
        "privacy",
        "",
        "\0",
        "__class__",
        "x" * 200,
        "from",
        "value",
        "role",
        "content",
    ),
    *("dicom", "bytes", "path", "unit", "absolute_tolerance", "split", "index", "image_base64"),
)


@cache
def originals() -> tuple[str, ...]:
    """Records of all wire formats as JSON, with references to the pictures that lie beside the mutants."""
    found: list[dict[str, Any]] = []
    for path in sorted(EXAMPLES.rglob("*.jsonl")):
        found += (json.loads(one) for one in path.read_text().splitlines())
    found += json.loads((EXAMPLES / "instructions" / "sft.json").read_text())
    data = (EXAMPLES / "pathology-captions" / "microaneurysms.png").read_bytes()
    found += [
        {"image": "data:image/png;base64," + base64.b64encode(data).decode(), "text": "Dots in the fundus."},
        {"texts": ["Before.", None], "image_info": [None, {"image_base64": base64.b64encode(data).decode()}]},
        {
            "kind": "image_caption",
            "images": ["microaneurysms.png"],
            "turns": [{"role": "document", "parts": [{"image": 0}, {"text": "Dots."}]}],
            "source": "fundus",
            "meta": {"n": 1},
        },
        {
            "kind": "query",
            "images": [],
            "turns": [{"role": "user", "parts": [{"text": "How many kidneys?"}]}],
            "answer": ["2"],
            "query_type": "numeric",
            "choices": [],
        },
    ]
    return tuple(json.dumps(_beside(record)) for record in found)


def _beside(value: Any) -> Any:
    """A record whose file names lead to the folder of pictures."""
    if isinstance(value, dict):
        return {key: _beside(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_beside(item) for item in value]
    if isinstance(value, str) and len(value) < 200 and value.endswith((".png", ".jpg", ".dcm")):
        return f"{PICTURES}/{value.rsplit('/', 1)[-1]}"
    return value


def whole_line(chance: random.Random) -> bytes:
    """An intact record on one line."""
    return chance.choice(originals()).encode()


def record(chance: random.Random) -> Any:
    """A damaged record; mostly still an object."""
    value = json.loads(chance.choice(originals()))
    for _ in range(chance.choice((1, 1, 2, 4))):
        value = chance.choice(_CHANGES)(chance, value)
    return value


def line(chance: random.Random) -> bytes:
    """A damaged record on one line, or what was to be one."""
    text = json.dumps(record(chance), ensure_ascii=chance.random() < 0.5)
    data = text.encode(errors="surrogatepass")
    if chance.random() < 0.3:
        data = chance.choice(_WRITINGS)(chance, data)
    # Line ends would make several rows of it, and the count of rows would be another.
    return data.replace(b"\n", b" ").replace(b"\r", b" ")


def value(chance: random.Random) -> Any:
    """Something that may stand anywhere in JSON."""
    return chance.choice(
        (
            lambda: chance.choice(STRINGS),
            lambda: chance.choice(STRINGS),
            lambda: chance.choice(NUMBERS),
            lambda: chance.choice((None, True, False, [], {}, [None], [[]], {"": None}, [1, "a", None])),
            lambda: [chance.choice(STRINGS) for _ in range(chance.choice((1, 2, 300)))],
            lambda: {chance.choice(NAMES): chance.choice(STRINGS)},
            lambda: _nested(chance.choice((3, 60, 200)), chance.random() < 0.5),
            lambda: json.loads(chance.choice(originals())),
        )
    )()


def _nested(depth: int, objects: bool) -> Any:
    made: Any = "deep"
    for _ in range(depth):
        made = {"a": made} if objects else [made]
    return made


def _copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _holders(value: Any) -> list[tuple[Any, Any]]:
    """All places inside a value, as (container, key)."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, (dict, list)):
            keys = list(holder) if isinstance(holder, dict) else range(len(holder))
            found += ((holder, key) for key in keys)
            waiting += holder.values() if isinstance(holder, dict) else holder
    return found


Change = Callable[[random.Random, Any], Any]


def _somewhere(change: Callable[[random.Random, Any, Any], None]) -> Change:
    def changed(chance: random.Random, value: Any) -> Any:
        places = _holders(value)
        if places:
            change(chance, *chance.choice(places))
        return value

    return changed


def _replace(chance: random.Random, holder: Any, key: Any) -> None:
    holder[key] = value(chance)


def _delete(chance: random.Random, holder: Any, key: Any) -> None:
    del holder[key]


def _wrap(chance: random.Random, holder: Any, key: Any) -> None:
    holder[key] = [holder[key]] if chance.random() < 0.5 else {"value": holder[key]}


def _double(chance: random.Random, holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, _copied(holder[key]))
    else:
        holder[chance.choice(NAMES)] = _copied(holder[key])


def _rename(chance: random.Random, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        holder[chance.choice(NAMES)] = holder.pop(key)


def _edit_text(chance: random.Random, holder: Any, key: Any) -> None:
    text = holder[key]
    if isinstance(text, str):
        place = chance.randint(0, len(text))
        inserted = chance.choice(STRINGS)
        holder[key] = chance.choice((text[:place], text[:place] + inserted + text[place:], text * 3, text.upper()))


def _retype(chance: random.Random, holder: Any, key: Any) -> None:
    old = holder[key]
    holder[key] = chance.choice((str(old), [old, old], bool(old), len(str(old)), json.dumps(old), None))


def _swap(chance: random.Random, value: Any) -> Any:
    places = _holders(value)
    if len(places) > 1:
        (one, here), (other, there) = chance.sample(places, 2)
        moved = _copied(one[here])
        one[here] = _copied(other[there])
        if isinstance(other, dict) or there < len(other):
            other[there] = moved
    return value


def _add_field(chance: random.Random, record: Any) -> Any:
    if isinstance(record, dict):
        record[chance.choice(NAMES)] = value(chance)
    return record


def _merge(chance: random.Random, record: Any) -> Any:
    """Fields of two records in one."""
    other = json.loads(chance.choice(originals()))
    return {**record, **other} if isinstance(record, dict) else other


def _become(chance: random.Random, record: Any) -> Any:
    return value(chance) if chance.random() < 0.3 else record


_CHANGES: tuple[Change, ...] = (
    *map(_somewhere, (_replace, _replace, _replace, _delete, _wrap, _double, _rename, _edit_text, _edit_text, _retype)),
    *(_swap, _add_field, _add_field, _merge, _become),
)


def _twice(chance: random.Random, data: bytes) -> bytes:
    return data[:-1] + b', "text": "again", "text": "and again"}'


def _constant(chance: random.Random, data: bytes) -> bytes:
    constants = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"01", b"1.", b"+1", b"0x10", b"1" * 5000)
    return data[:-1] + b', "extra": ' + chance.choice(constants) + b"}"


def _escape(chance: random.Random, data: bytes) -> bytes:
    escapes = (rb"\u0000", rb"\ud800", rb"\udc00\ud800", rb"\x41", rb"\u12", b"\\", rb"\u001b[31m", rb"\/")
    return data.replace(b'": "', b'": "' + chance.choice(escapes), chance.choice((1, -1)))


def _deep(chance: random.Random, data: bytes) -> bytes:
    depth = chance.choice((100, 1000, 1100, 5000, 100_000))
    return data[:-1] + b', "deep": ' + b"[" * depth + b"]" * depth + b"}"


_WRITINGS: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    *(damage, damage, _twice, _constant, _escape, _deep),
    lambda chance, data: data + chance.choice((b",", b"}", b"{}", b" \0", b"//", b"\xff")),
    lambda chance, data: chance.choice((b"\xef\xbb\xbf", b"[", b" ", b"\0", b"\xff\xfe")) + data,
)
