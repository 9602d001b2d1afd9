"""Measure the shards of a corpus: only those that are not measured yet, and in them only the rows that are new.

A signals shard is current when its fingerprint follows from its samples shard's. Others are put aside in
``signals/earlier`` while their samples are measured, because re-ingested rows may have moved to another shard: a row
whose ``signals_key`` is found there is copied, not measured.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.corpus import Corpus, UserError, shard_fingerprint, write_shard
from curate.engine import map_shards
from curate.signals.columns import SCHEMA, SIGNALS_VERSION
from curate.signals.samples import SAMPLE_COLUMNS, measure_samples, signals_keys

_EARLIER = "earlier"
_INCOMPLETE = ":incomplete"
"""End of the fingerprint of a shard with images that were missing: the next run tries those again."""

Progress = Callable[[int, int], None]
"""Called with samples done and samples in all, after every shard."""


@dataclass(frozen=True)
class SignalsSummary:
    """What a run found; ``samples == measured + reused``."""

    samples: int = 0
    images: int = 0
    """References to images; a picture that two samples show counts twice."""
    measured: int = 0
    """Samples measured in this run."""
    reused: int = 0
    """Samples whose signals were there already."""
    unreadable: int = 0
    """Samples with an image that cannot be read."""
    missing: int = 0
    """Those of them whose image file was missing or changed since ingest; the next run tries them again."""

    def plus(self, counts: dict[str, int]) -> SignalsSummary:
        return SignalsSummary(**{name: value + counts[name] for name, value in asdict(self).items()})


def measure_corpus(
    corpus: Corpus, workers: int | None = None, progress: Progress = lambda done, total: None
) -> SignalsSummary:
    """Bring the signals of ``corpus``, which the caller holds locked, up to date with its samples.

    ``workers`` is the number of processes, by default one for each core. Raises UserError for a samples shard that
    cannot be read. An interrupted run leaves whole shards only; the next one goes on with the others.
    """
    shards = corpus.shards()
    expected = {shard.name: _fingerprint(shard) for shard in shards}
    made_from = _put_aside(corpus, expected)
    todo = [shard for shard in shards if made_from.get(shard.name) != expected[shard.name]]
    summary = SignalsSummary()
    for shard in sorted(set(shards) - set(todo)):
        summary = summary.plus(_counts(corpus.facts_shard("signals", shard), measured=0))
    total = summary.samples + sum(_rows(shard) for shard in todo)
    progress(summary.samples, total)
    for _, counts in map_shards(partial(measure_shard, corpus.path), todo, workers=workers):
        summary = summary.plus(counts)
        progress(summary.samples, total)
    shutil.rmtree(corpus.path / "signals" / _EARLIER, ignore_errors=True)
    found = {"samples": summary.samples, "images": summary.images, "unreadable": summary.unreadable}
    corpus.record("signals", parameters={"signals_version": SIGNALS_VERSION}, counts=found)
    return summary


def measure_shard(corpus_path: Path, shard: Path, threads: int) -> dict[str, int]:
    """Write the signals of one samples shard, unless they are current; the counts of :class:`SignalsSummary`.

    Safe to interrupt and to repeat: the signals shard is replaced at the end, whole. Raises UserError when the samples
    shard cannot be read; whatever is wrong with an image becomes a signal.
    """
    corpus = Corpus.open(corpus_path)
    facts = corpus.facts_shard("signals", shard)
    if is_current(corpus, shard):
        return _counts(facts, measured=0)
    try:
        table = pq.read_table(shard, columns=SAMPLE_COLUMNS)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(shard, error) from None
    keys = signals_keys(table)
    known = _known_rows(facts, keys)
    found = set(known["signals_key"].to_pylist())
    new = [row for row, key in enumerate(keys) if key not in found]
    fresh = measure_samples(corpus, table.take(pa.array(new, pa.int64())), [keys[row] for row in new], threads)
    place = {key: row for row, key in enumerate(keys)}
    places = [place[key] for key in known["signals_key"].to_pylist()] + new
    signals = pa.concat_tables([known, fresh]).take(pc.sort_indices(pa.array(places, pa.int64())))
    complete = signals["signals_key"].null_count == 0
    write_shard(facts, signals, _fingerprint(shard) + ("" if complete else _INCOMPLETE))
    return _counts(facts, measured=len(new))


def is_current(corpus: Corpus, shard: Path) -> bool:
    """Whether the signals of a samples shard are there, made from what it holds now, and complete."""
    return shard_fingerprint(corpus.facts_shard("signals", shard)) == _fingerprint(shard)


def _fingerprint(shard: Path) -> str:
    return f"signals:{SIGNALS_VERSION}:{shard_fingerprint(shard)}"


def _rows(shard: Path) -> int:
    try:
        return int(pq.read_metadata(shard).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(shard, error) from None


def _unreadable(shard: Path, error: Exception) -> UserError:
    cause = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(
        f"{shard} cannot be read ({cause}): remove {shard.parent} and run the same curate ingest or score again"
    )


def _put_aside(corpus: Corpus, expected: dict[str, str]) -> dict[str, str]:
    """Move the signals of samples that are gone or changed out of the way, and remove half-written shards.

    ``expected`` holds a fingerprint for each samples shard; returns those of the signals shards that stay.
    """
    folder = corpus.path / "signals"
    staying = {}
    for leftover in folder.glob(".part-*.tmp"):
        leftover.unlink()
    for facts in sorted(folder.glob("part-*.parquet")):
        made_from = shard_fingerprint(facts)
        if made_from is None:
            facts.unlink()
        elif made_from.removesuffix(_INCOMPLETE) == expected.get(facts.name):
            staying[facts.name] = made_from
        else:
            (folder / _EARLIER).mkdir(exist_ok=True)
            version = hashlib.sha256(made_from.encode()).hexdigest()[:16]
            facts.replace(folder / _EARLIER / f"{facts.stem}.{version}.parquet")
    return staying


def _known_rows(facts: Path, keys: list[str]) -> pa.Table:
    """Rows of earlier signals shards with one of ``keys``, at most one each; shards with a near number first."""
    found = [SCHEMA.empty_table()]
    wanted = set(keys)
    for path in _earlier_shards(facts):
        if not wanted:
            break
        try:
            if pq.read_schema(path).remove_metadata() != SCHEMA:
                continue
            here = pq.read_table(path, columns=["signals_key"])["signals_key"]
            chosen = [row for row, key in enumerate(here.to_pylist()) if key in wanted]
            if chosen:
                found.append(pq.read_table(path).replace_schema_metadata().take(pa.array(chosen, pa.int64())))
                wanted.difference_update(found[-1]["signals_key"].to_pylist())
        except (OSError, pa.ArrowException):
            continue  # what cannot be read is measured again
    return pa.concat_tables(found)


def _earlier_shards(facts: Path) -> Iterator[Path]:
    if facts.exists():
        yield facts
    number = _number(facts)
    yield from sorted((facts.parent / _EARLIER).glob("*.parquet"), key=lambda path: (abs(_number(path) - number), path))


def _number(path: Path) -> int:
    match = re.match(r"part-(\d+)", path.name)
    return int(match[1]) if match else 0


def _counts(facts: Path, *, measured: int) -> dict[str, int]:
    with pq.ParquetFile(facts) as file:
        table = file.read(columns=["image_count", "image_readable"])
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        # The keys themselves are most of what there is to read, and their count of nulls is kept beside them.
        key = SCHEMA.get_field_index("signals_key")
        missing = sum(group.column(key).statistics.null_count for group in groups)
    return {
        "samples": table.num_rows,
        "images": pc.sum(table["image_count"]).as_py() or 0,
        "measured": measured,
        "reused": table.num_rows - measured,
        "unreadable": pc.sum(pc.invert(table["image_readable"])).as_py() or 0,
        "missing": missing,
    }
