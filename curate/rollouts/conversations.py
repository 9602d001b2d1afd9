"""Responses as conversation records, in a folder that ``curate ingest`` reads."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import orjson

from curate.corpus import Corpus, Image, Sample, UserError, exclusive, sync_directory
from curate.rewards.prompt import defused
from curate.rollouts.question import Question

RECORDS: Final = "responses.jsonl"
_MARKER: Final = ".curate-respond"
_OURS: Final = frozenset({RECORDS, "images", _MARKER, ".lock"})
_WRITTEN: Final = frozenset(
    {"conversations", "image", "images", "source", "license", "parent", "query_type", "derived"}
)
_SPEAKER: Final = {"system": "system", "user": "human", "assistant": "gpt"}


class Writer:
    """Writes records and their pictures."""

    def __init__(self, corpus: Corpus, folder: Path, file: IO[bytes]) -> None:
        self._corpus = corpus
        self._folder = folder
        self._file = file

    def add(self, sample: Sample, question: Question, response: str, derived: dict[str, Any], *, source: str) -> None:
        """Write a record of the subset ``source``. It keeps the sample's own fields, patient and study among them.

        Raises UserError when a picture is gone or has changed.
        """
        turns = [{"from": _SPEAKER[message.role], "value": message.content} for message in question.messages]
        turns.append({"from": "gpt", "value": defused(response)})
        record: dict[str, Any] = {name: value for name, value in sample.meta.items() if name not in _WRITTEN}
        record["conversations"] = turns
        if question.images:
            record["image"] = [self._picture(image) for image in question.images]
        record["source"] = source
        if sample.license is not None:
            record["license"] = sample.license
        record |= {"parent": sample.id, "query_type": sample.query_type, "derived": derived}
        self._file.write(orjson.dumps(record) + b"\n")

    def _picture(self, image: Image) -> str:
        suffix = {"png": "png", "jpeg": "jpg"}[image.format]
        name = f"images/{image.sha256[:2]}/{image.sha256[2:]}.{suffix}"
        path = self._folder / name
        if not path.exists():
            data = self._corpus.image_bytes(image)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return name


@contextmanager
def written_folder(corpus: Corpus, target: Path) -> Iterator[Writer]:
    """A folder that takes the place of ``target`` when the block ends, and vanishes when it fails.

    Raises UserError when ``target`` holds something that this did not write, or cannot be written.
    """
    target = target.resolve()
    check_folder(target)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with exclusive(partial):
            _clear(partial)
            try:
                with (partial / RECORDS).open("wb") as file:
                    yield Writer(corpus, partial, file)
                (partial / _MARKER).touch()
                check_folder(target)
                (partial / ".lock").unlink()
                shutil.rmtree(target, ignore_errors=True)
                partial.rename(target)
                sync_directory(target.parent)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
    except OSError as error:
        raise UserError(f"{error.filename or target}: {error.strerror}; the answers are in the journal") from None


def check_folder(target: Path) -> None:
    """Raise UserError unless ``target`` is missing, empty, or an earlier output with nothing added to it."""
    if not target.exists():
        return
    if not target.is_dir():
        raise UserError(f"{target} is a file; choose another -o directory")
    names = {entry.name for entry in target.iterdir()}
    if names and (_MARKER not in names or names - _OURS):
        raise UserError(f"{target} holds something that curate respond did not write; choose another -o directory")


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != ".lock":
            entry.unlink()
