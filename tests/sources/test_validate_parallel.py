"""Large files in several processes: what they find is what one process finds, finding for finding."""

import json
import pickle
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.pictures import distinct

from curate.sources.validate import Report, ValidateOptions, validate, workers
from curate.sources.validate.workers import Parallel

ALONE = Parallel(workers=1)
SOUND = [
    {"image": "0.png", "text": "A caption."},
    {"image": ["0.png", "1.png"], "text": "Two."},
    {"query": "Which?", "answer": "A", "query_type": "exact", "images": ["1.png"]},
    {"conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": "!"}]},
    {"texts": ["x", None], "image_info": [None, {"image": "0.png"}]},
]
VERL = {
    "data_source": "d",
    "prompt": [{"role": "user", "content": "x"}],
    "reward_model": {"ground_truth": "A"},
    "extra_info": {"query_type": "exact"},
}
UNSOUND = [
    {"image": "none.png", "text": "No such picture."},
    {"image": "wrong.jpg", "text": "A PNG by another name."},
    {"image": "0.png", "text": " "},
    {"image": "0.png", "text": "x", "n": 1},
    {"image": "0.png", "text": "x", "n": "1"},
    {"image": "0.png", "text": "x", "n": None, "m": [1]},
    {"query": "Which?", "answer": "A", "query_type": "unheard of"},
    {"a": 1},
    VERL,
    VERL | {"extra_info": {"query_type": "exact", "n": [1]}},
    VERL | {"extra_info": {"query_type": "exact", "n": ["1"]}, "uid": 3},
]
LINES = [json.dumps(row) for row in (*SOUND, *UNSOUND)] + ["", "[", '{"image": "0.png", "image": "0.png", "text": "x"}']


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("0.png", "1.png", "wrong.jpg"):
        (tmp_path / name).write_bytes(distinct(len(name)))
    return tmp_path


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ranges, pickled there and back as for a process, are checked here: starting processes takes too long."""

    @contextmanager
    def pool(number: int, *, remedy: str, prepare: Callable[[], None]) -> Iterator[Callable[..., Future[Any]]]:
        prepare()

        def submit(function: Callable[..., Any], *arguments: Any) -> Future[Any]:
            future: Future[Any] = Future()
            found = function(*pickle.loads(pickle.dumps(arguments)))
            future.set_result(pickle.loads(pickle.dumps(found)))
            return future

        yield submit

    monkeypatch.setattr(workers, "worker_processes", pool)


def found(report: Report) -> tuple[Any, ...]:
    return report.findings(), dict(report.by_code), report.groups, report.files


def assert_parts_agree_with_the_whole(paths: list[Path], parallel: Parallel, **options: Any) -> Report:
    whole = validate(paths, ValidateOptions(parallel=ALONE, **options))
    assert found(validate(paths, ValidateOptions(parallel=parallel, **options))) == found(whole)
    return whole


@given(
    lines=st.lists(st.sampled_from(LINES), max_size=40),
    first=st.sampled_from([SOUND[0], VERL]),
    size=st.integers(1, 400),
    limit=st.sampled_from([0, 1, 5, 1000]),
)
@settings(
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_ranges_of_lines_give_what_the_whole_file_gives(
    folder: Path, in_this_process: None, lines: list[str], first: dict[str, Any], size: int, limit: int
) -> None:
    (folder / "rows.jsonl").write_text("\n".join([json.dumps(first), *lines]))
    parallel = Parallel(workers=2, patience=0, range_bytes=size)
    assert_parts_agree_with_the_whole([folder / "rows.jsonl"], parallel, limit=limit)


@pytest.mark.parametrize("columns", [{}, {"text": "caption"}])
def test_processes_give_what_one_process_gives(folder: Path, columns: dict[str, str]) -> None:
    chance = random.Random(0)
    lines = chance.choices(LINES[: len(SOUND)], k=3000) + chance.choices(LINES, k=300)
    chance.shuffle(lines)
    if columns:
        lines = [line.replace('"text"', '"caption"') for line in lines]
    text = "\ufeff" + "\r\n".join([lines[0].replace("\n", ""), *lines])
    (folder / "rows.jsonl").write_text(text, encoding="utf-8", newline="")
    parallel = Parallel(workers=2, patience=0, range_bytes=20_000)
    report = assert_parts_agree_with_the_whole([folder], parallel, columns=columns, limit=50)
    assert report.errors > 50
    assert report.rows > 3000


def test_pictures_in_both_splits_are_found_in_parts(folder: Path, in_this_process: None) -> None:
    marker = {"kind": "medcurate-export", "format": "jsonl", "files": []}
    for split, names in (("train", ["0.png", "1.png"]), ("val", ["1.png"])):
        rows = [{"kind": "image_caption", "images": [name], "turns": TURNS} for name in names for _ in range(20)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        marker["files"].append({"path": f"{split}.jsonl", "split": split, "rows": len(rows)})  # type: ignore[attr-defined]
    (folder / "1.png").write_bytes(distinct(77))
    (folder / "export.json").write_text(json.dumps(marker))
    parallel = Parallel(workers=2, patience=0, range_bytes=300)
    report = assert_parts_agree_with_the_whole([folder], parallel)
    assert [(f.file, f.row, f.code) for f in report.findings()] == [
        (str(folder / "val.jsonl"), 1, "picture_in_both_splits")
    ]


TURNS = [{"role": "document", "parts": [{"image": 0}, {"text": "x"}]}]


@pytest.mark.parametrize("at", [200, 1500])
def test_the_first_picture_is_where_it_is(folder: Path, in_this_process: None, at: int) -> None:
    """LLaMA-Factory needs one in the first thousand rows."""
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "a"}]
    rows = [{"messages": said, "images": []} for _ in range(2000)]
    rows[at] = {"messages": [{"role": "user", "content": "<image>"}, said[1]], "images": ["0.png"]}
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parallel = Parallel(workers=2, patience=0, range_bytes=3000)
    report = assert_parts_agree_with_the_whole([folder / "rows.jsonl"], parallel, format="llamafactory")
    assert [(f.row, f.code) for f in report.findings()] == ([(at + 1, "pictures_too_late")] if at > 1000 else [])


def test_a_line_longer_than_a_range_is_one_row(folder: Path, in_this_process: None) -> None:
    long = {"image": "0.png", "text": "x" * 3_000_000}
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (SOUND[0], long, SOUND[0], long)))
    parallel = Parallel(workers=2, patience=0, range_bytes=100)
    assert assert_parts_agree_with_the_whole([folder / "rows.jsonl"], parallel).rows == 4


def test_a_small_file_starts_no_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "worker_processes", lambda *_, **__: pytest.fail("a process was started"))
    (folder / "rows.jsonl").write_text((LINES[0] + "\n") * 5000)
    assert validate([folder / "rows.jsonl"], ValidateOptions()).rows == 5000
