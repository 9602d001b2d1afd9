"""Ingest: everything under the inputs becomes samples, rejects or merged duplicates, and the counts add up.

The result is a function of the inputs. Shards are written to a staging area as they fill and take their place together
at the end; an interrupted ingest of unchanged inputs goes on after its last finished shard. When the inputs have
changed since, they are read anew: samples that were there before keep their ids, and so their facts and judgements.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from curate.corpus import Corpus, Origin, Sample, UserError
from curate.engine import usable_cores
from curate.schemas import FORMATS, ValidationError, WireRecord, expected_fields, problems, recognise
from curate.sources.convert import to_sample
from curate.sources.freshness import corpus_in_place
from curate.sources.images import Intake, inline_prefix, intake_bytes, intake_file, intake_inline
from curate.sources.locations import real_path, resolve
from curate.sources.quick_lines import QuickLines
from curate.sources.readers import TOO_DEEP, BadRow, Line, Row, parsed, read_lines, read_rows
from curate.sources.rejects import Reject, RejectError
from curate.sources.staging import Staging, close_staging, location_key
from curate.sources.walk import Item, listing_hash, walk

INGEST_VERSION = 1
"""Counts up when the same input would give other samples."""
_CHUNK_ROWS, _CHUNK_PARSED, _CHUNK_BYTES = 256, 64, 8 * 2**20
_MANY_PICTURES = 16_384
"""References whose pictures are remembered while they are read, since several rows often speak of one."""


@dataclass(frozen=True)
class IngestOptions:
    """What the user may say about the inputs."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Wire field -> name of the column that holds it in the input."""
    allow_roots: tuple[Path, ...] = ()
    """Folders outside the inputs that records may refer to."""


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


class _Unit(NamedTuple):
    """One row to convert."""

    root: int
    file: str
    row: Line | Row | BadRow


class _Outcome(NamedTuple):
    result: Sample | Reject
    locations: tuple[int, ...]
    """Keys of the image files that the row referred to."""


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
        reader = _Reader(inputs, roots, options, corpus.path)
        _fill(staging, reader, progress)
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
    known = [INGEST_VERSION, places, listings, sorted(options.columns.items())]
    return hashlib.sha256(orjson.dumps(known)).hexdigest()


def _fill(staging: Staging, reader: _Reader, progress: Progress) -> None:
    done = staging.rows
    with ThreadPoolExecutor(usable_cores()) as threads:
        for outcomes in _in_order(threads, reader.convert, _chunks(islice(reader.units(), staging.rows, None))):
            staging.add(outcomes)
            done += len(outcomes)
            progress(done, staging.samples)
    for reject in reader.undescribed_images(staging.is_referenced):
        staging.add([(reject, ())])
        done += 1
    staging.finish()
    progress(done, staging.samples)


def _chunks(units: Iterator[_Unit]) -> Iterator[list[_Unit]]:
    """Units in lists that are worth a thread's while but never hold much more than a few megabytes."""
    chunk: list[_Unit] = []
    size = 0
    for unit in units:
        chunk.append(unit)
        if isinstance(unit.row, Line):
            size += len(unit.row.text)
        elif isinstance(unit.row, Row):
            size += _weight(unit.row.fields) + _CHUNK_BYTES // _CHUNK_PARSED
        if len(chunk) >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _weight(value: Any) -> int:
    """Characters and bytes in a row: nearly all of its memory."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    return sum(map(_weight, value)) if isinstance(value, list) else 0


def _in_order(
    threads: ThreadPoolExecutor, convert: Callable[[_Unit], _Outcome], chunks: Iterator[list[_Unit]]
) -> Iterator[list[_Outcome]]:
    """Convert chunks in threads, a bounded number ahead, and yield the outcomes in input order."""
    ahead = 2 * usable_cores()
    running: list[Future[list[_Outcome]]] = []
    try:
        for chunk in chunks:
            running.append(threads.submit(lambda part: [convert(unit) for unit in part], chunk))
            if len(running) >= ahead:
                yield running.pop(0).result()
        for future in running:
            yield future.result()
    finally:
        for future in running:
            future.cancel()


class _Reader:
    """Turns the items of the inputs into rows, and rows into samples."""

    def __init__(self, inputs: Sequence[Path], roots: tuple[Path, ...], options: IngestOptions, corpus: Path) -> None:
        self._inputs, self._roots, self._options, self._corpus = inputs, roots, options, corpus
        # Images without sidecars wait here, not in memory, until all records have been seen.
        self._bare = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the reader goes
        self._quick: QuickLines | None = None
        """Lines of the format that was read last."""
        self._pictures: dict[tuple[int, str, str], tuple[Intake, int]] = {}

    def units(self) -> Iterator[_Unit]:
        """Every row of the inputs, in an order that depends on nothing but their content."""
        for number, place in enumerate(self._inputs):
            for item in walk(place):
                if isinstance(item, Reject):
                    yield _Unit(number, item.file, BadRow(item.row, item.reason, item.message))
                elif item.use == "captioned":
                    rows = sidecar_rows(self._roots[number], item, self._options.columns)
                    yield from (_Unit(number, item.path, row) for row in rows)
                elif item.use == "bare_image":
                    self._bare.write(orjson.dumps((number, item.path), option=orjson.OPT_APPEND_NEWLINE))
                else:
                    path = self._roots[number] / item.path
                    yield from (_Unit(number, item.path, row) for row in read_lines(path, self._options.columns))

    def convert(self, unit: _Unit) -> _Outcome:
        """The sample or the reject that a row becomes."""
        locations: list[int] = []
        number = unit.row.number
        try:
            found = self._record(unit.row)
            if isinstance(found, BadRow):
                return _Outcome(Reject(unit.file, *found), ())
            read = partial(self._read_picture, unit, locations)
            folder = unit.file.split("/", 1)[0] if "/" in unit.file else self._roots[unit.root].name
            return _Outcome(
                to_sample(*found, read=read, folder=folder, origin=Origin(unit.file, number)), tuple(locations)
            )
        except RejectError as error:
            reject = Reject(unit.file, number, error.reason, str(error))
        except ValidationError as error:
            wrong = problems(error)
            message = "; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in wrong)
            reject = Reject(unit.file, number, wrong[0].code, message)
        except RecursionError:
            reject = Reject(unit.file, number, "too_deep", TOO_DEEP)
        return _Outcome(reject, tuple(locations))

    def _record(self, row: Line | Row | BadRow) -> tuple[str, WireRecord] | BadRow:
        """Format and record of a row. Lines like one that was looked at closely are read in one step."""
        quick = self._quick
        line = row if isinstance(row, Line) else None
        if quick and line and (record := quick.record(*line)):
            return quick.name, record
        if line:
            row = parsed(line, self._options.columns)
        if not isinstance(row, Row):
            return row  # type: ignore[return-value]
        name, record = _validated(row.fields)
        if line and not self._options.columns:
            if quick is None or quick.name != name:
                self._quick = quick = QuickLines(name)
            quick.learn(record)
        return name, record

    def _read_picture(self, unit: _Unit, locations: list[int], reference: str | bytes) -> Intake:
        if isinstance(reference, bytes):
            return intake_bytes(reference, spelling="", corpus=self._corpus)
        folder = unit.file.rpartition("/")[0]
        known = self._pictures.get((unit.root, folder, reference))
        if known is None:
            if (prefix := inline_prefix(reference)) is not None:
                return intake_inline(reference, prefix, corpus=self._corpus)
            known = self._picture_file(unit.root, folder, reference, locations)
            if len(self._pictures) >= _MANY_PICTURES:
                self._pictures.clear()
            self._pictures[unit.root, folder, reference] = known
        locations.append(known[1])
        return known[0]

    def _picture_file(self, root: int, folder: str, reference: str, locations: list[int]) -> tuple[Intake, int]:
        """The picture that a path leads to, and its :func:`location_key`; noted also when it can't be taken in."""
        order = [root, *(n for n in range(len(self._roots)) if n != root)]
        number, relative = resolve(reference, self._roots[root] / folder, tuple(self._roots[n] for n in order))
        found = order[number]
        key = location_key(found, relative.as_posix())
        path = self._roots[found] / relative
        try:
            return intake_file(path, root=found, relative=relative.as_posix(), name=reference, corpus=self._corpus), key
        except RejectError:
            locations.append(key)
            raise

    def undescribed_images(self, is_referenced: Callable[[int], bool]) -> Iterator[Reject]:
        """Images among the :meth:`units`, once those are through, that no record and no sidecar speaks of."""
        self._bare.seek(0)
        for line in self._bare:
            number, path = orjson.loads(line)
            root = self._roots[number]
            try:
                real = real_path(root / path)
            except RejectError as error:  # it has become something else since it was listed
                yield Reject(path, 0, error.reason, str(error))
                continue
            if real is None:
                continue
            shown = real.relative_to(root).as_posix() if real.is_relative_to(root) else path
            if not is_referenced(location_key(number, shown)):
                yield undescribed_image(path)


def _validated(fields: dict[str, Any]) -> tuple[str, WireRecord]:
    name = recognise(fields)
    if name is None:
        raise RejectError(
            "unknown_format",
            f"the fields {field_names(fields)} fit no record format; if they are called otherwise, name them with "
            f"--map (text={next(iter(fields), 'column')}); the formats have {expected_fields()}",
        )
    if name == "llamafactory":
        raise RejectError("not_a_source", "LLaMA-Factory rows are an output of curate; ingest what they were made from")
    return name, FORMATS[name].model_validate(fields)


def undescribed_image(shown: str) -> Reject:
    """What to say of an image that nothing describes."""
    message = "no usable record refers to this image, and no .txt or .json beside it describes it"
    return Reject(shown, 0, "image_without_text", message)


def sidecar_rows(root: Path, item: Item, columns: Mapping[str, str]) -> Iterator[Row | BadRow]:
    """The records that an image's sidecar files describe; a ``.txt`` gives the text that a ``.json`` may lack."""
    name = item.path.rsplit("/", 1)[-1]
    text: str | None = None
    rows: list[Row | BadRow] = []
    for sidecar in item.sidecars:
        if sidecar.endswith(".json"):
            rows += read_rows(root / sidecar, columns)
            continue
        try:
            text = (root / sidecar).read_bytes().decode("utf-8-sig").strip()
        except UnicodeDecodeError as error:
            yield BadRow(0, "not_utf8", f"{sidecar}: byte {error.start + 1} is not UTF-8")
            return
        except OSError as error:
            yield BadRow(0, "unreadable_file", f"{sidecar}: {error.strerror}")
            return
    for row in rows or [Row(1, {})]:
        if isinstance(row, BadRow):
            yield row
            continue
        fields = {"text": text, **row.fields} if text is not None and "text" not in row.fields else dict(row.fields)
        if "query" in fields:
            fields.setdefault("images", [name])
        elif not {"image", "images", "image_info", "turns", "prompt"} & fields.keys():
            fields["image"] = name
        yield Row(row.number, fields)


def field_names(fields: Mapping[str, Any]) -> str:
    """The names of a record's fields, for a message."""
    names = [repr(str(name)[:40]) for name in list(fields)[:8]]
    return ", ".join(names) + (", …" if len(fields) > 8 else "") if names else "(none)"


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
