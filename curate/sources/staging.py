"""The staging area of an ingest: shards collect beside the corpus' own and take their place together at the end."""

from __future__ import annotations

import hashlib
import shutil
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from operator import itemgetter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.corpus import Corpus, Sample, atomic_file, shard_fingerprint, sync_directory, to_table, write_shard
from curate.sources.rejects import Reject

SHARD_ROWS = 8192
"""Samples in a shard: the unit of work, of resume and of memory."""


def location_key(root: int, relative: str) -> int:
    """64-bit key of an image file."""
    return int.from_bytes(hashlib.blake2b(f"{root}\0{relative}".encode(), digest_size=8).digest())


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of a chunk, in the form that is cheapest to send to another process."""

    rows: int
    samples: pa.Table
    places: list[int]
    """Position in the chunk of the row that each sample was."""
    made_from: bytes
    """:func:`made_from` of each sample, one after the other; a list of such results of orjson takes up much memory."""
    ends: list[int]
    """Where each of these ends."""
    rejects: list[tuple[int, Reject]]
    """With the position of the row; neither a place nor here is none of the chunk's rows."""
    locations: set[int]
    """The :func:`location_key` of every image file that the rows referred to."""
    seconds: float


class Staging:
    """Collects the outcomes of rows in input order and writes a shard whenever one is full.

    Everything is kept in files: ``samples.partial/part-K.parquet`` is written last of its part, after the rejects and
    the image locations of the same rows, so an existing samples shard means that all of its rows are settled.
    """

    def __init__(self, corpus: Corpus, input_hash: str) -> None:
        self._corpus, self._hash = corpus, input_hash
        self._samples_dir = corpus.path / "samples.partial"
        self._rejects_dir = corpus.path / "rejects.partial"
        self._marker = _marker(corpus)
        self._begin_part()
        self._seen = _SeenIds()
        self.rows = 0
        """Rows settled in finished shards; an ingest that goes on skips as many."""
        self.samples = 0
        self._settled = 0
        state = self._state()
        self.finished = bool(state.get("finished"))
        if state.get("input") != input_hash:
            self._start_over()
        elif not self.finished:
            try:
                self._go_on()
            except (OSError, ValueError, KeyError, pa.ArrowException):
                self._start_over()

    def _state(self) -> dict[str, object]:
        try:
            state = orjson.loads(self._marker.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return state if isinstance(state, dict) else {}

    def _start_over(self) -> None:
        self.finished = False
        self.rows = self._settled = self.samples = 0
        self._seen = _SeenIds()
        for folder in (self._samples_dir, self._rejects_dir):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self._mark(finished=False)

    def _go_on(self) -> None:
        parts = self._shards()
        for part in parts:
            self._seen.add(pq.read_table(part, columns=["id"])["id"].to_pylist())
            self.samples += pq.read_metadata(part).num_rows
        if parts:
            settled, _, *end = (shard_fingerprint(parts[-1]) or "").split(":")
            self.rows = self._settled = int(settled)
            if end:
                self._finish()
        for leftover in self._rejects_dir.glob("part-*"):
            if not (self._samples_dir / f"{leftover.name.split('.')[0]}.parquet").exists():
                leftover.unlink()

    def _shards(self) -> list[Path]:
        return sorted(self._samples_dir.glob("part-*.parquet"))

    def _mark(self, *, finished: bool) -> None:
        with atomic_file(self._marker) as file:
            file.write(orjson.dumps({"input": self._hash, "finished": finished}))

    def add(self, converted: Converted) -> None:
        """Settle the rows of a chunk."""
        table, places, rejects = converted.samples, converted.places, converted.rejects
        new = self._seen.add(table["id"].to_pylist())
        sources = [converted.made_from[start:end] for start, end in pairwise([0, *converted.ends])]
        if not all(new):
            rejects = sorted([*rejects, *_duplicates(table, places, new)])
            table = table.filter(pa.array(new, pa.bool_()))
            places, sources = list(compress(places, new)), list(compress(sources, new))
        # Rows of the chunk that end up in a later part are read again when an ingest goes on: once more does no harm.
        self._locations.extend(converted.locations)
        settled = taken = 0
        while self._pending_rows + len(places) - taken >= SHARD_ROWS:
            stop = taken + SHARD_ROWS - self._pending_rows
            end = places[stop - 1] + 1
            rejects = self._take(rejects, end)
            self._settled += end - settled
            self._keep(table.slice(taken, stop - taken), sources[taken:stop])
            self._write_part()
            settled, taken = end, stop
        self._take(rejects, converted.rows)
        self._settled += converted.rows - settled
        self._keep(table.slice(taken), sources[taken:])

    def reject(self, reject: Reject) -> None:
        """Settle a row that is none of a chunk."""
        self._rejects.append(reject)
        self._settled += 1

    def _take(self, rejects: list[tuple[int, Reject]], end: int) -> list[tuple[int, Reject]]:
        """Note the rejects of rows before ``end``; the others."""
        count = bisect_left(rejects, end, key=itemgetter(0))
        self._rejects += [reject for _, reject in rejects[:count]]
        return rejects[count:]

    def _keep(self, table: pa.Table, sources: Sequence[bytes]) -> None:
        self._pending.append(table)
        self._pending_rows += len(table)
        self.samples += len(table)
        self._digest.update(b"".join(sources))

    def _write_part(self, end: str = "") -> None:
        name = f"part-{len(self._shards()):05d}"
        with atomic_file(self._rejects_dir / f"{name}.locations") as file:
            file.write(self._locations.tobytes())
        if self._rejects:
            with atomic_file(self._rejects_dir / f"{name}.jsonl") as file:
                file.writelines(
                    orjson.dumps(reject._asdict(), option=orjson.OPT_APPEND_NEWLINE) for reject in self._rejects
                )
        fingerprint = f"{self._settled}:{self._digest.hexdigest()}{end}"
        # In one piece: how the rows came in chunks must not show in the file.
        table = pa.concat_tables(self._pending).combine_chunks() if self._pending else to_table([])
        write_shard(self._samples_dir / f"{name}.parquet", table, fingerprint)
        self._begin_part()

    def _begin_part(self) -> None:
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._digest = hashlib.sha256()
        """Over all that facts about the pending samples are made from: their fingerprint."""
        self._rejects: list[Reject] = []
        self._locations = array("Q")

    def is_referenced(self, key: int) -> bool:
        """Whether any row so far referred to the image file with this :func:`location_key`."""
        if not hasattr(self, "_sorted"):
            parts = [np.fromfile(path, dtype=np.uint64) for path in sorted(self._rejects_dir.glob("*.locations"))]
            self._sorted = np.unique(np.concatenate([*parts, np.array(self._locations, dtype=np.uint64)]))
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        return place < len(self._sorted) and int(self._sorted[place]) == key

    def finish(self) -> None:
        """Write the last part; from here on nothing is read from the inputs again."""
        self._write_part(end=":end")
        self._finish()

    def _finish(self) -> None:
        for path in self._rejects_dir.glob("*.locations"):
            path.unlink()
        self._mark(finished=True)
        self.finished = True

    def publish(self) -> None:
        """Put the staged shards in the place of the corpus' own. Can be repeated after a crash at any point."""
        self._corpus.info.complete = False
        self._corpus.save()
        for staged, final in ((self._samples_dir, "samples"), (self._rejects_dir, "rejects")):
            if staged.exists():
                shutil.rmtree(self._corpus.path / final, ignore_errors=True)
                staged.rename(self._corpus.path / final)
        sync_directory(self._corpus.path)


def made_from(sample: Sample) -> bytes:
    """All of a sample that facts are made from: beside the content, file names and attributes."""
    names = [(image.path, image.name) for image in sample.images]
    return orjson.dumps((sample.id, sample.source, sample.privacy, names, sample.meta))


def _duplicates(table: pa.Table, places: Sequence[int], new: Sequence[bool]) -> Iterator[tuple[int, Reject]]:
    """A reject for every sample that is not new, with the position of its row."""
    again = table.select(["id", "file", "row"]).filter(pa.array([not first for first in new], pa.bool_()))
    where = (place for place, first in zip(places, new, strict=True) if not first)
    for place, sample_id, file, row in zip(where, *(column.to_pylist() for column in again.columns), strict=True):
        yield place, Reject(file, row, "duplicate", f"the same content is there already as {sample_id}")


def close_staging(corpus: Corpus) -> None:
    """Forget the staging, once corpus.json says that the ingest is complete."""
    _marker(corpus).unlink(missing_ok=True)


def _marker(corpus: Corpus) -> Path:
    return corpus.path / "ingest.partial.json"


_Keys = npt.NDArray[np.uint64]


class _SeenIds:
    """A set of sample ids in 16 bytes each: sorted runs that are merged when they are of like size."""

    def __init__(self) -> None:
        self._recent: set[str] = set()
        self._runs: list[tuple[_Keys, _Keys]] = []
        """First and second 64 bits of the ids, in the order of the first."""

    def add(self, sample_ids: Sequence[str]) -> list[bool]:
        """Add ids; for each whether it is new."""
        found = self._in_runs(sample_ids) if self._runs else [False] * len(sample_ids)
        new = []
        for sample_id, known in zip(sample_ids, found, strict=True):
            key = sample_id[:32]
            new.append(not known and key not in self._recent)
            if new[-1]:
                self._recent.add(key)
        if len(self._recent) >= SHARD_ROWS:
            self._spill()
        return new

    def _in_runs(self, sample_ids: Sequence[str]) -> list[bool]:
        first, second = _halves(sample_ids)
        found = np.zeros(len(first), dtype=bool)
        for run_first, run_second in self._runs:
            start = np.searchsorted(run_first, first)
            stop = np.searchsorted(run_first, first, side="right")
            for row in np.flatnonzero(stop > start):
                found[row] |= bool((run_second[start[row] : stop[row]] == second[row]).any())
        known: list[bool] = found.tolist()
        return known

    def _spill(self) -> None:
        first, second = _halves(list(self._recent))
        self._recent.clear()
        while self._runs and len(self._runs[-1][0]) <= len(first):
            other_first, other_second = self._runs.pop()
            first, second = np.concatenate([other_first, first]), np.concatenate([other_second, second])
        order = np.argsort(first, kind="stable")
        self._runs.append((first[order], second[order]))


def _halves(sample_ids: Sequence[str]) -> tuple[_Keys, _Keys]:
    """The first 128 bits of ids in hex, as two numbers each."""
    both = np.frombuffer(bytes.fromhex("".join(value[:32] for value in sample_ids)), dtype=">u8").astype(np.uint64)
    return both[::2].copy(), both[1::2].copy()
