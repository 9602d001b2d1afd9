"""What a second ingest does: nothing when nothing changed, and only what did when something has."""

import base64
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.cli import curate
from support.ingesting import ingest, write_lines
from support.pictures import histology, retina


def test_a_second_run_reads_nothing_and_a_change_reads_again(raw: Path) -> None:
    (raw / "a.png").write_bytes(retina())
    write_lines(raw / "r.jsonl", {"image": "a.png", "text": "First."})
    first, before, _ = ingest(raw)
    second, _, _ = ingest(raw)
    assert (first["unchanged"], second["unchanged"]) == (False, True)
    (raw / "a.png").write_bytes(histology())
    third, after, _ = ingest(raw)
    assert not third["unchanged"]
    assert before[0].id != after[0].id


def test_a_renamed_picture_is_measured_again(raw: Path) -> None:
    for name in ("a.png", "a.jpg"):
        for leftover in raw.glob("a.*"):
            leftover.unlink()
        (raw / name).write_bytes(retina(image_format="JPEG"))
        (raw / "a.txt").write_text("A fundus photograph.")
        assert curate("score", raw, "-o", raw.parent / "curated").status == 0
        signals = pq.read_table(raw.parent / "curated" / "signals")
        assert signals["image_extension_ok"].to_pylist() == [name == "a.jpg"]


def test_a_picture_that_was_missing_beside_a_single_file_is_found_on_the_next_run(raw: Path) -> None:
    write_lines(raw / "r.jsonl", {"image": "a.png", "text": "Caption."})
    corpus = raw.parent / "curated"
    assert curate("ingest", raw / "r.jsonl", "-o", corpus, "--json").json()["samples"] == 0
    (raw / "a.png").write_bytes(retina())
    assert curate("ingest", raw / "r.jsonl", "-o", corpus, "--json").json()["samples"] == 1
    assert curate("ingest", raw / "r.jsonl", "-o", corpus, "--json").json()["unchanged"]
    (raw / "a.png").write_bytes(histology())
    assert not curate("ingest", raw / "r.jsonl", "-o", corpus, "--json").json()["unchanged"]


def test_a_change_in_a_hidden_folder_is_noticed(raw: Path) -> None:
    (raw / ".cache").mkdir()
    (raw / ".cache" / "a.png").write_bytes(retina())
    write_lines(raw / "r.jsonl", {"image": ".cache/a.png", "text": "Caption."})
    _, before, _ = ingest(raw)
    (raw / ".cache" / "a.png").write_bytes(histology())
    _, after, _ = ingest(raw)
    assert before[0].id != after[0].id


@pytest.mark.parametrize("damage", ["deleted", "zeros"])
def test_a_lost_or_damaged_stored_picture_is_made_again(raw: Path, damage: str) -> None:
    write_lines(raw / "r.jsonl", {"image": base64.b64encode(retina()).decode(), "text": "Caption."})
    ingest(raw)
    (stored,) = (raw.parent / "curated" / "images").rglob("*.png")
    if damage == "deleted":
        stored.unlink()
    else:
        stored.write_bytes(b"\0" * stored.stat().st_size)
        (raw / "touched.md").write_text("so that the input is read again")
    ingest(raw)  # it reads every picture of every sample back
    assert stored.read_bytes() == retina()


def test_a_damaged_leftover_of_an_interrupted_ingest_is_no_dead_end(raw: Path) -> None:
    (raw / "a.png").write_bytes(retina())
    write_lines(raw / "r.jsonl", {"image": "a.png", "text": "Caption."})
    ingest(raw)
    corpus = raw.parent / "curated"
    info = json.loads((corpus / "corpus.json").read_text())
    (corpus / "ingest.partial.json").write_text(json.dumps({"input": info["input_hash"], "finished": False}))
    (corpus / "corpus.json").write_text(json.dumps(info | {"complete": False}))
    (corpus / "samples.partial").mkdir()
    (corpus / "samples.partial" / "part-00000.parquet").write_bytes(b"")
    _, samples, _ = ingest(raw)
    assert len(samples) == 1
