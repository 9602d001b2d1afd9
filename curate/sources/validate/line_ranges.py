"""Checks of the rest of a large file in worker processes: ranges of its lines, merged in the order of the file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from pathlib import Path

from curate.sources.validate.images import ImageChecks
from curate.sources.validate.report import Report
from curate.sources.validate.rows import RowChecks
from curate.sources.validate.table import LineRange, RangeFound, Remembered, Table
from curate.sources.validate.workers import Workers


def check_rest(checks: RowChecks, start: int, lines: int, workers: Workers, tick: Callable[[], None]) -> None:
    """Check the lines of a file from byte ``start`` on, which ``lines`` precede."""
    running: deque[Future[RangeFound]] = deque()

    def settle() -> bool:
        nonlocal lines
        # With a timeout: Polars' handler of SIGINT makes a wait without one go on, unnoticed by Python.
        while not wait([running[0]], timeout=0.2).done:
            tick()
        found = running.popleft().result()
        checks.merge(found, lines)
        lines += found.lines
        tick()
        return found.stopped

    for begin, end in ranges(checks.table.path, start, workers.range_bytes):
        running.append(workers.submit(check_range, checks.line_range(begin, end)))
        if len(running) > workers.number + 2 and settle():
            break
    while running:
        if settle():
            break
    for future in running:
        future.cancel()


def ranges(path: Path, start: int, size: int) -> Iterator[tuple[int, int | None]]:
    """Offsets that part the lines of a file from ``start`` on, each range of ``size`` bytes and the rest of a line."""
    with path.open("rb") as file:
        while True:
            file.seek(start + size)
            while (piece := file.readline(2**20)) and not piece.endswith(b"\n"):
                pass
            if not piece:
                yield start, None
                return
            end = file.tell()
            yield start, end
            start = end


@dataclass
class _Process:
    """What this worker process keeps from one range to the next."""

    images: ImageChecks
    table: Table | None = None
    remembered: Remembered | None = None


_process: _Process


def prepare(decode: bool) -> None:
    """Make a worker process ready for :func:`check_range`."""
    global _process  # noqa: PLW0603 - a worker process has one job
    _process = _Process(ImageChecks(decode=decode))


def check_range(given: LineRange) -> RangeFound:
    """Check the lines of a range, in a process that is ready for it."""
    if _process.table != given.table or given.pictures:
        # Hashes of pictures are told once for each range: the first of the file decides.
        _process.table, _process.remembered = given.table, Remembered()
    pictures: list[tuple[int, str, bytes]] = []
    note = (lambda row, place, digest: pictures.append((row, place, digest))) if given.pictures else None
    report = Report(given.limit)
    checks = RowChecks(
        replace(given.table, on_picture=note),
        _process.images,
        report,
        known_types=given.known_types,
        remembered=_process.remembered,
        part=True,
    )
    lines, stopped = checks.part(given.start, given.end)
    located = _process.images.take_located()
    return RangeFound(lines, report, checks.new_types(), checks.pictured, pictures, located, stopped)
