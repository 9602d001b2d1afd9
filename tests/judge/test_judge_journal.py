"""The journal on its own: durable, indexed in little memory, and robust to how a crash leaves it."""

import asyncio
import hashlib
import json
import threading
from pathlib import Path

import pytest

import curate.judge.journal as module
from curate.corpus import UserError
from curate.judge.journal import Journal


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def write(folder: Path, numbers: range, *, ok: bool = True, note: str = "") -> None:
    async def go() -> None:
        journal = Journal(folder)
        await asyncio.gather(*(journal.append(key(n), {"reply": f"{n}{note}"}, ok=ok) for n in numbers))
        await journal.finish()

    asyncio.run(go())


def found(folder: Path, number: int) -> str | None:
    journal = Journal(folder)
    entry = journal.find(key(number))
    journal.close()
    return None if entry is None else str(entry["reply"])


def test_finds_what_was_written_before_and_now(tmp_path: Path) -> None:
    write(tmp_path, range(100))
    write(tmp_path, range(100, 150))
    journal = Journal(tmp_path)
    assert len(journal) == 150
    assert all(journal.find(key(n))["reply"] == str(n) for n in range(150))  # type: ignore[index]
    assert journal.find(key(1000)) is None

    async def go() -> None:
        await journal.append(key(1000), {"reply": "new"}, ok=True)
        assert journal.find(key(1000))["reply"] == "new"  # type: ignore[index]
        await journal.finish()

    asyncio.run(go())


def test_the_latest_good_answer_counts_and_invalid_ones_do_not(tmp_path: Path) -> None:
    write(tmp_path, range(3), ok=False)
    assert found(tmp_path, 1) is None
    write(tmp_path, range(3), note=" first")
    write(tmp_path, range(3), note=" second")
    write(tmp_path, range(3), ok=False, note=" bad")
    assert found(tmp_path, 1) == "1 second"


@pytest.mark.parametrize(
    "torn", [b'{"key":"', b'{"key":"' + b"a" * 64 + b'","ok":true,"reply":"x"}', b"\x00" * 5000, b"{"]
)
def test_a_torn_end_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    write(tmp_path, range(10))
    (segment,) = tmp_path.iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole + torn)
    write(tmp_path, range(10, 12))
    lines = segment.read_bytes()
    assert lines.startswith(whole)
    assert [json.loads(line)["key"] for line in lines.splitlines()] == [
        *[json.loads(line)["key"] for line in whole.splitlines()],
        *[json.loads(line)["key"] for line in lines[len(whole) :].splitlines()],
    ]
    assert all(found(tmp_path, n) == str(n) for n in range(12))


def test_damage_in_the_middle_costs_that_line_only(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    (segment,) = tmp_path.iterdir()
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[2] = b"\x93 garbage \x00\n"
    segment.write_bytes(b"".join(lines))
    journal = Journal(tmp_path)
    assert len(journal) == 4
    journal.close()


def test_rolls_over_into_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 500)
    monkeypatch.setattr(module, "_RECENT", 7)
    for start in range(0, 40, 4):
        write(tmp_path, range(start, start + 4))
    assert len(list(tmp_path.iterdir())) > 3
    assert all(found(tmp_path, n) == str(n) for n in range(40))

    async def go() -> None:
        journal = Journal(tmp_path)
        for n in range(40, 80):
            await journal.append(key(n), {"reply": str(n)}, ok=True)
            assert all(journal.find(key(m))["reply"] == str(m) for m in range(0, n + 1, 5))  # type: ignore[index]
        await journal.finish()

    asyncio.run(go())
    assert all(found(tmp_path, n) == str(n) for n in range(80))
    (tmp_path / "segment-00001.jsonl").unlink()
    with pytest.raises(UserError, match="missing"):
        Journal(tmp_path)


def test_many_answers_share_one_write_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0
    fsync = module.os.fsync

    def count(descriptor: int) -> None:
        nonlocal written
        written += 1
        fsync(descriptor)

    monkeypatch.setattr(module.os, "fsync", count)
    write(tmp_path, range(500))
    assert written < 20


def test_looking_up_from_threads_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RECENT", 20)
    missing: list[int] = []

    async def go() -> None:
        journal = Journal(tmp_path)
        done = 0

        def look() -> None:
            for _ in range(3000):
                known = done
                if known and journal.find(key(known - 1)) is None:
                    missing.append(known - 1)

        reader = threading.Thread(target=look)
        reader.start()
        for n in range(300):
            await journal.append(key(n), {"reply": str(n)}, ok=True)
            done = n + 1
        await asyncio.to_thread(reader.join)
        await journal.finish()

    asyncio.run(go())
    assert missing == []


def test_an_index_takes_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    line = '{"key":"%s","ok":true,"reply":"' + "x" * 200 + '"}\n'
    with (tmp_path / "segment-00000.jsonl").open("w") as file:
        file.writelines(line % key(n) for n in range(50_000))
    tracemalloc.start()
    journal = Journal(tmp_path)
    kept, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(journal) == 50_000
    assert kept / 50_000 < 20
    assert (most - (4 << 20)) / 50_000 < 80
    journal.close()


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(UserError, match="journal"):
        Journal(tmp_path / "journal")
