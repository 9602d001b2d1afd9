"""The corpus directory: where samples, pictures and tables of facts lie on disk."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from curate import __version__
from curate.corpus.files import UserError, atomic_file, exclusive
from curate.corpus.sample import Image, Sample
from curate.corpus.table import from_table

FORMAT_VERSION = 1
Facts = Literal["signals", "verdicts"]


class Step(BaseModel):
    """One thing that was done to a corpus: an entry of the lineage in corpus.json."""

    model_config = ConfigDict(extra="forbid")

    name: str
    """The command: ingest, signals, judge, export."""
    at: str
    """When it finished, UTC."""
    version: str
    """curate's version."""
    parameters: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    """Rows in and out, rejects by reason, tokens, cost."""
    hashes: dict[str, str] = {}
    """SHA-256 of what the step depended on (input listing, rubrics)."""


class CorpusInfo(BaseModel):
    """Content of corpus.json."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["medcurate-corpus"] = "medcurate-corpus"
    format_version: int = FORMAT_VERSION
    roots: list[str] = []
    """Absolute paths of the inputs; ``Image.root`` counts in this list."""
    input_hash: str = ""
    """Listing of all input files with sizes and times, and the options of the ingest that read them."""
    complete: bool = False
    """False while an ingest is under way or was interrupted."""
    steps: list[Step] = []


class Corpus:
    """A corpus on disk. Samples are immutable; facts are tables with one shard for each samples shard."""

    def __init__(self, path: Path, info: CorpusInfo) -> None:
        self.path = path
        self.info = info

    @classmethod
    def open(cls, path: Path) -> Corpus:
        """The corpus in ``path``; UserError when there is none or it is of another version."""
        try:
            info = CorpusInfo.model_validate_json((path / "corpus.json").read_bytes())
        except FileNotFoundError:
            raise UserError(f"{path} is no corpus (it has no corpus.json); make one with: curate score RAW") from None
        except NotADirectoryError:
            raise UserError(f"{path} is a file, not a corpus directory") from None
        except ValidationError as error:
            raise UserError(
                f"{path}/corpus.json is not readable as a corpus description: {error.errors()[0]['msg']}"
            ) from None
        if info.format_version != FORMAT_VERSION:
            raise UserError(
                f"{path} has corpus format {info.format_version}, this curate {__version__} reads {FORMAT_VERSION}: "
                f"ingest the raw data again into a new directory"
            )
        return cls(path, info)

    @classmethod
    def create(cls, path: Path) -> Corpus:
        """The corpus in ``path``, made anew in a missing or empty directory; UserError if it holds anything else."""
        if (path / "corpus.json").exists():
            return cls.open(path)
        if path.exists() and (not path.is_dir() or any(not _ours(entry) for entry in path.iterdir())):
            raise UserError(f"{path} exists and is not a corpus: choose another -o directory, or empty that one")
        corpus = cls(path, CorpusInfo())
        corpus.save()
        return corpus

    def check_complete(self) -> None:
        """Raise UserError unless an ingest has gone through to its end."""
        if not self.info.complete:
            raise UserError(f"the ingest into {self.path} was interrupted: run the same curate ingest or score again")

    def save(self) -> None:
        """Write corpus.json."""
        with atomic_file(self.path / "corpus.json") as file:
            file.write(orjson.dumps(self.info.model_dump(), option=orjson.OPT_INDENT_2))

    def record(self, name: str, **entries: Any) -> None:
        """Add a finished step to the lineage and save corpus.json; a repeat that changed nothing is not added."""
        step = Step(name=name, at=datetime.now(UTC).isoformat(timespec="seconds"), version=__version__, **entries)
        last = next((s for s in reversed(self.info.steps) if s.name == name), None)
        # As JSON: what was read from corpus.json has lists where a new step may have tuples.
        if last is None or last.model_dump_json(exclude={"at"}) != step.model_dump_json(exclude={"at"}):
            self.info.steps.append(step)
        self.save()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other curate processes from writing here, and clear away what a killed one left half-written."""
        with exclusive(self.path):
            self._clear_leftovers()
            try:
                yield
            finally:
                with suppress(OSError):  # of a disk that is full or gone the run has told already
                    self._clear_leftovers()

    def _clear_leftovers(self) -> None:
        shutil.rmtree(self.path / "tmp", ignore_errors=True)
        for folder in (self.path, *(entry for entry in self.path.iterdir() if entry.is_dir())):
            if folder.name != "images":
                for leftover in folder.glob(".*.tmp"):
                    leftover.unlink(missing_ok=True)

    def shards(self) -> list[Path]:
        """The samples shards, in order."""
        return sorted((self.path / "samples").glob("part-*.parquet"))

    def samples(self, shard: Path) -> Iterator[Sample]:
        """The samples of one shard, in order."""
        return from_table(pq.read_table(shard))

    def facts_shard(self, facts: Facts, shard: Path) -> Path:
        """Where the facts about a samples shard are kept: the same file name in another folder."""
        return self.path / facts / shard.name

    def image_path(self, image: Image) -> Path:
        """The file with an image's bytes."""
        if image.stored or image.path is None:
            return stored_image_path(self.path, image.sha256, image.format)
        return Path(self.info.roots[image.root]) / image.path

    def image_bytes(self, image: Image) -> bytes:
        """An image's bytes, checked against its hash; UserError when the file is gone or has changed since ingest."""
        path = self.image_path(image)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; the corpus refers to it: ingest again") from None
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise UserError(f"{path} has changed since it was ingested: ingest again")
        return data


def _ours(entry: Path) -> bool:
    """Whether a file can be there before corpus.json is: the lock, or the start of corpus.json itself."""
    return entry.name == ".lock" or entry.name.startswith(".corpus.json.")


def stored_image_path(corpus: Path, sha256: str, image_format: str) -> Path:
    """Place of a picture in the image store: ``images/ab/cdef….png``."""
    suffix = {"png": "png", "jpeg": "jpg"}[image_format]
    return corpus / "images" / sha256[:2] / f"{sha256[2:]}.{suffix}"


def write_shard(path: Path, table: pa.Table, fingerprint: str) -> None:
    """Write a shard atomically. ``fingerprint`` says what it was made from; see :func:`shard_fingerprint`."""
    with atomic_file(path) as file:
        pq.write_table(table.replace_schema_metadata({"curate.fingerprint": fingerprint}), file, compression="zstd")


def shard_fingerprint(path: Path) -> str | None:
    """What a shard was made from, or None when there is no readable shard."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    fingerprint = metadata.get(b"curate.fingerprint")
    return None if fingerprint is None else fingerprint.decode()
