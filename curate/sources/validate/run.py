"""Validation of files and folders: which checks apply to what lies there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

from curate.corpus import UserError
from curate.rewards import RewardError, known_types
from curate.schemas import FORMATS
from curate.sources.inputs import sidecar_rows, undescribed_image
from curate.sources.locations import real_path
from curate.sources.readers import SUFFIXES, is_record_file, renamed
from curate.sources.rejects import Reject, RejectError
from curate.sources.validate.exports import (
    ROWS_OF_EXPORT,
    TRAINER_ROWS,
    check_data_file,
    check_export,
    find_exports,
    layout,
    row_format,
    rows_for_trainer,
)
from curate.sources.validate.images import ImageChecks
from curate.sources.validate.line_ranges import prepare
from curate.sources.validate.llamafactory import INFO_FILE, DataFile
from curate.sources.validate.quick_rows import Adapt
from curate.sources.validate.report import Report, Severity
from curate.sources.validate.rows import RowChecks
from curate.sources.validate.session import Session, ValidateOptions
from curate.sources.validate.table import Table
from curate.sources.validate.workers import Workers
from curate.sources.walk import Item, walk

FORMAT_NAMES = (*FORMATS, *ROWS_OF_EXPORT)
"""Formats by the names used on the command line: of records, and of exports."""

_WARNINGS = frozenset({"unknown_file_type", "text_without_image", "image_without_text", "own_output"})
"""What is left out of a folder when it is ingested, but does no harm there."""

Progress = Callable[[int, int], None]
"""Called with the rows checked and the errors found so far."""


def validate(paths: Sequence[Path], options: ValidateOptions, progress: Progress | None = None) -> Report:
    """Check record files, folders of raw data and exports; nothing is written.

    Raises UserError for paths that don't exist or hold nothing that this command is for. Whatever is wrong inside of
    them is in the report.
    """
    if options.format is not None and options.format not in FORMAT_NAMES:
        raise UserError(f"there is no format {options.format!r}; there are: {', '.join(FORMAT_NAMES)}")
    for path in paths:
        _check_path(path, options)
    try:
        known_types()
    except RewardError as error:
        raise UserError(str(error)) from None
    report = Report(options.limit)
    roots = tuple((path if path.is_dir() else path.parent).resolve() for path in (*paths, *options.allow_roots))
    with (
        ImageChecks(decode=options.decode) as images,
        Workers(options.parallel, partial(prepare, options.decode)) as workers,
    ):
        tick = partial(_tell, report, progress)
        session = Session(report, images, options, roots, tick, workers)
        raw = [path for path in paths if _check(path, session) == "raw"]
        for path in raw:
            _check_undescribed(path, session)
    if not report.rows and not report.errors:
        report.add("error", str(paths[0]), 0, "nothing_to_validate", "there are no records here")
    return report


def _tell(report: Report, progress: Progress | None) -> None:
    if progress is not None:
        progress(report.rows, report.errors)


def _check_path(path: Path, options: ValidateOptions) -> None:
    if not path.exists():
        raise UserError(f"{path} does not exist")
    if layout(path) == "corpus":
        raise UserError(f"{path} is a corpus, which ingest has checked; name the raw data or an export")
    if path.is_file() and not is_record_file(path.name) and options.format is None:
        raise UserError(
            f"{path} is no record file ({', '.join(SUFFIXES)}, also .gz or .zst); "
            "name the folder that it lies in, or say with --format what it holds"
        )
    if not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is a FIFO, socket or device, not a file")


def _check(path: Path, session: Session) -> Literal["raw", "file", "export"]:
    """Check a file or folder; what it was taken for."""
    named, columns = session.options.format, session.options.columns
    if path.is_file() and path.name == INFO_FILE:
        path = path.parent
    elif path.is_file():
        place = session.place(path.parent, trainer=rows_for_trainer(path, named))
        table = Table(
            path,
            str(path),
            place,
            format=_rows(session),
            adapt=_adapt(session),
            columns=columns,
            licenses=session.options.licenses,
        )
        check_data_file(DataFile(table, "train"), session)
        return "file"
    kind = layout(path)
    if named in ("llamafactory-sft", "llamafactory-cpt") and kind is None:
        kind = "llamafactory"
    if kind is None or not (named is None or kind == "export" or named.startswith(kind)):
        _check_raw(path, session)
        return "raw"
    check_export(path, kind, session)
    return "export"


def _rows(session: Session) -> str | None:
    return row_format(session.options.format) if session.options.format else None


def _check_raw(root: Path, session: Session) -> None:
    """A folder of raw data, walked as ingest does; exports that lie in it are checked as such, a corpus is left out."""
    trainer, columns = _rows(session) in TRAINER_ROWS, session.options.columns
    exports = sorted(find_exports(root)) if session.options.format is None else []
    for item in _outside(exports, walk(root)):
        if isinstance(item, Reject):
            severity: Severity = "warning" if item.reason in _WARNINGS else "error"
            session.report.add(severity, str(root / item.file), item.row, item.reason, item.message)
        elif item.use != "bare_image":
            path = root / item.path
            place = session.place(path.parent, root=root, trainer=trainer)
            table = Table(
                path,
                str(path),
                place,
                format=_rows(session),
                adapt=_adapt(session),
                columns=columns,
                licenses=session.options.licenses,
            )
            if item.use == "captioned":
                _check_captioned(root, item, table, session)
            else:
                session.check_file(table)
    for export in exports:
        folder = root / export
        check_export(folder, layout(folder) or "export", session)


def _check_captioned(root: Path, item: Item, table: Table, session: Session) -> None:
    """An image with sidecars; all images of a folder are counted under its name."""
    group = f"{table.path.parent}/"
    table = Table(table.path, table.file, table.place, group, format=table.format, adapt=table.adapt)
    session.report.files += 1
    rows = sidecar_rows(root, item, session.options.columns)
    RowChecks(table, session.images, session.report).rows(rows, session.tick)


def _outside(folders: Sequence[str], items: Iterator[Item | Reject]) -> Iterator[Item | Reject]:
    inside = tuple(f"{folder}/" for folder in folders)
    for item in items:
        path = item.file if isinstance(item, Reject) else item.path
        if not f"{path}/".startswith(inside):
            yield item


def _check_undescribed(root: Path, session: Session) -> None:
    """Warn of images that no record and no sidecar speaks of."""
    exports = sorted(find_exports(root))
    items = (item for item in _outside(exports, walk(root)) if isinstance(item, Item) and item.use == "bare_image")
    while batch := list(islice(items, 4096)):
        real = [_where(root / item.path) for item in batch]
        for item, found in zip(batch, session.images.among_found(real), strict=True):
            if not found:
                reject = undescribed_image(str(root / item.path))
                group = f"{(root / item.path).parent}/"
                session.report.add("warning", reject.file, 0, reject.reason, reject.message, group=group)


def _where(path: Path) -> Path:
    try:
        return real_path(path) or path
    except RejectError:  # it has become something else since it was listed
        return path


def _adapt(session: Session) -> Adapt | None:
    columns = session.options.columns
    if not columns:
        return None
    return partial(renamed, columns=columns)
