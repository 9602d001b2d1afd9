"""Sample: the one canonical form of data inside curate."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

Kind = Literal["image_caption", "interleaved", "conversation", "query"]
Role = Literal["document", "system", "user", "assistant"]
Privacy = Literal["unknown", "identified", "deidentified"]

Part = str | int
"""A text, or an image given by its position in ``Sample.images``. A literal ``<image>`` in a text is just text."""


@dataclass(frozen=True, slots=True)
class Image:
    """One picture, always a PNG or JPEG file of at most 8 bits a channel, upright, with a single frame."""

    sha256: str
    """Hash of the file's bytes; the picture's identity everywhere."""
    format: Literal["png", "jpeg"]
    width: int
    height: int
    size: int
    """Bytes of the file."""
    stored: bool
    """True when the file lies in the corpus' own image store, else it is ``path`` under the input's root."""
    root: int
    """Which of the corpus' input roots ``path`` is relative to; -1 when the picture came inside a record."""
    path: str | None
    """The file the picture came from, relative to its root; None when it came inside a record."""
    mtime_ns: int
    """Modification time of that file at ingest; a later change makes the corpus stale. 0 without a file."""
    name: str | None
    """The reference as the record wrote it; None when it came inside the record."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one role says and shows, in order. Captions and documents have a single turn of role ``document``."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a sample came from: a file relative to its input root, and a row counted from 1."""

    file: str
    row: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One immutable sample. ``id`` follows from the content, so equal content is the same sample."""

    kind: Kind
    source: str
    """The subset it came from."""
    license: str | None
    images: tuple[Image, ...]
    turns: tuple[Turn, ...]
    origin: Origin
    answer: tuple[str, ...] = ()
    """References that are equally right (for ``multi_choice``: that belong together); empty unless a query."""
    query_type: str | None = None
    choices: tuple[tuple[str, str], ...] = ()
    """Options of a multiple-choice question as (letter, text)."""
    privacy: Privacy = "unknown"
    """``identified`` for DICOM without a de-identification mark: such samples are never sent to a judge."""
    meta: dict[str, Any] = field(default_factory=dict)
    """Fields of the record that curate does not know; JSON values."""
    wire: dict[str, Any] = field(default_factory=dict)
    """How the record spelled what the sample normalises (a bare string for a list of one, and so on)."""
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            object.__setattr__(self, "id", content_id(self))

    def texts(self, *roles: Role) -> Iterator[str]:
        """The text parts, of the given roles only if any are given."""
        for turn in self.turns:
            if not roles or turn.role in roles:
                yield from (part for part in turn.parts if isinstance(part, str))


def content_id(sample: Sample) -> str:
    """SHA-256 (hex) of the canonical content: kind, turns with image hashes in place, answer, query type, choices.

    Source, licence, meta and origin are left out: the same content found twice is one sample.
    """
    turns = [
        [turn.role, [part if isinstance(part, str) else {"image": sample.images[part].sha256} for part in turn.parts]]
        for turn in sample.turns
    ]
    content = [sample.kind, turns, sample.answer, sample.query_type, sample.choices]
    return hashlib.sha256(orjson.dumps(content)).hexdigest()
