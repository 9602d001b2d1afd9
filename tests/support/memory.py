"""How much memory a process of its own used at most."""

import re
from pathlib import Path


def peak_mib() -> int:
    """The most memory (MiB) that this program has used (Linux).

    ``resource.getrusage`` does not say it: its figure survives ``exec``, so that a child begins with its parent's peak.
    """
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) // 1024
