"""Ingest through ``curate ingest``: real files in, samples and rejects out."""

import base64
import io
import json
import os
import shutil
import socket
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.cli import curate
from support.pictures import distinct, histology, retina

from curate.corpus import Corpus, Sample

EXAMPLES = Path(__file__).parents[2] / "examples" / "raw"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def write_lines(path: Path, *records: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def ingest(raw: Path, *options: str | Path) -> tuple[dict[str, Any], list[Sample], list[dict[str, Any]]]:
    corpus = raw.parent / "curated"
    ran = curate("ingest", raw, "-o", corpus, "--json", *options)
    assert ran.status in (0, 1), ran.err
    counts = ran.json()
    opened = Corpus.open(corpus)
    samples = [sample for shard in opened.shards() for sample in opened.samples(shard)]
    rejects = [json.loads(line) for part in sorted((corpus / "rejects").glob("*.jsonl")) for line in part.open()]
    assert counts["rows"] == len(samples) + len(rejects)
    assert counts["samples"] == len(samples)
    for sample in samples:
        for image in sample.images:
            opened.image_bytes(image)
    return counts, samples, rejects


def only_reason(rejects: list[dict[str, Any]]) -> str:
    assert len(rejects) == 1, rejects
    return str(rejects[0]["reason"])


def test_the_examples_give_what_their_readme_promises(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "raw")
    counts, samples, rejects = ingest(tmp_path / "raw")
    assert counts["duplicates"] == 1
    assert counts["rejects"] == {
        "answer_not_in_choices": 1,
        "missing_image": 1,
        "outside_root": 1,
        "placeholder_count": 1,
        "truncated_image": 1,
    }
    assert {sample.source for sample in samples} >= {"radiology", "dicom", "vqa", "instructions", "case-reports"}
    assert {sample.kind for sample in samples} == {"image_caption", "interleaved", "conversation", "query"}
    assert {(r["file"], r["row"]) for r in rejects if r["reason"] == "duplicate"} == {
        ("pathology-captions/captions.jsonl", 8)
    }


def test_sidecars(raw: Path) -> None:
    (raw / "set").mkdir()
    for number, name in enumerate(("txt", "json", "both", "list", "query", "none")):
        (raw / "set" / f"{name}.png").write_bytes(distinct(number))
    (raw / "set/txt.txt").write_bytes("\ufeffA caption.\r\n".encode())
    (raw / "set/json.json").write_text('{"text": "From JSON.", "license": "CC0", "site": 3}')
    (raw / "set/both.txt").write_text("Text from the txt file.")
    (raw / "set/both.json").write_text('{"view": "PA"}')
    (raw / "set/list.json").write_text('[{"text": "First."}, {"text": "Second."}]')
    (raw / "set/query.json").write_text('{"query": "Which?", "answer": "a", "query_type": "exact"}')
    (raw / "set/lonely.txt").write_text("No image here.")
    (raw / "set/README.md").write_text("# notes")
    _, samples, rejects = ingest(raw)
    texts = {next(sample.texts()): sample for sample in samples}
    assert set(texts) == {"A caption.", "From JSON.", "Text from the txt file.", "First.", "Second.", "Which?"}
    assert texts["From JSON."].license == "CC0"
    assert texts["From JSON."].meta == {"site": 3}
    assert texts["Text from the txt file."].meta == {"view": "PA"}
    assert all(len(sample.images) == 1 and sample.source == "set" for sample in samples)
    assert {(reject["file"], reject["reason"]) for reject in rejects} == {
        ("set/none.png", "image_without_text"),
        ("set/lonely.txt", "text_without_image"),
        ("set/README.md", "unknown_file_type"),
    }


def test_mixed_formats_sources_and_mapped_columns(raw: Path) -> None:
    (raw / "a.png").write_bytes(retina())
    (raw / "b.png").write_bytes(histology())
    write_lines(
        raw / "one" / "mixed.jsonl",
        {"filename": "../a.png", "caption": "A retina."},
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
    )
    pq.write_table(
        pa.table({"image": [{"bytes": histology(), "path": None}], "text": ["A slide."], "source": ["named"]}),
        raw / "two.parquet",
    )
    (raw / "three.csv").write_text('image,text\n"[""a.png"", ""b.png""]",Two pictures.\n')
    _, samples, rejects = ingest(raw, "--map", "image=filename", "--map", "text=caption")
    assert rejects == []
    assert {(sample.kind, sample.source, len(sample.images)) for sample in samples} == {
        ("image_caption", "one", 1),
        ("conversation", "one", 0),
        ("image_caption", "named", 1),
        ("image_caption", "raw", 2),
    }


def test_saved_hugging_face_dataset(raw: Path) -> None:
    """The layout that ``datasets.Dataset.save_to_disk`` writes: state.json and Arrow streams."""
    folder = raw / "saved"
    folder.mkdir()
    table = pa.table(
        {"image": [{"bytes": retina(), "path": None}, {"bytes": histology(), "path": None}], "text": ["R.", "H."]}
    )
    with (
        pa.OSFile(str(folder / "data-00000-of-00001.arrow"), "wb") as file,
        pa.ipc.new_stream(file, table.schema) as out,
    ):
        out.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    (folder / "dataset_info.json").write_text("{}")
    _, samples, rejects = ingest(raw)
    assert rejects == []
    assert [(sample.origin.file, sample.origin.row) for sample in samples] == [("saved", 1), ("saved", 2)]


def test_pictures_that_trainers_would_misread_are_rendered_once(raw: Path) -> None:
    ramp = np.linspace(1000, 5000, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(raw / "deep.png")
    sideways = Image.open(io.BytesIO(retina(96))).crop((0, 0, 90, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(raw / "sideways.jpg", exif=exif)
    sideways.save(raw / "scan.tif")
    for name in ("deep", "sideways", "scan"):
        (raw / f"{name}.txt").write_text(f"Caption of {name}.")
    _, samples, rejects = ingest(raw)
    assert rejects == []
    corpus = Corpus.open(raw.parent / "curated")
    pictures = {s.images[0].path: Image.open(io.BytesIO(corpus.image_bytes(s.images[0]))) for s in samples}
    assert all(sample.images[0].stored for sample in samples)
    deep = np.asarray(pictures["deep.png"])
    assert (deep.dtype, deep.min(), deep.max()) == (np.uint8, 0, 255)
    assert pictures["sideways.jpg"].size == (60, 90)
    assert pictures["scan.tif"].size == (90, 60)


def test_ordinary_pictures_stay_where_they_are(raw: Path) -> None:
    (raw / "a.png").write_bytes(retina())
    (raw / "a.txt").write_text("Caption.")
    _, samples, _ = ingest(raw)
    assert not samples[0].images[0].stored
    assert not (raw.parent / "curated" / "images").exists()


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("../secret.png", "outside_root"),
        ("../missing.png", "outside_root"),
        ("sub/../../secret.png", "outside_root"),
        ("{tmp}/secret.png", "outside_root"),
        ("file://{tmp}/secret.png", "outside_root"),
        ("link.png", "outside_root"),
        ("folder-link/secret.png", "outside_root"),
        ("/proc/self/environ", "outside_root"),
        ("https://example.org/a.png", "remote_image"),
        ("s3://bucket/a.png", "remote_image"),
        ("a\0.png", "bad_path"),
        ("%2e%2e/secret.png", "missing_image"),
        ("..\\secret.png", "missing_image"),
        ("pipe", "not_a_regular_file"),
        ("sub", "not_a_regular_file"),
        ("nowhere.png", "missing_image"),
        ("data:image/png;base64,@@@", "invalid_base64"),
        ("empty.png", "empty_image"),
        ("page.png", "not_an_image"),
        ("cut.png", "truncated_image"),
        ("cut.jpg", "truncated_image"),
        ("bomb.png", "too_large"),
        ("moving.gif", "several_frames"),
    ],
)
def test_references_that_must_not_become_pictures(raw: Path, tmp_path: Path, reference: str, reason: str) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes(retina())
    (raw / "sub").mkdir()
    (raw / "link.png").symlink_to(outside)
    (raw / "folder-link").symlink_to(tmp_path)
    os.mkfifo(raw / "pipe")
    (raw / "empty.png").write_bytes(b"")
    (raw / "page.png").write_text("<!DOCTYPE html><html>404</html>")
    (raw / "cut.png").write_bytes(retina()[:-2000])
    (raw / "cut.jpg").write_bytes(retina(image_format="JPEG")[:-500])
    (raw / "bomb.png").write_bytes(png_header(60_000, 60_000))
    frames = [Image.new("L", (8, 8), value) for value in (0, 255)]
    frames[0].save(raw / "moving.gif", save_all=True, append_images=frames[1:])
    write_lines(raw / "records.jsonl", {"image": reference.format(tmp=tmp_path), "text": "A picture."})
    _, samples, rejects = ingest(raw)
    assert samples == []
    assert [reject["reason"] for reject in rejects if reject["file"] == "records.jsonl"] == [reason]


def png_header(width: int, height: int) -> bytes:
    """A tiny valid PNG that claims to be enormous."""
    import struct
    import zlib

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_an_allowed_root_opens_exactly_that_folder(raw: Path, tmp_path: Path) -> None:
    for name in ("shared", "private"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(distinct(len(name)))
    write_lines(
        raw / "r.jsonl", *({"image": f"{tmp_path}/{name}/a.png", "text": name} for name in ("shared", "private"))
    )
    _, samples, rejects = ingest(raw, "--allow-root", tmp_path / "shared")
    assert [next(sample.texts()) for sample in samples] == ["shared"]
    assert only_reason(rejects) == "outside_root"


def test_special_files_and_links_in_the_folder_are_told_and_left_alone(raw: Path, tmp_path: Path) -> None:
    os.mkfifo(raw / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(raw / "s.json"))
    (raw / "dangling.jsonl").symlink_to(tmp_path / "nothing")
    (tmp_path / "other.jsonl").write_text('{"image": "x", "text": "y"}')
    (raw / "out.jsonl").symlink_to(tmp_path / "other.jsonl")
    _, samples, rejects = ingest(raw)
    assert samples == []
    assert {(reject["file"], reject["reason"]) for reject in rejects} == {
        ("pipe.jsonl", "not_a_regular_file"),
        ("s.json", "not_a_regular_file"),
        ("dangling.jsonl", "missing_file"),
        ("out.jsonl", "outside_root"),
    }


@pytest.mark.parametrize(("on_disk", "in_record"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_in_either_unicode_form_are_found(raw: Path, on_disk: str, in_record: str) -> None:
    name = "échographie.png"
    (raw / unicodedata.normalize(on_disk, name)).write_bytes(retina())  # type: ignore[arg-type]
    write_lines(raw / "r.jsonl", {"image": unicodedata.normalize(in_record, name), "text": "An image."})  # type: ignore[arg-type]
    _, samples, rejects = ingest(raw)
    assert (len(samples), rejects) == (1, [])


def test_inline_pictures_go_to_the_store_once(raw: Path) -> None:
    encoded = base64.b64encode(retina(image_format="JPEG")).decode()
    write_lines(
        raw / "r.jsonl",
        {"image": encoded, "text": "Plain base64."},
        {"image": f"data:image/jpeg;base64,{encoded}", "text": "A data URI."},
        {"texts": [None, "A slot."], "image_info": [{"image_base64": encoded}, None]},
    )
    _, samples, rejects = ingest(raw)
    assert (len(samples), rejects) == (3, [])
    assert len({sample.images[0].sha256 for sample in samples}) == 1
    assert len(list((raw.parent / "curated" / "images").rglob("*.jpg"))) == 1


def test_same_content_is_one_sample_wherever_it_lies(raw: Path) -> None:
    for folder in ("a", "b"):
        (raw / folder).mkdir()
        (raw / folder / f"{folder}.png").write_bytes(retina())
        (raw / folder / f"{folder}.txt").write_text("The same caption.")
    counts, samples, rejects = ingest(raw)
    assert (counts["duplicates"], len(samples)) == (1, 1)
    assert samples[0].id in rejects[0]["message"]


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


def test_many_rows_fill_several_shards_and_ids_do_not_depend_on_it(raw: Path) -> None:
    (raw / "a.png").write_bytes(retina())
    write_lines(raw / "r.jsonl", *({"image": "a.png", "text": f"Caption {n % 9000}."} for n in range(9500)))
    counts, samples, _ = ingest(raw)
    assert (counts["samples"], counts["duplicates"]) == (9000, 500)
    corpus = Corpus.open(raw.parent / "curated")
    assert len(corpus.shards()) == 2
    assert len({sample.id for sample in samples}) == 9000


@pytest.mark.parametrize("what", ["file in the way", "other things inside", "the input itself"])
def test_an_output_that_is_something_else(raw: Path, tmp_path: Path, what: str) -> None:
    (raw / "a.png").write_bytes(retina())
    target = tmp_path / "out"
    if what == "file in the way":
        target.write_text("mine")
    elif what == "other things inside":
        target.mkdir()
        (target / "thesis.txt").write_text("mine")
    else:
        target = raw
    ran = curate("ingest", raw, "-o", target)
    assert ran.status == 2
    assert str(target) in ran.err.replace("\n", "")
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        {"raw", "a.png", *({"out"} if target != raw else set()), *({"thesis.txt"} if "other" in what else set())}
    )


def test_nothing_readable_is_a_failure(raw: Path) -> None:
    (raw / "notes.md").write_text("nothing here")
    ran = curate("ingest", raw, "-o", raw.parent / "curated")
    assert ran.status == 1
    assert "Nothing could be read" in ran.err


@pytest.mark.parametrize(("alpha", "rendered"), [(255, False), (0, True)])
def test_transparent_pictures_are_put_on_white_paper(raw: Path, alpha: int, rendered: bool) -> None:
    picture = Image.open(io.BytesIO(retina())).convert("RGBA")
    picture.putpixel((5, 5), (10, 20, 30, alpha))
    picture.save(raw / "a.png")
    (raw / "a.txt").write_text("Caption.")
    _, samples, _ = ingest(raw)
    image = samples[0].images[0]
    assert image.stored is rendered
    shown = Image.open(io.BytesIO(Corpus.open(raw.parent / "curated").image_bytes(image)))
    assert shown.convert("RGB").getpixel((5, 5)) == ((255, 255, 255) if rendered else (10, 20, 30))


@pytest.mark.parametrize("depth", [100, 300, 600, 1000, 2000])
@pytest.mark.parametrize("name", ["r.jsonl", "r.json"])
def test_deeply_nested_extra_fields_are_kept_or_rejected_but_never_crash(raw: Path, depth: int, name: str) -> None:
    (raw / "a.png").write_bytes(retina())
    nested = "[" * depth + "]" * depth
    record = f'{{"image": "a.png", "text": "Caption.", "extra": {nested}}}'
    (raw / name).write_text(record if name == "r.jsonl" else f"[{record}]")
    counts, _, _ = ingest(raw)
    assert counts["rows"] >= 1


def test_infinite_answers_from_parquet_are_rejected(raw: Path) -> None:
    table = pa.table({"query": ["How long?"], "answer": [float("nan")], "query_type": ["numeric"]})
    pq.write_table(table, raw / "q.parquet")
    _, samples, rejects = ingest(raw)
    assert samples == []
    assert rejects[0]["file"] == "q.parquet"


def test_a_saved_dataset_dict_is_its_splits(raw: Path) -> None:
    for split in ("train", "test"):
        folder = raw / "saved" / split
        folder.mkdir(parents=True)
        table = pa.table({"image": [{"bytes": retina(), "path": None}], "text": [f"In {split}."]})
        with pa.OSFile(str(folder / "data.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
            out.write_table(table)
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
        (folder / "dataset_info.json").write_text("{}")
    (raw / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    _, samples, rejects = ingest(raw)
    assert (len(samples), rejects) == (2, [])


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
    ingest(raw)


def test_a_saved_dataset_must_not_lead_out_of_its_folder(raw: Path, tmp_path: Path) -> None:
    secret = pa.table({"image": [{"bytes": retina(), "path": None}], "text": ["SECRET"]})
    with pa.OSFile(str(tmp_path / "secret.arrow"), "wb") as file, pa.ipc.new_stream(file, secret.schema) as out:
        out.write_table(secret)
    for name in ("link", "pipe"):
        folder = raw / name
        folder.mkdir()
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}))
        (folder / "dataset_info.json").write_text("{}")
    (raw / "link" / "data.arrow").symlink_to(tmp_path / "secret.arrow")
    os.mkfifo(raw / "pipe" / "data.arrow")
    _, samples, rejects = ingest(raw)
    assert samples == []
    assert {(r["file"], r["reason"]) for r in rejects if r["row"] == 0 and r["file"] in ("link", "pipe")} == {
        ("link", "outside_root"),
        ("pipe", "not_a_regular_file"),
    }


def test_mapped_columns_are_read_as_what_they_stand_for(raw: Path) -> None:
    pq.write_table(pa.table({"img": [{"bytes": retina(), "path": None}], "text": ["From Parquet."]}), raw / "a.parquet")
    (raw / "b.csv").write_text('q,opts,answer,query_type\nWhich?,"[""x"", ""y""]",A,choice\n')
    encoded = base64.b64encode(histology()).decode()
    write_lines(raw / "c.jsonl", {"img": encoded, "text": "From JSON."})
    mapped = ("image=img", "query=q", "choices=opts")
    _, samples, rejects = ingest(raw, *(option for pair in mapped for option in ("--map", pair)))
    assert rejects == []
    assert len(samples) == 3
    assert all(sample.meta == {} for sample in samples)


def test_a_record_cannot_choose_the_source_of_identified_pictures(raw: Path) -> None:
    shutil.copytree(EXAMPLES / "dicom", raw / "clinic")
    for caption in (raw / "clinic").glob("*.txt"):
        caption.unlink()
    write_lines(raw / "clinic" / "r.jsonl", {"image": "ct-thorax-crop.dcm", "text": "CT.", "source": "public"})
    _, samples, _ = ingest(raw)
    assert [(sample.privacy, sample.source) for sample in samples] == [("identified", "clinic")]


def test_integers_beyond_64_bits_are_never_rounded(raw: Path) -> None:
    (raw / "a.png").write_bytes(retina())
    line = '{{"image": "a.png", "text": "Caption {n}.", "uid": {uid}}}\n'
    uids = (123456789012345678901234567890, 2**63, 7)
    (raw / "r.jsonl").write_text("".join(line.format(n=n, uid=uid) for n, uid in enumerate(uids)))
    _, samples, rejects = ingest(raw)
    assert [sample.meta["uid"] for sample in samples] == [2**63, 7]
    assert only_reason(rejects) == "not_json"


def test_a_file_without_suffix_is_an_image_only_if_it_is_one(raw: Path) -> None:
    (raw / "scan").write_bytes(retina())
    (raw / "scan.txt").write_text("A fundus photograph.")
    (raw / "train").write_text("just a note")
    (raw / "train.json").write_text(
        '[{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}]}]'
    )
    _, samples, rejects = ingest(raw)
    assert sorted(sample.kind for sample in samples) == ["conversation", "image_caption"]
    assert only_reason(rejects) == "unknown_file_type"


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
