"""How the C library keeps memory, which for work on many small pictures is a third of the time."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
"""Parameters of glibc's ``mallopt``."""
_KEPT: Final = 64 * 2**20
_LARGE: Final = 32 * 2**20
"""The most that glibc takes."""


def keep_freed_memory() -> None:
    """Keep up to 64 MiB of freed memory for the next array, where this process runs on glibc.

    By default each array of over 128 KiB or so goes back to the system when it is freed, and the next one is made of
    pages that the system has to clear first.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_M_MMAP_THRESHOLD, _LARGE)
            mallopt(_M_TRIM_THRESHOLD, _KEPT)
