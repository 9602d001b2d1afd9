"""Ingest through ``curate ingest``: real files in, samples and rejects out."""

import base64
import io
import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.cli import curate
from support.ingesting import EXAMPLES, ingest, only_reason, write_lines
from support.pictures import distinct, histology, retina

from curate.corpus import Corpus


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


def test_integers_beyond_64_bits_are_never_rounded(raw: Path) -> None:
    (raw / "a.png").write_bytes(retina())
    line = '{{"image": "a.png", "text": "Caption {n}.", "uid": {uid}}}\n'
    uids = (123456789012345678901234567890, 2**63, 7)
    (raw / "r.jsonl").write_text("".join(line.format(n=n, uid=uid) for n, uid in enumerate(uids)))
    _, samples, rejects = ingest(raw)
    assert [sample.meta["uid"] for sample in samples] == [2**63, 7]
    assert only_reason(rejects) == "integer_too_long"


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
