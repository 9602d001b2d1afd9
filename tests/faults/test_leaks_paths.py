"""No reference in data from outside leads to a file outside of the input: not into a corpus, not into an export, not
into a request to a judge, in no spelling and in no record format."""

import base64
import hashlib
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from faults.endpoint_cases import score
from judge.endpoint import Endpoint
from support.cli import curate
from support.ingesting import ingest, write_lines
from support.pictures import distinct

SECRET = distinct(424242, size=64)
MARK = "CONFIDENTIAL-8d1f"
OWN = distinct(1)

SPELLINGS = (
    "../secret.png",
    "./../secret.png",
    "..//secret.png",
    ".././secret.png",
    "sub/../../secret.png",
    "sub/../../raw/../secret.png",
    "nowhere/../../secret.png",
    "{tmp}/secret.png",
    "/{tmp}/secret.png",
    "//{tmp}/secret.png",
    "file://{tmp}/secret.png",
    "file://localhost{tmp}/secret.png",
    "FILE://{tmp}/secret.png",
    "File:///{tmp}/secret.png",
    "file:{tmp}/secret.png",
    "file:../secret.png",
    "file://../secret.png",
    "file:///proc/self/root{tmp}/secret.png",
    "file://{tmp}/%73ecret.png",
    "file://{tmp}/raw/%2e%2e/secret.png",
    "file://{tmp}/raw/..%2fsecret.png",
    "file://{tmp}/secret.png?x",
    "file://{tmp}/secret.png#x",
    "/proc/self/root{tmp}/secret.png",
    "/proc/self/cwd/../secret.png",
    "/proc/self/environ",
    "/proc/self/fd/0",
    "/dev/stdin",
    "/dev/fd/0",
    "%2e%2e/secret.png",
    "..%2fsecret.png",
    "%2e%2e%2fsecret.png",
    "..%252fsecret.png",
    "..%c0%afsecret.png",
    "..\\secret.png",
    "..\0/secret.png",
    "../secret.png\0.png",
    "\0../secret.png",
    "~/secret.png",
    "~root/secret.png",
    "$HOME/secret.png",
    "${{HOME}}/secret.png",
    "`cat ../secret.png`",
    "\uff0e\uff0e/secret.png",
    "\u2025/secret.png",
    "..\uff0fsecret.png",
    "..\u2215secret.png",
    "..\u200b/secret.png",
    "\u202e../secret.png",
    "../SECRET.PNG",
    " ../secret.png",
    "../secret.png ",
    "link.png",
    "LINK.PNG",
    "link-to-link.png",
    "folder-link/secret.png",
    "folder-link/raw/../secret.png",
    "sub/up/secret.png",
    "sub/root{tmp}/secret.png",
    "li\u0301nk.png",
)


def spelled(tmp: Path) -> list[str]:
    return [spelling.format(tmp=tmp) for spelling in SPELLINGS]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder with one honest sample, links that lead out of it, and the secret beside it."""
    folder = tmp_path / "raw"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(SECRET)
    (tmp_path / "secret.txt").write_text(MARK)
    (tmp_path / "secret.jsonl").write_text(json.dumps({"image": "secret.png", "text": MARK}))
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "link-to-link.png").symlink_to("link.png")
    (folder / "l\u00ednk.png").symlink_to("../secret.png")
    (folder / "folder-link").symlink_to(tmp_path)
    (folder / "sub" / "up").symlink_to("../..")
    (folder / "sub" / "root").symlink_to("/")
    (folder / "own.png").write_bytes(OWN)
    write_lines(folder / "honest.jsonl", {"image": "own.png", "text": "An honest picture, number 1 of 1."})
    return folder


Wrap = Callable[[str], dict[str, Any]]
RECORDS: dict[str, Wrap] = {
    "image-caption": lambda ref: {"image": ref, "text": "x"},
    "images": lambda ref: {"image": ["own.png", ref], "text": "y"},
    "interleaved": lambda ref: {"texts": ["a", None], "image_info": [None, {"image": ref}]},
    "conversation": lambda ref: {
        "image": ref,
        "conversations": [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "It."}],
    },
    "query": lambda ref: {"query": "What?", "images": [ref], "answer": "a", "query_type": "exact"},
    "verl": lambda ref: {
        "data_source": "s",
        "prompt": [{"role": "user", "content": "<image>What?"}],
        "images": [{"path": ref}],
        "reward_model": {"style": "rule", "ground_truth": "a"},
        "extra_info": {},
    },
    "sample": lambda ref: {
        "kind": "image_caption",
        "images": [ref],
        "turns": [{"role": "document", "parts": [{"image": 0}, {"text": "z"}]}],
    },
}


def test_no_spelling_in_any_record_leads_out(raw: Path, tmp_path: Path) -> None:
    names = spelled(tmp_path)
    for kind, wrap in RECORDS.items():
        write_lines(raw / f"{kind}.jsonl", *map(wrap, names))
    cells = [{"bytes": None, "path": name} for name in names]
    pq.write_table(pa.table({"image": cells, "text": ["p"] * len(cells)}), raw / "hub.parquet")
    _, samples, rejects = ingest(raw)
    assert [next(sample.texts()) for sample in samples] == ["An honest picture, number 1 of 1."]
    rows = {(reject["file"], reject["row"]) for reject in rejects if reject["row"]}
    assert rows == {(f"{kind}.jsonl", row + 1) for kind in RECORDS for row in range(len(names))} | {
        ("hub.parquet", row + 1) for row in range(len(names))
    }
    nothing_of_the_secret_in(tmp_path / "curated")
    checked = curate("validate", raw, "--report", "json", "--limit", "10000")
    errors = {(Path(found["file"]).name, found["row"]) for found in checked.json()["problems"]}
    assert checked.status == 1
    assert rows <= errors
    nothing_of_the_secret_in(tmp_path / "curated", checked.out + checked.err)


def nothing_of_the_secret_in(folder: Path, *texts: str) -> None:
    """The secret picture, as bytes or base64, and the secret text are in no file and in none of the texts."""
    coded = base64.b64encode(SECRET)[:200]
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert SECRET not in data, path
            assert coded not in data, path
            assert MARK.encode() not in data, path
            assert hashlib.sha256(data).digest() != hashlib.sha256(SECRET).digest(), path
    for text in texts:
        assert MARK not in text
        assert coded.decode() not in text


def test_a_judge_and_an_export_get_the_honest_picture_only(raw: Path, tmp_path: Path) -> None:
    write_lines(raw / "r.jsonl", *(wrap(name) for name in spelled(tmp_path) for wrap in RECORDS.values()))
    ingest(raw)
    corpus = tmp_path / "curated"
    with Endpoint() as endpoint:
        assert score(corpus, endpoint.url).status == 0
        bodies = [json.dumps(request.body) for request in endpoint.requests]
    assert len(bodies) == 1
    assert "data:image/png;base64," in bodies[0]
    ran = curate(
        "export", corpus, "--format", "jsonl", "-o", tmp_path / "out", "--images", "base64", "--min-score", "0"
    )
    assert ran.status == 0, ran.err
    nothing_of_the_secret_in(tmp_path / "out", *bodies)


def test_a_picture_exchanged_for_a_link_after_ingest_is_not_sent(raw: Path, tmp_path: Path) -> None:
    ingest(raw)
    (raw / "own.png").unlink()
    (raw / "own.png").symlink_to(tmp_path / "secret.png")
    with Endpoint() as endpoint:
        ran = score(tmp_path / "curated", endpoint.url)
        assert endpoint.requests == []
    assert ran.status == 1
    assert ran.json()["judge"]["refused"] == {"image_unavailable": 1}
    exported = curate("export", tmp_path / "curated", "--format", "jsonl", "-o", tmp_path / "out", "--images", "base64")
    assert exported.status in (1, 2)
    nothing_of_the_secret_in(tmp_path / "curated")
    nothing_of_the_secret_in(tmp_path / "out") if (tmp_path / "out").exists() else None


def test_sidecars_record_files_and_data_files_that_are_links_are_not_read(raw: Path, tmp_path: Path) -> None:
    (raw / "own.txt").symlink_to(tmp_path / "secret.txt")
    (raw / "records.jsonl").symlink_to(tmp_path / "secret.jsonl")
    (raw / "environment.jsonl").symlink_to("/proc/self/environ")
    for number, name in enumerate(("../../secret.arrow", str(tmp_path / "secret.arrow"), "link.arrow")):
        folder = raw / f"saved{number}"
        folder.mkdir()
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
        (folder / "dataset_info.json").write_text("{}")
        (folder / "link.arrow").symlink_to(tmp_path / "secret.arrow")
    secret = pa.table({"image": [{"bytes": SECRET, "path": None}], "text": [MARK]})
    with pa.OSFile(str(tmp_path / "secret.arrow"), "wb") as file, pa.ipc.new_stream(file, secret.schema) as out:
        out.write_table(secret)
    _, samples, rejects = ingest(raw)
    assert [next(sample.texts()) for sample in samples] == ["An honest picture, number 1 of 1."]
    refused = {reject["file"] for reject in rejects if reject["reason"] in ("outside_root", "missing_file")}
    assert refused >= {"own.txt", "records.jsonl", "environment.jsonl", "saved0", "saved1", "saved2"}
    nothing_of_the_secret_in(tmp_path / "curated")


def test_archives_are_not_unpacked(raw: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(raw / "a.zip", "w") as archive:
        archive.writestr("../escaped.png", SECRET)
        archive.writestr("/escaped.png", SECRET)
    with tarfile.open(raw / "b.tar.gz", "w:gz") as tar:
        for name in ("../escaped.png", "/escaped.png"):
            member = tarfile.TarInfo(name)
            member.size = len(SECRET)
            tar.addfile(member, io.BytesIO(SECRET))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    _, samples, rejects = ingest(raw)
    assert len(samples) == 1
    assert {reject["file"]: reject["reason"] for reject in rejects if reject["file"][0] in "ab"} == {
        "a.zip": "unknown_file_type",
        "b.tar.gz": "no_article",
    }
    assert list(tmp_path.rglob("escaped*")) == []


def test_a_hard_link_is_a_file_of_the_input(raw: Path, tmp_path: Path) -> None:
    # No record can make one, and nothing tells the names of a file apart: who puts it there shares the file.
    os.link(tmp_path / "secret.png", raw / "hard.png")
    write_lines(raw / "r.jsonl", {"image": "hard.png", "text": "shared"}, {"image": "../secret.png", "text": "not"})
    _, samples, rejects = ingest(raw)
    assert {next(sample.texts()) for sample in samples} == {"An honest picture, number 1 of 1.", "shared"}
    assert ("r.jsonl", 2, "outside_root") in {(reject["file"], reject["row"], reject["reason"]) for reject in rejects}


def test_an_export_does_not_write_through_a_link(raw: Path, tmp_path: Path) -> None:
    ingest(raw)
    curate("score", tmp_path / "curated")
    valuable = tmp_path / "valuable"
    valuable.mkdir()
    (valuable / "train.jsonl").write_text("mine")
    (tmp_path / "out").symlink_to(valuable)
    ran = curate("export", tmp_path / "curated", "--format", "jsonl", "-o", tmp_path / "out")
    assert ran.status == 2
    assert (valuable / "train.jsonl").read_text() == "mine"
    assert sorted(path.name for path in valuable.iterdir()) == ["train.jsonl"]
