"""From a benchmark's files to its rows: what each asks, and where its pictures are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from curate.corpus import UserError
from curate.select.benchmarks.generic import generic_problem
from curate.select.benchmarks.layouts import Layout, check_columns, chosen_files, layout_named
from curate.select.benchmarks.records import DataFile, columns_of, read_records
from curate.select.benchmarks.tree import Tree

_SPLIT = re.compile(r"(?:^|[/_.-])(train|test|validation|valid|val|dev|testmini)(?=[/_.-]|\d|$)", re.IGNORECASE)
_SPELLINGS = {"val": "validation", "valid": "validation"}


@dataclass(frozen=True, slots=True)
class BenchmarkRow:
    """One question of a benchmark."""

    place: str
    """``file:row``, the file relative to the benchmark's path, the row counted from 1."""
    split: str | None
    """train, validation, test, ...; null where neither the file's name nor the row says."""
    questions: tuple[str, ...]
    """What it asks; several for a conversation, none where the row's question is empty."""


@dataclass
class BenchmarkRows:
    """The rows of a benchmark, and references to their pictures, which are not read yet."""

    name: str
    layout_name: str
    layout: Layout
    split: str | None
    tree: Tree
    files: list[DataFile] = field(default_factory=list)
    rows: list[BenchmarkRow] = field(default_factory=list)
    named: dict[str, list[int]] = field(default_factory=dict)
    """Places of pictures that are files, and the rows (by position) that show them."""
    missing: dict[str, list[int]] = field(default_factory=dict)
    """References for which there is no file, and the rows that make them."""
    embedded: list[DataFile] = field(default_factory=list)
    """Data files with pictures inside."""
    _index: dict[str, int] = field(default_factory=dict)
    _found: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def refer(self, reference: str, file: str, row: int) -> str | None:
        """Note that a row shows a picture by its name; the place of the picture."""
        folder = file.rpartition("/")[0]
        if (folder, reference) not in self._found:
            self._found[folder, reference] = self.tree.find(reference, file, self.layout.folders)
        place = self._found[folder, reference]
        owners = self.missing.setdefault(reference, []) if place is None else self.named.setdefault(place, [])
        owners.append(row)
        return place

    def add(self, row: BenchmarkRow) -> int:
        """Add a row; its position."""
        self._index[row.place] = len(self.rows)
        self.rows.append(row)
        return self._index[row.place]

    def pictures(self) -> Iterator[tuple[str, list[int], Callable[[], bytes]]]:
        """Every picture's place, the rows that show it, and a function that reads its bytes.

        The function raises UnreadableError. Pictures inside data files are yielded once for each row.
        """
        for place, owners in list(self.named.items()):
            yield place, owners, partial(self.tree.read, place)
        for file in self.embedded:
            for number, record in read_records(file):
                index = self._index.get(f"{file.name}:{number}")
                if index is None:
                    continue
                for column, picture in self.layout.pictures(record):
                    if isinstance(picture, bytes):
                        yield f"{file.name}:{number}:{column}", [index], partial(bytes, picture)
                    elif self.layout.embedded:  # a Hub dataset that was saved without its pictures' bytes
                        found = self.refer(picture, file.name, index)
                        if found is not None:
                            yield found, [index], partial(self.tree.read, found)


def read_rows(name: str, path: str, format_name: str | None = None, split: str | None = None) -> BenchmarkRows:
    """The rows of the benchmark at ``path``, of one ``split`` or of all.

    Raises UserError for a name or format that is unknown, a path with no such benchmark, files that are not what they
    say, a split that is not there, rows that ask nothing at all, and named pictures of which not one is there.
    """
    layout_name, layout = layout_named(name, format_name)
    tree = Tree.of(Path(path))
    found = BenchmarkRows(name, layout_name, layout, None if split is None else _spelled(split), tree)
    files = tree.data_files()
    chosen = set(chosen_files(layout, [file.name for file in files]))
    found.files = [file for file in files if file.name in chosen]
    if not found.files:
        there = ", ".join(file.name for file in files[:5]) or ", ".join(tree.names[:5]) or tree.only or "nothing"
        raise UserError(f"{path} holds no data file of {name}; it has {there}. {name} is {layout.origin}")
    splits: set[str] = set()
    for file in found.files:
        _read_file(found, file, splits)
    if not found.rows:
        near = difflib.get_close_matches(found.split or "", splits, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"{path} has no split {split!r} of {name}; {hint}it has {', '.join(sorted(splits))}")
    if not any(row.questions for row in found.rows):
        raise UserError(f"{path}: not one of the {len(found.rows):,} rows of {name} has a question")
    if found.missing and not found.named and not found.embedded:
        raise all_missing(found)
    return found


def all_missing(found: BenchmarkRows) -> UserError:
    """The error for a benchmark that came without its pictures."""
    example = next(iter(found.missing))
    return UserError(
        f"{found.tree.root}: none of the {len(found.missing):,} pictures of {found.name} is there, {example!r} for "
        f"one; put them (or their zip archive) beside its data files, as {found.layout.origin} has them"
    )


def _read_file(found: BenchmarkRows, file: DataFile, splits: set[str]) -> None:
    layout, named_split = found.layout, _split_of(file.name)
    if named_split is not None and layout.split_field is None:
        splits.add(named_split)
        if found.split not in (None, named_split):
            return
    check_columns(found.name, layout, file.shown, columns_of(file))
    inside = bool(layout.embedded)
    for number, record in read_records(file, layout.embedded):
        if found.layout_name == "generic" and (problem := generic_problem(record)):
            raise UserError(f"{file.shown}: row {number} of {found.name} cannot be used: {problem}")
        told = record.get(layout.split_field) if layout.split_field else None
        split = _spelled(told) if isinstance(told, str) and told else named_split
        if split is not None:
            splits.add(split)
            if found.split not in (None, split):
                continue
        questions = tuple(layout.questions(record))
        row = found.add(BenchmarkRow(f"{file.name}:{number}", split, questions))
        for _, picture in layout.pictures(record):
            if isinstance(picture, str):
                found.refer(picture, file.name, row)
            else:
                inside = True
    if inside:
        found.embedded.append(file)


def _split_of(name: str) -> str | None:
    """The split that a file's name tells, or the innermost of its folders."""
    for part in reversed(name.split("/")):
        if match := _SPLIT.search(part):
            return _spelled(match[1])
    return None


def _spelled(split: str) -> str:
    lower = split.strip().lower()
    return _SPELLINGS.get(lower, lower)
