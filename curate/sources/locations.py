"""From a reference in a record to a file that the user meant to share, and to nothing else.

A record is data from outside: a path in it that leads out of the input's root could send any file of this machine to
a judge. So a path is followed only when the file it really leads to (links resolved) lies under the root, or under
another root that the user allowed by name.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from curate.sources.rejects import RejectError

_REMOTE = re.compile(r"^(?!file:)[A-Za-z][A-Za-z0-9+.-]+://")


def resolve(reference: str, beside: Path, roots: tuple[Path, ...]) -> tuple[int, Path]:
    """The file that ``reference`` names, as (number of the root it lies in, path relative to that root).

    Looked for beside the record's file, then in the input's root. ``roots`` are real paths (no links in them), the
    input's own first. Raises RejectError: remote_image, bad_path, missing_image, outside_root, not_a_regular_file.
    """
    if _REMOTE.match(reference):
        raise RejectError("remote_image", f"{_shown(reference)} is an address; download it and name the local file")
    if reference.startswith("file://"):
        reference = unquote(urlsplit(reference).path)
    if "\0" in reference or not reference.isprintable() or len(reference) > 4096:
        raise RejectError("bad_path", f"{_shown(reference)} is no usable path")
    outside = False
    for base in dict.fromkeys((beside, roots[0])):
        for form in dict.fromkeys((reference, *(unicodedata.normalize(f, reference) for f in ("NFC", "NFD")))):
            real = real_path(base / form)
            if real is None:
                continue
            number = next((n for n, root in enumerate(roots) if real.is_relative_to(root)), None)
            if number is not None:
                return number, real.relative_to(roots[number])
            outside = True
    if outside or _leads_out(reference, beside, roots):
        raise RejectError(
            "outside_root",
            f"{_shown(reference)} lies outside the input; copy the file in, or allow its folder with --allow-root",
        )
    hint = "; use / between folders" if "\\" in reference else ""
    raise RejectError("missing_image", f"{_shown(reference)} does not exist{hint}")


def _leads_out(reference: str, beside: Path, roots: tuple[Path, ...]) -> bool:
    """Whether the path, existing or not, points out of every root: existence elsewhere is nobody's business."""
    target = Path(os.path.normpath(beside / reference))
    return not any(target.is_relative_to(root) for root in roots)


def real_path(path: Path) -> Path | None:
    """``path`` with every link resolved, if it is an existing regular file; None if there is nothing.

    Raises RejectError for anything that is not a regular file: reading a FIFO would wait forever.
    """
    try:
        folder = _real_folder(str(path.parent))
        real = folder / path.name
        mode = real.lstat().st_mode
        if stat.S_ISLNK(mode) or path.name in ("", ".", ".."):
            real = path.resolve(strict=True)
            mode = real.stat().st_mode
    except (OSError, RuntimeError, ValueError):
        return None
    if not stat.S_ISREG(mode):
        raise RejectError("not_a_regular_file", f"{_shown(str(path.name))} is a folder or a special file, not an image")
    return real


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> Path:
    return Path(folder).resolve(strict=True)


def _shown(reference: str) -> str:
    text = reference if len(reference) <= 120 else f"{reference[:100]}… ({len(reference)} characters)"
    return repr(text)
