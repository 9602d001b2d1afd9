"""Run by imagededup's environment: pairs of pictures below a folder by perceptual hash, at its own default distance."""

import json
import os
import sys
import time
from pathlib import Path

from imagededup.methods import PHash


def main() -> None:
    before, start = os.times(), time.perf_counter()
    method = PHash(verbose=False)
    hashes = method.encode_images(image_dir=sys.argv[1], recursive=True)
    found = method.find_duplicates(encoding_map=hashes)
    pairs = sorted({tuple(sorted((name, other))) for name, others in found.items() for other in others})
    wall, after = time.perf_counter() - start, os.times()
    Path(sys.argv[2]).write_text(json.dumps(pairs))
    print(json.dumps({"wall": wall, "cpu": sum(after[:4]) - sum(before[:4])}))


if __name__ == "__main__":
    main()
