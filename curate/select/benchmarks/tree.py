"""The files of a benchmark, in a folder and in the zip archives beside them; nothing outside is ever read.

A row's reference to a picture is only looked up, never followed: what it names must be in the folder or in an archive,
and archives are never unpacked to disk. So a reference or an archive member with ``..`` or an absolute path leads to
nothing.
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from curate.corpus import UserError
from curate.select.benchmarks.records import SUFFIXES, DataFile

MAX_PICTURE_BYTES = 512 * 2**20
"""Larger pictures count as unreadable."""
_MAX_MEMBERS = 5_000_000


class UnreadableError(Exception):
    """A picture that is there and cannot be read; the message says why."""


@dataclass
class Tree:
    """Names of all files under a benchmark's path, and ways to read them."""

    root: Path
    only: str | None
    """The data file, when the path is that of a file; pictures are looked up in its folder then."""
    names: list[str] = field(default_factory=list)
    """Files in the folder, relative, in order; empty when the path is that of a file."""
    archives: dict[str, zipfile.ZipFile] = field(default_factory=dict)
    """Zip archives by their relative name."""
    _members: dict[str, dict[str, str]] = field(default_factory=dict)
    """For each archive its safe members' names in plain spelling, and as the archive spells them."""
    _tails: dict[int, dict[str, list[str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, path: Path) -> Tree:
        """The files at ``path``: a folder, a data file, or a zip archive. Raises UserError when there is none."""
        if path.is_dir():
            tree = cls(path, None, sorted(_walk(path)))
        elif path.is_file():
            tree = cls(path.parent, path.name)
        else:
            raise UserError(f"there is no benchmark at {path}: no such file or folder")
        beside = sorted(entry.name for entry in path.parent.glob("*.zip")) if tree.only else tree.names
        for name in beside:
            if name.lower().endswith(".zip") and _is_file(tree.root / name):
                tree._add_archive(name, needed=name == tree.only)
        return tree

    def _add_archive(self, name: str, *, needed: bool) -> None:
        try:
            archive = zipfile.ZipFile(self.root / name)
        except (zipfile.BadZipFile, OSError) as error:
            if needed or not self.only:
                raise UserError(f"{self.root / name} is no readable zip archive: {error}") from None
            return  # of another benchmark in the same folder, perhaps
        members = archive.infolist()
        if len(members) > _MAX_MEMBERS:
            raise UserError(f"{self.root / name} has {len(members):,} members; the limit is {_MAX_MEMBERS:,}")
        plain = {_plain(info.filename): info.filename for info in members if not info.is_dir()}
        self.archives[name] = archive
        self._members[name] = {safe: spelled for safe, spelled in plain.items() if safe is not None}

    def data_files(self) -> list[DataFile]:
        """Files that may hold rows, in order."""
        if self.only is not None and not self.only.lower().endswith(".zip"):
            return [DataFile(self.only, self.root / self.only)] if self.only.lower().endswith(SUFFIXES) else []
        names = [name for name in self.names if name.lower().endswith(SUFFIXES) and _is_file(self.root / name)]
        files = [DataFile(name, self.root / name) for name in names]
        for name in self.archives if self.only is None else [self.only]:
            files += [
                DataFile(f"{name}/{safe}", self.root / name, self.archives[name], spelled)
                for safe, spelled in sorted(self._members[name].items())
                if safe.lower().endswith((".json", ".jsonl", ".csv"))
            ]
        return files

    def find(self, reference: str, data_file: str, folders: tuple[str, ...]) -> str | None:
        """The place of the picture that a row of ``data_file`` names, or None when it is missing.

        Looked for beside the data file and in the folders above it, there also in ``folders`` (where the layout keeps
        pictures); then anywhere in the folder and its archives, where names end in the reference.
        """
        plain = _plain(reference.removeprefix("./"))
        if plain is None:
            return None
        above = [str(folder) for folder in PurePosixPath(data_file).parents]
        for base in above:
            for folder in ("", *folders):
                place = str(PurePosixPath(base, folder, plain))
                if _is_file(self.root / place):
                    return place
        found = self._by_tail(len(PurePosixPath(plain).parts)).get(plain, [])
        return next((place for place in found if self._split(place) or _is_file(self.root / place)), None)

    def _by_tail(self, length: int) -> dict[str, list[str]]:
        """All places by the last ``length`` parts of their names; the shortest, then first in order, come first."""
        if length not in self._tails:
            tails: dict[str, list[str]] = defaultdict(list)
            places = list(self.names)
            for name, members in self._members.items():
                places += [f"{name}/{safe}" for safe in members]
            for place in sorted(places, key=lambda place: (place.count("/"), place)):
                tails["/".join(place.split("/")[-length:])].append(place)
            self._tails[length] = tails
        return self._tails[length]

    def status(self, place: str) -> tuple[int, int]:
        """Size and time of the file (of a member: of its archive), to notice that it has changed."""
        path = self.root / (self._split(place) or (place, ""))[0]
        try:
            found = path.stat()
        except OSError:
            return (-1, -1)
        return (found.st_size, found.st_mtime_ns)

    def read(self, place: str) -> bytes:
        """A picture's bytes. Raises UnreadableError with the reason."""
        try:
            if (member := self._split(place)) is None:
                with (self.root / place).open("rb") as file:
                    data = file.read(MAX_PICTURE_BYTES + 1)
            else:
                with self.archives[member[0]].open(member[1]) as packed:
                    data = packed.read(MAX_PICTURE_BYTES + 1)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
            raise UnreadableError(" ".join(str(error).split())[:200] or type(error).__name__) from None
        except Exception as error:  # noqa: BLE001 - zlib, bz2 and lzma each have errors of their own
            raise UnreadableError(f"the archive is damaged: {type(error).__name__}") from None
        if len(data) > MAX_PICTURE_BYTES:
            raise UnreadableError(f"it has more than {MAX_PICTURE_BYTES // 2**20} MiB")
        return data

    def _split(self, place: str) -> tuple[str, str] | None:
        """Archive and member (as the archive spells it) of a place in an archive."""
        for name, members in self._members.items():
            if place.startswith(f"{name}/") and (spelled := members.get(place[len(name) + 1 :])) is not None:
                return name, spelled
        return None


def _walk(root: Path) -> list[str]:
    """Files under ``root``, links to files among them: the Hub's cache is made of these. Links to folders are not
    followed, so that no circle is walked."""
    found: list[str] = []
    for folder, inner, files in os.walk(root, onerror=_unreadable):
        inner[:] = sorted(name for name in inner if not name.startswith(".") and name != "__MACOSX")
        base = Path(folder).relative_to(root).as_posix()
        found += [name if base == "." else f"{base}/{name}" for name in files if not name.startswith(".")]
    return found


def _unreadable(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be read: {error.strerror}") from None


def _plain(name: str) -> str | None:
    """A relative path in plain spelling, or None for one that is absolute, leads upwards, or is no path."""
    name = name.replace("\\", "/")
    if not name or "\0" in name or name.startswith("/") or len(name) > 4096 or name[1:2] == ":":
        return None
    parts = PurePosixPath(name).parts
    return None if ".." in parts or not parts else "/".join(parts)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False
