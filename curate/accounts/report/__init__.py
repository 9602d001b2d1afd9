"""A selection as one HTML page: funnel, scores, pictures, duplicates, cost."""

from __future__ import annotations

import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from curate.accounts.report.material import Material, gather
from curate.accounts.report.page import MARK, render
from curate.accounts.report.tally import Progress
from curate.corpus import Corpus, UserError, atomic_file

__all__ = ["ReportSummary", "write_report"]

LARGEST: Final = 10_000_000
"""Bytes of a page, pictures and texts together."""


@dataclass(frozen=True)
class ReportSummary:
    """What a report holds."""

    path: str
    selection: str | None
    """None when nothing was selected yet: the report is about the corpus alone."""
    chosen: str
    """Why this selection: it was named, or it is the newest by curate select, or else by an export."""
    other_selections: list[str]
    samples: int
    kept: int
    dropped: dict[str, int]
    exported: int
    examples: int
    """Samples that are shown, withheld ones among them."""
    withheld: int
    """Samples that are shown without text and pictures because they may identify someone."""
    pictures: int
    pictures_left_out: int
    """Pictures that the bound on the page's size left no room for."""
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """The summary as JSON values."""
        return asdict(self)


def write_report(
    corpus: Corpus,
    output: Path,
    *,
    selection: str | None = None,
    examples: int = 4,
    seed: int = 0,
    progress: Progress | None = None,
) -> ReportSummary:
    """Write one self-contained HTML file, of at most 10 MB, about a selection of a corpus.

    ``selection`` is the name of decisions in the corpus, by default the newest of ``curate select``, else of an export;
    without any the report is about the corpus alone. ``examples`` samples are shown for each rule, drawn by ``seed``.
    Samples from DICOM files without a mark of de-identification are counted but never shown, and their subset is not
    named, unless it was declared de-identified.

    Raises UserError when the selection does not exist or is about other samples, a file of the corpus cannot be read,
    or ``output`` is something else than a report.
    """
    corpus.check_complete()
    if not corpus.shards():
        raise UserError(f"{corpus.path} holds no samples; fill it with: curate ingest RAW -o {corpus.path}")
    _check_output(corpus, output)
    material = gather(corpus, selection, examples=examples, seed=seed, progress=progress)
    material, page = _bounded(material)
    with atomic_file(output) as file:
        file.write(page)
    return ReportSummary(
        path=str(output),
        selection=material.selection.name if material.selection else None,
        chosen=material.selection.chosen if material.selection else "",
        other_selections=material.other_selections,
        samples=material.tally.samples,
        kept=material.tally.kept,
        dropped=dict(material.tally.by_rule.most_common()),
        exported=material.tally.exported,
        examples=len(material.shown),
        withheld=material.withheld,
        pictures=sum(thumbnail.uri is not None for thumbnail in material.pictures.values()),
        pictures_left_out=material.pictures_left_out,
        bytes=len(page),
    )


def _bounded(material: Material) -> tuple[Material, bytes]:
    """The page, with as many pictures, and if need be texts of samples, as the bound on its size leaves room for.

    A picture stands on the page wherever its sample does, so how large it becomes is known once it is written.
    """
    page = render(material).encode()
    while len(page) > LARGEST:
        smaller = material.with_fewer_pictures() or material.with_fewer_examples()
        if smaller is None:
            break
        material = smaller
        page = render(material).encode()
    return material, page


def _check_output(corpus: Corpus, output: Path) -> None:
    if output.resolve().is_relative_to(corpus.path.resolve()):
        raise UserError(f"{output} is inside the corpus {corpus.path}; choose an -o file outside of it")
    try:
        kind = output.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{output} cannot be written: {error.strerror}; choose another -o file") from None
    if stat.S_ISDIR(kind):
        raise UserError(f"{output} is a directory; give a file: -o {output / 'report.html'}")
    if not stat.S_ISREG(kind):  # opening a pipe waits for its other end, and a device must not be replaced
        raise UserError(f"{output} exists and is no regular file; choose another -o file")
    try:
        with output.open("rb") as file:
            start = file.read(len(MARK))
    except OSError as error:
        raise UserError(f"{output} exists and cannot be read: {error.strerror}; choose another -o file") from None
    if start and start != MARK.encode():
        raise UserError(f"{output} exists and is no report of curate; choose another -o file")
