"""Files that vanish or change while they are read: rejects, counts that add up, and a next run that mends it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import threading
from pathlib import Path

import pyarrow as pa
import pytest
from faults.commands import contents, counts_add_up, environment, run, start, wait_until, write_raw
from judge.endpoint import Endpoint
from support.pictures import distinct

DISTURBING = Path(__file__).parent / "disturbing"


def disturbed(**plans: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(DISTURBING), os.environ.get("PYTHONPATH", ""))))
    return {"PYTHONPATH": path, "FAULT_AT_OPEN": json.dumps(plans)}


def rejects(corpus: Path) -> list[dict[str, str]]:
    return [json.loads(line) for part in sorted((corpus / "rejects").glob("*.jsonl")) for line in part.open()]


PICTURES = {"0.png": "vanish", "1.png": "cut", "2.png": "grow", "3.png": "folder"}


def test_pictures_that_change_between_listing_and_reading(tmp_path: Path) -> None:
    raw, corpus = write_raw(tmp_path / "raw", 48), tmp_path / "curated"
    ran = run("ingest", raw, "-o", corpus, env=disturbed(**PICTURES))
    assert ran.status == 0
    counts_add_up(ran.err)
    assert "changed while" in ran.err
    reasons = {reject["message"].partition(":")[0]: reject["reason"] for reject in rejects(corpus)}
    assert reasons["0.png"] == "unreadable_file"
    assert reasons["1.png"] == "truncated_image"
    assert reasons["3.png"] == "unreadable_file"
    (raw / "3.png").rmdir()
    for name in PICTURES:
        (raw / name).write_bytes(distinct(int(name[0])))
    assert run("ingest", raw, "-o", corpus).status == 0
    assert run("ingest", raw, "-o", tmp_path / "fresh").status == 0
    assert mended(corpus) == mended(tmp_path / "fresh")


def mended(corpus: Path) -> dict[str, str]:
    """A corpus without its history."""
    found = contents(corpus)
    info = json.loads(found.pop("corpus.json"))
    info["steps"] = info["steps"][-1:]
    return found | {"corpus.json": json.dumps(info)}


@pytest.mark.parametrize("action", ["vanish", "cut", "folder"])
@pytest.mark.parametrize("command", ["ingest", "validate"])
def test_records_that_change_between_listing_and_reading(command: str, action: str, tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", 48)
    (raw / "more.jsonl").write_text((raw / "captions.jsonl").read_text().replace("Finding", "Sign"))
    arguments = ("ingest", raw, "-o", tmp_path / "curated") if command == "ingest" else ("validate", raw)
    ran = run(*arguments, env=disturbed(**{"captions.jsonl": action}))
    if command == "ingest":
        assert ran.status == 0
        counts_add_up(ran.err)
        assert any(reject["file"] == "captions.jsonl" for reject in rejects(tmp_path / "curated"))
        assert "changed while" in ran.err
    else:
        assert ran.status == 1
        assert "captions.jsonl" in ran.out


def test_a_data_file_that_is_cut_off_while_it_is_read(tmp_path: Path) -> None:
    """Mapped into memory it would end the process with a bus error; read plainly it would pass for a shorter one."""
    folder = tmp_path / "raw" / "saved"
    folder.mkdir(parents=True)
    rows = 6000
    table = pa.table(
        {
            "query": [f"Is finding {number} present? " * 20 for number in range(rows)],
            "answer": ["yes"] * rows,
            "query_type": ["yes_no"] * rows,
        }
    )
    with pa.OSFile(str(folder / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
        out.write_table(table, max_chunksize=100)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
    (folder / "dataset_info.json").write_text("{}")
    corpus = tmp_path / "curated"
    process = start("ingest", tmp_path / "raw", "-o", corpus)
    assert wait_until((corpus / "samples.partial" / "part-00000.parquet").exists, process)
    os.truncate(folder / "data.arrow", 100_000)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    counts_add_up(err)
    (reject,) = rejects(corpus)
    assert reject["reason"] == "unreadable_file"
    assert run("ingest", tmp_path / "raw", "-o", corpus, "--json").json()["samples"] < rows


def test_a_folder_in_constant_change(tmp_path: Path) -> None:
    """Somebody deletes, cuts off, replaces and moves files all the while; afterwards an ingest sees what is there."""
    raw, corpus = write_raw(tmp_path / "raw", 1500, pictures=40), tmp_path / "curated"
    for number in range(4):
        (raw / f"part{number}").mkdir()
        for picture in range(10):
            (raw / f"part{number}" / f"{picture}.png").write_bytes(distinct(100 * number + picture))
            (raw / f"part{number}" / f"{picture}.txt").write_text(f"Picture {picture} of part {number}.")
    done = threading.Event()
    churn = threading.Thread(target=keep_changing, args=(raw, done))
    churn.start()
    try:
        for _ in range(3):
            ran = run("ingest", raw, "-o", corpus)
            assert ran.status == 0, ran.err
            counts_add_up(ran.err)
            assert run("validate", raw).status in (0, 1)
    finally:
        done.set()
        churn.join()
    assert run("ingest", raw, "-o", corpus).status == 0
    assert run("ingest", raw, "-o", tmp_path / "fresh").status == 0
    assert mended(corpus) == mended(tmp_path / "fresh")


def keep_changing(raw: Path, done: threading.Event) -> None:
    chance = random.Random(7)
    lines = (raw / "captions.jsonl").read_bytes()
    while not done.wait(0.002):
        number = chance.randrange(40)
        picture = raw / f"{number}.png"
        action = chance.randrange(6)
        if action == 0:
            picture.unlink(missing_ok=True)
        elif action == 1:
            picture.write_bytes(distinct(chance.randrange(2000)))
        elif action == 2 and picture.exists():
            os.truncate(picture, picture.stat().st_size // 2)
        elif action == 3:
            (raw / "captions.jsonl").write_bytes(lines[: chance.randrange(len(lines))])
        elif action == 4:
            folder = raw / f"part{number % 4}"
            folder.rename(raw / "moved")
            (raw / "moved").rename(folder)
        else:
            (raw / f"part{number % 4}" / f"{number % 10}.txt").unlink(missing_ok=True)


def test_pictures_that_vanish_or_change_before_they_are_judged_and_exported(tmp_path: Path) -> None:
    raw, corpus = write_raw(tmp_path / "raw", 46, pictures=46), tmp_path / "curated"
    assert run("score", raw, "-o", corpus, "--workers", "1").status == 0
    (raw / "3.png").unlink()
    (raw / "4.png").write_bytes(distinct(4000))
    with Endpoint() as endpoint:
        ran = run("score", corpus, "--judge", "--judge-url", endpoint.url, "--judge-model", "m", "--json")
        assert ran.status == 1
        judged = ran.json()["judge"]
        assert judged["refused"] == {"image_unavailable": 2}
        parts = (judged["scored"], *judged["failed"].values(), 2, *judged["not_asked"].values())
        assert judged["samples"] == sum(parts)
        assert len(endpoint.requests) == judged["scored"], "nothing is asked about a picture that is not there"
    ran = run("export", corpus, "--format", "image-caption", "-o", tmp_path / "export", "--json")
    assert ran.status == 1
    assert ran.json()["skipped"] == {"picture missing or changed": 2}
    sentences = [json.loads(line)["reason"] for line in (tmp_path / "export" / "skipped.jsonl").open()]
    assert any("3.png" in sentence for sentence in sentences)
    assert any("4.png has changed since it was ingested" in sentence for sentence in sentences)


def test_the_hook_is_at_work(tmp_path: Path) -> None:
    """Were ``sitecustomize`` not loaded, the tests above would show nothing."""
    (tmp_path / "file").write_text("x")
    line = f"print(open({str(tmp_path / 'file')!r}).read())"
    ran = subprocess.run(
        ["python3", "-c", line],
        env=environment(**disturbed(file="vanish")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "FileNotFoundError" in ran.stderr
