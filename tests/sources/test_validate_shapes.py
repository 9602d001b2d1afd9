"""Rows of the shape of sound rows, with other values: the fast way and the careful way say the same of each."""

import copy
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sources.validating import findings

from curate.sources.validate import ValidateOptions, validate

ONE_FOLDER = settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
PATH, OTHER = "0.png", "1.png"
SOUND: list[dict[str, Any]] = [
    {"image": PATH, "text": "x"},
    {"image": [PATH, OTHER], "text": "x", "n": {"m": [1.5]}},
    {"texts": ["x", None, "y"], "image_info": [None, {"image": PATH}, None]},
    {"texts": [None], "image_info": [{"image": PATH, "image_base64": None, "n": 1}]},
    {"conversations": [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "y"}], "image": PATH},
    {
        "conversations": [
            {"from": "system", "value": "s"},
            {"from": "human", "value": "<image><image>"},
            {"from": "gpt", "value": "y", "n": None},
        ],
        "image": [PATH, OTHER],
    },
    {"query": "<image>?", "images": [PATH], "answer": ["A"], "query_type": "choice", "choices": {"A": "x", "B": "y"}},
    {"query": "?", "images": PATH, "answer": "x", "query_type": "choice", "choices": ["x", "y"], "system": "s"},
    {"query": "?", "images": None, "answer": [1, "y", 1.5], "query_type": "numeric"},
    {
        "data_source": "d",
        "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "<image>?"}],
        "images": [PATH],
        "reward_model": {"style": "rule", "ground_truth": "A"},
        "extra_info": {"query_type": "choice", "answers": ["A"], "choices": [{"label": "A", "text": "x"}] * 2},
    },
    {
        "data_source": "d",
        "prompt": [{"role": "user", "content": "<image>?"}],
        "images": [{"path": None, "image": PATH}],
        "reward_model": {"ground_truth": ["A", 1]},
        "extra_info": {"query_type": "choice", "choices": {"A": "x", "B": "y"}, "n": 1},
    },
    {
        "kind": "query",
        "id": "0" * 64,
        "images": [PATH, OTHER],
        "turns": [
            {"role": "system", "parts": [{"text": "s"}]},
            {"role": "user", "parts": [{"image": 1}, {"text": "x"}, {"image": 0, "text": None}]},
        ],
        "answer": ["A"],
        "query_type": "choice",
        "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}],
        "privacy": "unknown",
        "meta": {"n": 1},
    },
    {
        "messages": [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": "y"}],
        "images": [PATH],
        "system": "s",
    },
]
STRINGS = [PATH, OTHER, "none.png", "", " ", "\x1c", "x", "A", "a ", "C", "<image>", '"', '\\"', "s"]
ROLES = ["human", "gpt", "user", "assistant", "system", "document", "query", "interleaved", "choice", "identified"]
IDS = ["0" * 63, "0" * 64 + "\n", "f" * 64]
words = st.sampled_from([*STRINGS, *ROLES, *IDS])


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Where the strings, integers and lists in a value are."""
    if isinstance(value, (str, int, list)):
        yield ()
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from ((key, *place) for place in places(item))


@st.composite
def varied(draw: st.DrawFn, row: dict[str, Any]) -> Any:
    """A row of the same types with another value at one place."""
    row = inner = copy.deepcopy(row)
    *way, last = draw(st.sampled_from(list(places(row))))
    for step in way:
        inner = inner[step]
    value = inner[last]
    if isinstance(value, list):
        inner[last] = draw(st.sampled_from([value[1:], value[:-1], value + value[:1]]))
    else:
        inner[last] = draw(words if isinstance(value, str) else st.integers(-1, 3))
    return row


@st.composite
def alike(draw: st.DrawFn) -> list[str]:
    """Sound rows, then others of their shapes."""
    some = draw(st.lists(st.sampled_from(SOUND), min_size=1, max_size=3))
    rows = some + [draw(varied(draw(st.sampled_from(some)))) for _ in range(6)]
    spaced, ascii_only = draw(st.booleans()), draw(st.booleans())
    lines = [
        json.dumps(row, ensure_ascii=ascii_only, separators=(", ", ": ") if spaced else (",", ":")) for row in rows
    ]
    return [line.replace('\\"', "\\u0022") if draw(st.integers(0, 9)) == 0 else line for line in lines]


@given(lines=alike())
@ONE_FOLDER
def test_lines_of_known_shapes_are_checked_as_closely_as_others(folder: Path, lines: list[str]) -> None:
    """Compressed lines are always looked at closely."""
    content = "\n".join(lines).encode()
    plain, packed = folder / "rows.jsonl", folder / "rows.jsonl.gz"
    plain.write_bytes(content)
    packed.write_bytes(gzip.compress(content, 1))
    options = ValidateOptions(limit=1000)
    fast, careful = validate([plain], options), validate([packed], options)
    assert findings(fast) == findings(careful)
    assert fast.rows == careful.rows


DATASET = {
    "formatting": "sharegpt",
    "columns": {"messages": "said", "images": "pictures", "system": "before"},
    "tags": {
        "role_tag": "who",
        "content_tag": "what",
        "user_tag": "human",
        "assistant_tag": "gpt",
        "system_tag": "system",
    },
}
SHAREGPT: list[dict[str, Any]] = [
    {"said": [{"who": "human", "what": "<image>"}, {"who": "gpt", "what": "y"}], "pictures": [PATH], "before": "s"},
    {
        "said": [{"who": "system", "what": "s"}, {"who": "human", "what": "x"}, {"who": "gpt", "what": "y"}],
        "pictures": [],
    },
    {
        "said": [{"who": "system"}, {"who": "human", "what": "x"}, {"who": "gpt", "what": "y"}],
        "pictures": None,
    },
]


@given(data=st.data())
@ONE_FOLDER
def test_rows_of_llamafactory_under_other_names(folder: Path, data: st.DataObject) -> None:
    """A JSON array of the same rows is always looked at closely."""
    rows = SHAREGPT + [data.draw(varied(data.draw(st.sampled_from(SHAREGPT)))) for _ in range(6)]
    found = []
    for name, content in (
        ("rows.jsonl", "\n".join(map(json.dumps, rows))),
        ("rows.json", json.dumps(rows)),
    ):
        (folder / name).write_text(content)
        (folder / "dataset_info.json").write_text(json.dumps({"d": {"file_name": name} | DATASET}))
        report = validate([folder / "dataset_info.json"], ValidateOptions(limit=1000))
        found.append((findings(report), report.rows))
    assert found[0] == found[1]
