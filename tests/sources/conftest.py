"""Fixtures of the tests of sources."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sources.validating import Row, turns
from support.pictures import distinct, retina

from curate.corpus import Corpus
from curate.exports import ExportOptions, export
from curate.signals import measure_corpus
from curate.sources.ingest import IngestOptions, ingest


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """An empty folder for raw data; a corpus lies beside it."""
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures 0.png and 1.png."""
    for number in (0, 1):
        (tmp_path / f"{number}.png").write_bytes(distinct(number))
    return tmp_path


@pytest.fixture(scope="session")
def corpus_of_every_kind(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Ten samples of each kind, one of them without a picture where the kind allows it."""
    folder = tmp_path_factory.mktemp("corpus")
    names = [f"{number}.png" for number in range(8)] + ["retina.jpg"]
    text = "The linear gradient runs from the top of the picture to its bottom, with one red dot."
    rows: list[Row] = []
    for name in names:
        rows.append({"image": name, "text": f"{text} It is called {name}."})
        rows.append({"conversations": turns(f"<image>Describe {name} in one sentence.", text), "image": name})
        rows.append({"query": f"Which way does {name} run?", "answer": "down", "query_type": "exact", "images": [name]})
    two = [{"image": names[0]}, None, {"image": names[1]}, None]
    rows.append({"texts": [None, text, None, f"{text} This one too."], "image_info": two})
    rows.append({"conversations": turns("What does a gradient look like?", text)})
    options = ["A gradient from the top to the bottom", "A gradient from left to right"]
    rows.append(
        {"query": "Which are gradients?", "answer": ["A", "B"], "query_type": "multi_choice", "choices": options}
    )
    (folder / "raw").mkdir()
    for number, name in enumerate(names):
        (folder / "raw" / name).write_bytes(retina(160, "JPEG") if name.endswith("jpg") else distinct(number))
    (folder / "raw" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = Corpus.create(folder / "curated")
    with corpus.lock():
        ingest([folder / "raw"], corpus, IngestOptions(), lambda *_: None)
        measure_corpus(corpus)
    return corpus


@pytest.fixture
def exported(corpus_of_every_kind: Corpus, tmp_path: Path) -> Callable[..., Path]:
    """Writes an export of the corpus."""

    def write(name: str, **options: Any) -> Path:
        directory = tmp_path / "exports" / name
        export(corpus_of_every_kind, name, directory, ExportOptions(**options))
        return directory

    return write
