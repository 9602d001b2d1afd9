"""Ingest: everything under the inputs becomes samples, rejects or merged duplicates, and the counts add up.

The result is a function of the inputs. Shards are written to a staging area as they fill and take their place together
at the end; an interrupted ingest of unchanged inputs goes on after its last finished shard. When the inputs have
changed since, they are read anew: samples that were there before keep their ids, and so their facts and judgements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from curate.corpus import Corpus, UserError
from curate.engine import map_in_order
from curate.sources.article_files import ALLOWED_LICENSES
from curate.sources.chunks import Converter
from curate.sources.freshness import corpus_in_place
from curate.sources.inputs import Inputs
from curate.sources.rejects import Reject
from curate.sources.staging import Staging, close_staging
from curate.sources.walk import listing_hash

INGEST_VERSION = 3
"""Counts up when the same input would give other samples."""
PATIENCE = 2.0
"""Seconds of processor time after which the work goes on in several processes, which take half a second to start."""


@dataclass(frozen=True)
class IngestOptions:
    """What the user may say about the inputs."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Wire field -> name of the column that holds it in the input."""
    allow_roots: tuple[Path, ...] = ()
    """Folders outside the inputs that records may refer to."""
    licenses: tuple[str, ...] = ALLOWED_LICENSES
    """Families of licences under which articles are read, or ``any``."""


@dataclass(frozen=True)
class IngestSummary:
    """What an ingest did; ``rows == samples + duplicates + sum(rejects)``."""

    rows: int
    samples: int
    duplicates: int
    rejects: dict[str, int]
    first_rejects: dict[str, str]
    """For each reason the first row it was given for, as ``file:row: message``."""
    sources: dict[str, int]
    kinds: dict[str, int]
    unchanged: bool
    """True when the inputs were as at the last ingest and nothing was read."""
    changed_meanwhile: bool = False
    """True when the inputs changed while they were read; the next ingest reads them again."""


Progress = Callable[[int, int], None]
"""Called with rows read and samples made so far."""


def ingest(inputs: Sequence[Path], corpus: Corpus, options: IngestOptions, progress: Progress) -> IngestSummary:
    """Read ``inputs`` (folders or files) into ``corpus``, which the caller holds locked.

    Raises UserError for inputs that don't exist or overlap with the corpus. Whatever is wrong inside the inputs becomes
    a reject with its file, row and reason.
    """
    roots = _checked_roots([*inputs, *options.allow_roots], corpus.path)
    input_hash = _input_hash(inputs, options)
    if corpus.info.complete and corpus.info.input_hash == input_hash and corpus_in_place(corpus, inputs):
        close_staging(corpus)
        return _summary(corpus, unchanged=True)
    staging = Staging(corpus, input_hash)
    if not staging.finished:
        make = partial(Converter, roots, dict(options.columns), corpus.path)
        _fill(staging, Inputs(inputs, roots, options.columns, options.licenses), make, progress)
    staging.publish()
    changed = _input_hash(inputs, options) != input_hash
    summary = replace(_summary(corpus, unchanged=False), changed_meanwhile=changed)
    info = corpus.info
    info.roots, info.input_hash, info.complete = [str(root) for root in roots], input_hash, True
    corpus.record(
        "ingest",
        parameters={
            "inputs": [str(path) for path in inputs],
            "columns": dict(options.columns),
            "allow_roots": [str(path) for path in options.allow_roots],
            "licenses": list(options.licenses),
        },
        counts={
            "rows": summary.rows,
            "samples": summary.samples,
            "duplicates": summary.duplicates,
            "rejects": summary.rejects,
        },
        hashes={"input": input_hash},
    )
    close_staging(corpus)
    return summary


def _checked_roots(paths: Sequence[Path], corpus: Path) -> tuple[Path, ...]:
    roots = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path} does not exist")
        try:
            str(path.resolve()).encode()
        except UnicodeEncodeError:
            raise UserError(f"{str(path)!r}: the name is not UTF-8; rename it") from None
        root = (path if path.is_dir() else path.parent).resolve()
        if root == corpus.resolve() or root.is_relative_to(corpus.resolve()):
            raise UserError(f"{path} is the output corpus {corpus} or lies inside it: choose another -o directory")
        roots.append(root)
    return tuple(roots)


def _input_hash(inputs: Sequence[Path], options: IngestOptions) -> str:
    listings = [listing_hash(path) for path in (*inputs, *options.allow_roots)]
    places = [str(path.resolve()) for path in (*inputs, *options.allow_roots)]
    known: list[Any] = [INGEST_VERSION, places, listings, sorted(options.columns.items())]
    if options.licenses != ALLOWED_LICENSES:
        known.append(sorted(options.licenses))
    return hashlib.sha256(orjson.dumps(known)).hexdigest()


def _fill(staging: Staging, inputs: Inputs, make: Callable[[], Converter], progress: Progress) -> None:
    done = staging.rows
    chunks = inputs.chunks(skip=staging.rows)
    with closing(map_in_order(make, chunks, size=lambda chunk: chunk.size, patience=PATIENCE)) as results:
        for converted in results:
            staging.add(converted)
            inputs.adapt(converted.rows, converted.seconds)
            done += converted.rows
            progress(done, staging.samples)
    for reject in inputs.undescribed_images(staging.is_referenced):
        staging.reject(reject)
        done += 1
    staging.finish()
    progress(done, staging.samples)


def _summary(corpus: Corpus, *, unchanged: bool) -> IngestSummary:
    """The counts, read off what is on disk."""
    import polars as pl

    shards = corpus.shards()
    sources: dict[str, int] = {}
    kinds: dict[str, int] = {}
    if shards:
        groups = pl.scan_parquet(shards).group_by("source", "kind").len().sort("source", "kind").collect()
        for source, kind, count in groups.iter_rows():
            sources[source] = sources.get(source, 0) + count
            kinds[kind] = kinds.get(kind, 0) + count
    reasons: dict[str, int] = {}
    firsts: dict[str, str] = {}
    for part in sorted((corpus.path / "rejects").glob("part-*.jsonl")):
        with part.open("rb") as file:
            for line in file:
                reject = Reject(**orjson.loads(line))
                reasons[reject.reason] = reasons.get(reject.reason, 0) + 1
                firsts.setdefault(reject.reason, str(reject))
    duplicates = reasons.pop("duplicate", 0)
    samples = sum(sources.values())
    rejects = dict(sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0])))
    rows = samples + duplicates + sum(rejects.values())
    return IngestSummary(rows, samples, duplicates, rejects, firsts, sources, kinds, unchanged)
