"""What an ingest could not read: counted by reason and, as far as files tell, by subset."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

import orjson
import polars as pl

from curate.corpus import Corpus

UNKNOWN = ""
"""Stands for the subset of a reject that cannot be told."""

_EXAMPLES = 2
_RECORDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".yaml", ".yml")
_TEXTS = (".txt", ".md", ".markdown", ".xml", ".nxml", ".html", ".htm")
_PICTURES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_NAMED = frozenset({*_RECORDS, *_TEXTS, *_PICTURES})
"""How files end whose names are shown. Any other may be DICOM (``SMITH_JACK.001``), and so be called like a patient."""
_COMPRESSED = frozenset({".gz", ".zst"})
_DICOM = re.compile(r"(\.dcm|\.dicom|\.ima|\.img|\.\d+)?", re.IGNORECASE)
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")
_SUFFIX = re.compile(r"\.\w{1,8}")


@dataclass
class Rejected:
    """Rows that did not become samples, those that were there already among them."""

    by_reason: Counter[str] = field(default_factory=Counter)
    by_file: Counter[str] = field(default_factory=Counter)
    first: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """For each reason the first few as (file, sentence)."""
    unreadable: int = 0
    """Lines of the rejects that are no rejects."""
    sources: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Subsets of the samples that come from a file or folder; filled by :meth:`learn`."""
    identified: set[str] = field(default_factory=set)
    """Files and folders with samples that may identify someone."""

    @property
    def total(self) -> int:
        """How many."""
        return self.by_reason.total()

    @property
    def places(self) -> frozenset[str]:
        """Files of rejects, and the folders above them."""
        return frozenset(place for file in self.by_file for place in _places(file))

    def learn(self, samples: pl.DataFrame, places: frozenset[str]) -> None:
        """Note where samples (``file``, ``source``, ``identified``) come from that lie in one of ``places``."""
        wanted = pl.Series(sorted(places), dtype=pl.String).implode()
        levels = {
            "file": pl.col("file"),
            "folder": pl.col("file").str.replace(r"[^/]*$", ""),
            "top": pl.col("file").str.extract(r"^([^/]*/)", 1),
        }
        for level in levels.values():
            found = samples.select(level.alias("place"), "source", "identified").filter(pl.col("place").is_in(wanted))
            for place, source, identified in found.unique().iter_rows():
                self.sources[place].add(source)
                if identified:
                    self.identified.add(place)

    def by_source(self) -> Counter[str]:
        """Rejects by subset: that of all samples from the same file, folder or first folder; else :data:`UNKNOWN`."""
        counts = Counter[str]()
        for file, number in self.by_file.items():
            known = next((self.sources[place] for place in _places(file) if place in self.sources), set())
            counts[next(iter(known)) if len(known) == 1 else UNKNOWN] += number
        return counts

    @cached_property
    def _folders_of_dicom(self) -> frozenset[str]:
        """Folders with rejects that may be DICOM: what lies beside them may be called like a patient too."""
        return frozenset(
            folder for file in self.by_file if _DICOM.fullmatch(_suffix(file)) for folder in _places(file)[1:] if folder
        )

    def may_be_shown(self, file: str, sentence: str = "") -> bool:
        """Whether a reject's file, and what is said of it, may be told.

        Only files that end like records, pictures or texts are named, and only where nothing beside them is DICOM
        that was rejected, or that identifies someone.
        """
        if _suffix(file) not in _NAMED or any(
            place in self.identified or place in self._folders_of_dicom for place in _places(file)
        ):
            return False
        return all(_harmless(name[1:-1]) for name in _QUOTED.findall(sentence))


def read_rejects(corpus: Corpus) -> Rejected:
    """All rejects of a corpus."""
    rejected = Rejected()
    for part in sorted((corpus.path / "rejects").glob("part-*.jsonl")):
        with part.open("rb") as lines:
            for line in lines:
                try:
                    row = orjson.loads(line)
                    file, reason, message = str(row["file"]), str(row["reason"]), str(row["message"])
                    place = f"{file}:{row['row']}" if row["row"] else file
                except (orjson.JSONDecodeError, KeyError, TypeError):
                    rejected.unreadable += 1
                    continue
                rejected.by_reason[reason] += 1
                rejected.by_file[file] += 1
                if len(rejected.first[reason]) < _EXAMPLES:
                    rejected.first[reason].append((file, f"{place}: {message}"))
    return rejected


def _suffix(file: str) -> str:
    path = PurePosixPath(file)
    return (PurePosixPath(path.stem) if path.suffix.lower() in _COMPRESSED else path).suffix.lower()


def _harmless(quoted: str) -> bool:
    """Whether what a sentence quotes is no file that may be called like a patient."""
    suffix = _suffix(quoted)
    return suffix in _NAMED or not ("/" in quoted or _SUFFIX.fullmatch(suffix))


def _places(file: str) -> tuple[str, str, str]:
    folder = file[: file.rfind("/") + 1]
    return file, folder, file[: file.find("/") + 1]
