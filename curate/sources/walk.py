"""The walk over an input: every file once, in a fixed order, with its use; and the listing that shows changes."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from curate.sources.article_files import is_markdown
from curate.sources.dicom import is_dicom
from curate.sources.images import sniff
from curate.sources.readers import is_record_file, is_saved_dataset
from curate.sources.rejects import Reject

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff"})
_DICOM = frozenset({".dcm", ".dicom", ".ima"})
_CAPTIONS = (".txt", ".json")
_DATASET_DICT = "dataset_dict.json"
"""Written by ``datasets.DatasetDict.save_to_disk`` beside the folders of its splits; they speak for themselves."""


class Item(NamedTuple):
    """A thing to ingest."""

    use: Literal["records", "dataset", "captioned", "bare_image"]
    """Records of a file; a saved dataset's folder; an image with sidecar texts; an image without any."""
    path: str
    """Relative to the input's root, with forward slashes."""
    sidecars: tuple[str, ...] = ()
    """Files beside an image that describe it, relative to the root."""


def walk(root: Path) -> Iterator[Item | Reject]:
    """Everything under ``root`` (a folder or a single file) in a fixed order; what is of no use comes as a Reject.

    Names that begin with a dot, and ``__MACOSX`` folders, are the system's own and are passed over.
    """
    if root.is_file():
        yield Item("records", root.name) if is_record_file(root.name) else Item("bare_image", root.name)
        return
    yield from _walk_folder(root, "")


def listing_hash(root: Path) -> str:
    """SHA-256 over the names, sizes and modification times of all files: equal while nothing has changed."""
    digest = hashlib.sha256()
    if root.is_file():
        status = root.stat()
        digest.update(f"{root.name}\0{status.st_size}\0{status.st_mtime_ns}".encode(errors="surrogateescape"))
    else:
        for folder, entry in _entries(root, ""):
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:  # it has vanished since the folder was listed
                continue
            if not stat.S_ISDIR(status.st_mode):
                line = f"{folder}{entry.name}\0{status.st_size}\0{status.st_mtime_ns}\n"
                digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _entries(root: Path, folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    try:
        entries = _listed(root / folder)
    except OSError:  # vanished, or not ours to read: the walk tells
        return
    for entry in entries:
        yield folder, entry
        if entry.is_dir(follow_symlinks=False) and not own_output(Path(entry.path)):
            yield from _entries(root, f"{folder}{entry.name}/")


def own_output(folder: Path) -> str | None:
    """What curate itself wrote into ``folder``, "a corpus" or "an export", or None: neither is raw data."""
    for name, what, mark in (
        ("corpus.json", "a corpus", b'"medcurate-corpus"'),
        ("export.json", "an export", b'"corpus"'),
    ):
        try:
            with (folder / name).open("rb") as file:
                if mark in file.read(4096):
                    return what
        except OSError:
            continue
    return None


def _listed(path: Path) -> list[os.DirEntry[str]]:
    with os.scandir(path) as entries:
        kept = [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    return sorted(kept, key=lambda entry: entry.name)


def _walk_folder(root: Path, folder: str) -> Iterator[Item | Reject]:
    try:
        entries = _listed(root / folder)
    except OSError as error:
        yield Reject(folder or ".", 0, "unreadable_file", f"the folder can't be listed: {error.strerror}")
        return
    files: list[str] = []
    folders: list[str] = []
    for entry in entries:
        reject = _unusable(entry, root)
        if reject:
            yield Reject(_printable(folder + entry.name), 0, *reject)
        elif entry.is_dir():
            folders.append(entry.name)
        else:
            files.append(entry.name)
    if is_saved_dataset(frozenset(files)):
        yield Item("dataset", folder.rstrip("/") or ".")
        return
    yield from _group(root, folder, files)
    for name in folders:
        if what := own_output(root / folder / name):
            yield Reject(
                folder + name, 0, "own_output", f"{what} that curate wrote here is left out; it is no raw data"
            )
        else:
            yield from _walk_folder(root, f"{folder}{name}/")


def _unusable(entry: os.DirEntry[str], root: Path) -> tuple[str, str] | None:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "bad_path", "the file's name is not UTF-8"
    if entry.is_symlink():
        return _unusable_link(Path(entry.path), root)
    if not (entry.is_dir() or entry.is_file()):
        return "not_a_regular_file", "a FIFO, socket or device, not a file"
    return None


def _unusable_link(link: Path, root: Path) -> tuple[str, str] | None:
    if link.is_dir():
        return "link_to_folder", "links to folders are not followed; name that folder as an input of its own"
    if not link.exists():
        return "missing_file", "the link leads nowhere"
    if not link.resolve().is_relative_to(root.resolve()):
        return "outside_root", "the link leads out of the input; copy the file in"
    return None if link.is_file() else ("not_a_regular_file", "a link to a FIFO, socket or device")


def _group(root: Path, folder: str, files: list[str]) -> Iterator[Item | Reject]:
    """The files of one folder: images with their sidecars, record files, and the rest as rejects."""
    names = set(files)
    sidecars: set[str] = set()
    pictures: dict[str, tuple[str, ...]] = {}
    for name in files:
        suffix = Path(name).suffix.lower()
        if suffix in _PICTURES | _DICOM or (not suffix and _is_picture(root / folder / name)):
            stems = (Path(name).stem, name)
            beside = (stem + caption for stem in stems for caption in _CAPTIONS)
            pictures[name] = tuple(sidecar for sidecar in dict.fromkeys(beside) if sidecar in names)
            sidecars.update(pictures[name])
    for name in files:
        if name in pictures:
            described = tuple(folder + sidecar for sidecar in pictures[name])
            yield Item("captioned" if described else "bare_image", folder + name, described)
        elif name in sidecars or name == _DATASET_DICT:
            continue
        elif is_record_file(name) or (is_markdown(name) and _shows_pictures(root / folder / name)):
            yield Item("records", folder + name)
        elif name.lower().endswith(".txt"):
            yield Reject(folder + name, 0, "text_without_image", "there is no image of this name beside it")
        elif name.lower().endswith(".pdf"):
            message = "PDF files are not read; convert it with MinerU or docling, whose Markdown and pictures are"
            yield Reject(folder + name, 0, "pdf", message)
        else:
            yield Reject(folder + name, 0, "unknown_file_type", "neither an image nor records nor a caption")


def _is_picture(path: Path) -> bool:
    """Whether a file whose name does not tell is an image or DICOM, by its first bytes."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError:
        return False
    return sniff(head) is not None or is_dicom(head)


def _shows_pictures(path: Path) -> bool:
    """Whether a Markdown file is a document with pictures, and not notes about the data."""
    try:
        data = path.read_bytes()
    except OSError:
        return True  # reading it tells what is wrong
    return (b"](" in data and b"![" in data) or b"<img" in data.lower()


def _printable(path: str) -> str:
    return path.encode(errors="backslashreplace").decode()
