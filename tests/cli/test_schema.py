"""``curate schema``: JSON Schemas that other tools can use."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from support.cli import curate

from curate.schemas import FORMATS

GOOD = {
    "image-caption": {"image": ["a.png", "b.png"], "text": "Two views."},
    "interleaved": {"texts": [None, "Text."], "image_info": [{"image_base64": "aGk="}, None]},
    "conversation": {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    "query": {"query": "Which?", "answer": "A", "query_type": "choice", "choices": {"A": "x", "B": "y"}},
    "verl": {
        "data_source": "s",
        "prompt": [{"role": "user", "content": "Which?"}],
        "reward_model": {"ground_truth": "A"},
        "extra_info": {},
    },
    "sample": {"kind": "interleaved", "turns": [{"role": "document", "parts": [{"text": "Text."}]}]},
    "llamafactory": {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        "images": [],
    },
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_schema_accepts_good_records_and_refuses_bad_ones(name: str) -> None:
    schema = curate("schema", name).json()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(GOOD[name])
    assert validator.is_valid(GOOD[name] | {"unknown_field": {"kept": True}})
    for field in schema["required"]:
        assert not validator.is_valid({key: value for key, value in GOOD[name].items() if key != field})


def test_without_a_format_it_lists_them_and_with_a_wrong_one_it_fails(tmp_path: Path) -> None:
    listed = curate("schema", cwd=tmp_path)
    assert listed.status == 0
    assert [line.split()[0] for line in listed.out.splitlines()] == [*FORMATS, "policy"]
    wrong = curate("schema", "captions", cwd=tmp_path)
    assert (wrong.status, "image-caption" in wrong.err) == (2, True)
