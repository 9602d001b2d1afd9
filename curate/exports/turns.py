"""The turns of many samples at once, as flat Arrow columns: what trainers call messages.

Samples hold parts (a text, or the position of an image); trainers want one string a message with ``<image>`` in it.
Doing this by columns is what keeps an export at the speed of its disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.exports.markers import defuse
from curate.schemas import IMAGE_PLACEHOLDER
from curate.select.utf8 import borders, characters

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

ROLES = ("system", "user", "assistant", "document")
SYSTEM, USER, ASSISTANT, DOCUMENT = range(4)
_ROLES: Final = pa.array(ROLES, pa.string())

# As scalars, made once: handed a Python value, Arrow looks for the dateutil package, each time for half a millisecond.
_PLACEHOLDER: Final = pa.scalar(IMAGE_PLACEHOLDER)
_NOTHING: Final = pa.scalar("")
_ZERO: Final = pa.scalar(0, pa.int32())


@dataclass(frozen=True)
class Turns:
    """The turns of a table of samples, one after the other."""

    rows: int
    """Number of samples."""
    row: Integers
    """For each turn the sample it belongs to."""
    role: npt.NDArray[np.int8]
    """For each turn its position in :data:`ROLES`."""
    content: pa.StringArray
    """For each turn its text, with a placeholder for each image and markers in the text defused."""
    says_something: Flags
    """For each turn whether it has more than images and white space."""
    shows_image: Flags
    """For each turn whether it shows an image."""
    images: pa.StructArray
    """The images that are shown, of all samples, in the order of their placeholders."""
    images_per_row: Integers
    defused: Flags
    """For each sample whether a marker in its text was defused."""

    @cached_property
    def first(self) -> Integers:
        """For each sample the position of its first turn; every sample has one."""
        return np.searchsorted(self.row, np.arange(self.rows))

    @cached_property
    def last(self) -> Integers:
        """For each sample the position of its last turn."""
        return np.searchsorted(self.row, np.arange(self.rows), side="right") - 1

    @cached_property
    def has_system(self) -> Flags:
        """For each sample whether it begins with a system turn."""
        begins: Flags = self.role[self.first] == SYSTEM
        return begins

    def roles(self) -> pa.StringArray:
        """The role of each turn by name."""
        return _ROLES.take(pa.array(self.role))


def flatten_turns(table: pa.Table) -> Turns:
    """The turns of a table of samples (``curate.corpus.SCHEMA``)."""
    rows = table.num_rows
    turn_lists = _column(table, "turns")
    turn_row = np.repeat(np.arange(rows), lengths(turn_lists))
    turns = turn_lists.flatten()
    part_lists = turns.field("parts")
    parts_per_turn = lengths(part_lists)
    part_turn = np.repeat(np.arange(len(turns)), parts_per_turn)
    parts = part_lists.flatten()

    texts, marked = defuse(parts.field("text"))
    pieces = pc.fill_null(texts, _PLACEHOLDER)
    content = pc.binary_join(list_array(parts_per_turn, pieces), _NOTHING)

    is_image = parts.field("image").is_valid().to_numpy(zero_copy_only=False)
    part_row = turn_row[part_turn]
    image_lists = _column(table, "images")
    base = np.cumsum(lengths(image_lists)) - lengths(image_lists)
    position = parts.field("image").drop_null().to_numpy().astype(np.int64) + base[part_row[is_image]]
    return Turns(
        rows=rows,
        row=turn_row,
        role=pc.index_in(turns.field("role"), _ROLES).to_numpy(zero_copy_only=False).astype(np.int8),
        content=content,
        says_something=_any_by(part_turn, _has_words(parts.field("text")), len(turns)),
        shows_image=_any_by(part_turn, is_image, len(turns)),
        images=image_lists.flatten().take(pa.array(position)),
        images_per_row=np.bincount(part_row[is_image], minlength=rows),
        defused=_any_by(part_row, marked.to_numpy(zero_copy_only=False), rows),
    )


def alternates(turns: Turns) -> Flags:
    """For each sample whether, after an optional system turn, user and assistant alternate, the user first."""
    place = np.arange(len(turns.row)) - turns.first[turns.row] - turns.has_system[turns.row]
    expected = np.where(place < 0, SYSTEM, np.where(place % 2 == 0, USER, ASSISTANT))
    broken = _any_by(turns.row, turns.role != expected, turns.rows)
    return ~broken


def system_shows_image(turns: Turns) -> Flags:
    """For each sample whether its system turn shows an image, which the chat templates of trainers leave out."""
    return _any_by(turns.row, turns.shows_image & (turns.role == SYSTEM), turns.rows)


def speaks(turns: Turns, role: int) -> Flags:
    """For each sample whether a turn of the role has more than images and white space in it."""
    return _any_by(turns.row, turns.says_something & (turns.role == role), turns.rows)


def flat_images(table: pa.Table) -> pa.StructArray:
    """The images of a table of samples, one after the other."""
    return _column(table, "images").flatten()


def lengths(lists: pa.ListArray) -> Integers:
    """Length of each list; 0 for null."""
    sizes: Integers = pc.fill_null(pc.list_value_length(lists), _ZERO).to_numpy(zero_copy_only=False).astype(np.int64)
    return sizes


def list_array(sizes: Integers, values: pa.Array) -> pa.ListArray:
    """Lists of the given sizes, cut from ``values`` in order."""
    offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def take(values: pa.Array, positions: Integers) -> pa.Array:
    """Elements of an Arrow array by numpy positions."""
    return values.take(pa.array(positions))


def _column(table: pa.Table, name: str) -> Any:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _has_words(texts: pa.StringArray) -> Flags:
    """Whether each text has more than white space."""
    place = borders(texts)
    filled = np.flatnonzero((np.diff(place) > 0) & texts.is_valid().to_numpy(zero_copy_only=False))
    starts_with_one = characters(texts)[place[filled]] > ord(" ")
    rest = filled[~starts_with_one]  # few: they are looked through
    words = np.zeros(len(texts), dtype=bool)
    words[filled[starts_with_one]] = True
    words[rest] = pc.match_substring_regex(take(texts, rest), r"\S").to_numpy(zero_copy_only=False)
    return words


def _any_by(group: Integers, flags: Flags, groups: int) -> Flags:
    """For each group whether any of its members is flagged."""
    found = np.zeros(groups, dtype=bool)
    found[group[flags]] = True
    return found
