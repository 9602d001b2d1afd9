"""Lines that look like lines before them are read in one step; that must change nothing but the time it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.ingesting import ingest
from support.pictures import distinct

from curate.corpus import Sample
from curate.sources.staging import _SeenIds

CAPTION = '{"image": "0.png", "text": "caption %d", "n": 1}'
CONVERSATION = (
    '{"image": "0.png", "conversations": [{"from": "human", "value": "<image>%d?"}, {"from": "gpt", "value": "a"}]}'
)
VERL = (
    '{"data_source": "d", "prompt": [{"role": "user", "content": "<image>%d?"}], "images": [{"image": "0.png"}],'
    ' "reward_model": {"ground_truth": "A"}, "extra_info": {"query_type": "exact", "n": [1, {"a": "b"}]}}'
)
ODD = [
    '{"image": "0.png", "text": "odd", "n": 1, "n": 2}',
    '{"image": "0.png", "text": "odd", "text": "twice", "n": 1}',
    '{"image": "0.png", "text": "odd", "n": NaN}',
    '{"image": "0.png", "text": "odd", "n": 123456789012345678901}',
    '{"image": "0.png", "text": "odd", "n": 1234567890123456789}',
    '{"image": "0.png", "text": "says \\\\ \\"text\\": \\"\\u0022", "n": 1}',
    '{"image": "none.png", "text": "odd", "n": 1}',
    (CONVERSATION % 1000).replace('"from": "human"', '"from": "gpt", "from": "human"'),
    '{"image": "0.png", "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "a"}]}',
    VERL.replace('"b"', '"b", "a": "c"') % 1001,
    VERL.replace('{"image": "0.png"}', '{"bytes": "text"}') % 1002,
    VERL.replace("[1,", "[-Infinity,") % 1003,
    "[1]",
    "{",
]


def contents(samples: list[Sample]) -> list[tuple[Any, ...]]:
    return [(s.id, s.origin.row, s.meta, s.wire, s.images, s.answer, s.source) for s in samples]


@pytest.mark.parametrize("usual", [CAPTION, CONVERSATION, VERL])
def test_odd_lines_among_many_alike(tmp_path: Path, usual: str) -> None:
    lines = [usual % number for number in range(20)]
    for number, odd in enumerate(ODD):
        lines[2 * number + 2 : 2 * number + 2] = [odd]
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "0.png").write_bytes(distinct(0))
    (raw / "rows.jsonl").write_text("\n".join(lines))
    _, quick, quick_rejects = ingest(raw)
    # Mapped columns have every line parsed by itself; this one maps nothing that is there.
    _, careful, careful_rejects = ingest(raw, "--map", "license=no such column")
    assert contents(quick) == contents(careful)
    assert quick_rejects == careful_rejects
    assert len(quick) + len(quick_rejects) == len(lines)
    found = {reject["reason"] for reject in quick_rejects}
    assert found >= {"duplicate_key", "not_a_number", "integer_too_long", "missing_image", "wrong_type", "invalid_json"}


def test_a_picture_that_many_rows_show_is_the_same_for_each(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for folder, number in (("a", 0), ("b", 1)):
        (raw / folder).mkdir(parents=True)
        (raw / folder / "0.png").write_bytes(distinct(number))
        rows = [json.dumps({"image": "0.png", "text": f"{folder} {row}"}) for row in range(3)]
        (raw / folder / "rows.jsonl").write_text("\n".join(rows))
    _, samples, _ = ingest(raw)
    assert [sample.images[0].path for sample in samples] == ["a/0.png"] * 3 + ["b/0.png"] * 3
    assert len({sample.images[0].sha256 for sample in samples}) == 2


def test_ids_are_seen_once_however_many_there_are() -> None:
    ids = [f"{number * 2654435761 % 2**64:016x}{number:048x}" for number in range(30_000)]
    seen = _SeenIds()
    for start in range(0, len(ids), 777):
        assert all(seen.add(ids[start : start + 777]))
    assert not any(seen.add(ids[::7]))
    # Ids that agree in their first half are told apart, in one call and across calls.
    alike = [f"{5:016x}{number:048x}" for number in (2**64, 2**65)]
    alike = [value[:16] + f"{place:016x}" + value[32:] for place, value in enumerate(alike, 2**40)]
    assert seen.add([*alike, alike[0]]) == [True, True, False]
    assert seen.add(alike) == [False, False]
