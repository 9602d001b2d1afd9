"""Run by cleanvision's environment: exact and near duplicates below a folder, with its own defaults."""

import json
import os
import sys
import time
from itertools import combinations
from pathlib import Path

from cleanvision import Imagelab


def main() -> None:
    before, start = os.times(), time.perf_counter()
    lab = Imagelab(data_path=sys.argv[1])
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, verbose=False)
    sets = [one for kind in ("exact_duplicates", "near_duplicates") for one in lab.info[kind]["sets"]]
    wall, after = time.perf_counter() - start, os.times()
    folder = Path(sys.argv[1]).resolve()
    named = [[str(Path(path).resolve().relative_to(folder)) for path in one] for one in sets]
    pairs = sorted({tuple(sorted(pair)) for one in named for pair in combinations(one, 2)})
    Path(sys.argv[2]).write_text(json.dumps(pairs))
    print(json.dumps({"wall": wall, "cpu": sum(after[:4]) - sum(before[:4])}), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
